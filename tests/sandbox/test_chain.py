from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
from eth_account import Account
from eth_account.signers.local import LocalAccount

from converter.sandbox.credentials import EVM_CHAIN_ID, EVM_WALLET_KEY
from converter.sandbox.server import Sandbox

GWEI = 10**9
ETH = 10**18
WALLET: LocalAccount = Account.from_key(EVM_WALLET_KEY)
POOR: LocalAccount = Account.from_key("0x" + "11" * 32)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(services=[], speed=10) as running:
        yield running


@pytest.fixture
def still() -> Iterator[Sandbox]:
    """A sandbox whose next block never comes."""
    with Sandbox(services=[], speed=0.0001) as running:
        yield running


def eventually(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


def post(sandbox: Sandbox, body: Any) -> Any:
    return requests.post(f"{sandbox.url}/evm", json=body, timeout=5).json()


def call(sandbox: Sandbox, method: str, *params: Any) -> Any:
    answer = post(sandbox, {"jsonrpc": "2.0", "id": 9, "method": method, "params": list(params)})
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] == 9
    return answer["result"]


def refusal(sandbox: Sandbox, method: str, *params: Any) -> tuple[int, str]:
    error = post(sandbox, {"jsonrpc": "2.0", "id": 9, "method": method, "params": list(params)})["error"]
    return error["code"], error["message"]


def sign(account: LocalAccount = WALLET, **fields: Any) -> tuple[str, str]:
    """Raw transaction and its id."""
    transaction: dict[str, Any] = {
        "to": POOR.address,
        "value": ETH,
        "gas": 21_000,
        "nonce": 0,
        "chainId": EVM_CHAIN_ID,
    } | fields
    if "gasPrice" not in transaction:
        transaction = {"maxFeePerGas": 20 * GWEI, "maxPriorityFeePerGas": GWEI, "type": 2} | transaction
    signed = account.sign_transaction({name: field for name, field in transaction.items() if field is not None})
    return "0x" + bytes(signed.raw_transaction).hex(), "0x" + bytes(signed.hash).hex()


def send(sandbox: Sandbox, raw: str) -> Any:
    return call(sandbox, "eth_sendRawTransaction", raw)


def receipt(sandbox: Sandbox, txid: str) -> dict[str, Any]:
    found = eventually(lambda: call(sandbox, "eth_getTransactionReceipt", txid))
    assert isinstance(found, dict)
    return found


def test_the_chain_says_which_one_it_is(sandbox: Sandbox) -> None:
    assert call(sandbox, "eth_chainId") == hex(EVM_CHAIN_ID)
    assert call(sandbox, "net_version") == str(EVM_CHAIN_ID)
    assert call(sandbox, "web3_clientVersion")


def test_the_wallet_starts_with_a_million_ether(sandbox: Sandbox) -> None:
    assert int(call(sandbox, "eth_getBalance", WALLET.address, "latest"), 16) == 1_000_000 * ETH
    assert int(call(sandbox, "eth_getBalance", WALLET.address.lower(), "latest"), 16) == 1_000_000 * ETH


def test_fees_are_offered(sandbox: Sandbox) -> None:
    price, tip = (int(call(sandbox, name), 16) for name in ("eth_gasPrice", "eth_maxPriorityFeePerGas"))
    history = call(sandbox, "eth_feeHistory", "0x3", "latest", [50])
    assert int(history["baseFeePerGas"][-1], 16) + tip == price
    assert [len(history[name]) for name in ("baseFeePerGas", "gasUsedRatio", "reward")] == [4, 3, 3]


@pytest.mark.parametrize("fees", [{}, {"gasPrice": 15 * GWEI}], ids=["dynamic fee", "legacy"])
def test_a_signed_transaction_is_mined_and_moves_its_value(sandbox: Sandbox, fees: dict[str, Any]) -> None:
    raw, txid = sign(**fees)
    assert send(sandbox, raw) == txid
    mined = receipt(sandbox, txid)
    assert mined["status"] == "0x1"
    assert mined["from"] == WALLET.address.lower()
    assert mined["to"] == POOR.address.lower()
    assert int(call(sandbox, "eth_blockNumber"), 16) >= int(mined["blockNumber"], 16)
    assert int(call(sandbox, "eth_getBalance", POOR.address, "latest"), 16) == ETH
    paid = int(mined["gasUsed"], 16) * int(mined["effectiveGasPrice"], 16)
    assert int(call(sandbox, "eth_getBalance", WALLET.address, "latest"), 16) == 999_999 * ETH - paid
    assert txid in call(sandbox, "eth_getBlockByNumber", mined["blockNumber"], False)["transactions"]
    assert call(sandbox, "eth_getTransactionByHash", txid)["blockHash"] == mined["blockHash"]


def test_what_was_taken_is_written_into_the_truth(sandbox: Sandbox) -> None:
    raw, txid = sign(value=ETH // 2)
    send(sandbox, raw)
    (execution,) = sandbox.truth.executions
    assert (execution["service_id"], execution["operation"]) == ("evm", "send")
    assert (execution["txid"], execution["to"], execution["amount"]) == (txid, POOR.address, "0.5")


def test_a_waiting_transaction_has_no_block_and_counts_as_pending(still: Sandbox) -> None:
    raw, txid = sign()
    send(still, raw)
    assert call(still, "eth_getTransactionReceipt", txid) is None
    assert call(still, "eth_getTransactionByHash", txid)["blockNumber"] is None
    assert call(still, "eth_getTransactionCount", WALLET.address, "latest") == "0x0"
    assert call(still, "eth_getTransactionCount", WALLET.address, "pending") == "0x1"


def test_an_unknown_transaction_is_null(sandbox: Sandbox) -> None:
    assert call(sandbox, "eth_getTransactionByHash", "0x" + "00" * 32) is None
    assert call(sandbox, "eth_getTransactionReceipt", "0x" + "00" * 32) is None


def test_the_same_bytes_again_are_already_known(still: Sandbox) -> None:
    raw, _ = sign()
    send(still, raw)
    assert refusal(still, "eth_sendRawTransaction", raw) == (-32000, "already known")
    assert len(still.truth.executions) == 1


def test_the_same_bytes_after_mining_have_a_nonce_that_is_too_low(sandbox: Sandbox) -> None:
    raw, txid = sign()
    send(sandbox, raw)
    receipt(sandbox, txid)
    code, message = refusal(sandbox, "eth_sendRawTransaction", raw)
    assert code == -32000
    assert message.startswith("nonce too low")
    assert len(sandbox.chain.received(POOR.address)) == 1


def test_a_replacement_must_pay_a_tenth_more(still: Sandbox) -> None:
    first, first_id = sign()
    send(still, first)
    cheap, _ = sign(value=2 * ETH, maxFeePerGas=21 * GWEI)
    assert refusal(still, "eth_sendRawTransaction", cheap) == (-32000, "replacement transaction underpriced")
    dear, dear_id = sign(value=2 * ETH, maxFeePerGas=22 * GWEI, maxPriorityFeePerGas=2 * GWEI)
    send(still, dear)
    assert call(still, "eth_getTransactionByHash", first_id) is None
    assert call(still, "eth_getTransactionByHash", dear_id)["nonce"] == "0x0"


def test_a_gap_in_the_nonces_waits_until_it_is_filled(sandbox: Sandbox) -> None:
    late, late_id = sign(nonce=1)
    send(sandbox, late)
    height = sandbox.chain.height
    eventually(lambda: sandbox.chain.height > height + 2)
    assert call(sandbox, "eth_getTransactionReceipt", late_id) is None
    assert call(sandbox, "eth_getTransactionCount", WALLET.address, "pending") == "0x0"
    early, early_id = sign(nonce=0)
    send(sandbox, early)
    assert int(receipt(sandbox, early_id)["blockNumber"], 16) <= int(receipt(sandbox, late_id)["blockNumber"], 16)
    assert call(sandbox, "eth_getTransactionCount", WALLET.address, "latest") == "0x2"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chainId": 1}, "invalid chain id for signer"),
        ({"chainId": 1, "gasPrice": 20 * GWEI}, "invalid chain id for signer"),
        (
            {"chainId": None, "gasPrice": 20 * GWEI},
            "only replay-protected (EIP-155) transactions allowed over RPC",
        ),
        ({"gas": 20_999}, "intrinsic gas too low"),
        ({"gas": 21_000, "data": "0x01"}, "intrinsic gas too low"),
        ({"value": 1_000_000 * ETH}, "insufficient funds for gas * price + value"),
        ({"maxPriorityFeePerGas": 30 * GWEI}, "max priority fee per gas higher than max fee per gas"),
    ],
)
def test_a_transaction_that_breaks_a_rule_is_refused(sandbox: Sandbox, fields: dict[str, Any], message: str) -> None:
    raw, txid = sign(**fields)
    code, text = refusal(sandbox, "eth_sendRawTransaction", raw)
    assert code == -32000
    assert text.startswith(message)
    assert call(sandbox, "eth_getTransactionByHash", txid) is None
    assert sandbox.truth.executions == []


def test_what_waits_is_counted_against_the_funds(still: Sandbox) -> None:
    first, _ = sign(value=600_000 * ETH)
    send(still, first)
    second, _ = sign(value=600_000 * ETH, nonce=1)
    assert refusal(still, "eth_sendRawTransaction", second)[1].startswith("insufficient funds")


def test_a_signer_without_funds_is_refused(sandbox: Sandbox) -> None:
    raw, _ = sign(POOR)
    assert refusal(sandbox, "eth_sendRawTransaction", raw)[1].startswith("insufficient funds")


@pytest.mark.parametrize("raw", ["0x", "0x02", "0xc0", "0x01" + "00" * 40, "0x02f8"])
def test_bytes_that_are_no_transaction_are_refused(sandbox: Sandbox, raw: str) -> None:
    assert refusal(sandbox, "eth_sendRawTransaction", raw)[0] == -32000


def test_a_changed_byte_never_spends_the_wallets_money(sandbox: Sandbox) -> None:
    raw, _ = sign()
    for place in (20, 60, 100):
        changed = raw[:place] + ("0" if raw[place] != "0" else "1") + raw[place + 1 :]
        post(sandbox, {"jsonrpc": "2.0", "id": 9, "method": "eth_sendRawTransaction", "params": [changed]})
    assert sandbox.truth.executions == []


def test_wrong_calls_have_the_errors_of_json_rpc(sandbox: Sandbox) -> None:
    assert refusal(sandbox, "eth_mine")[0] == -32601
    assert refusal(sandbox, "eth_getBalance")[0] == -32602
    assert refusal(sandbox, "eth_getBalance", "0x12", "latest")[0] == -32602
    assert refusal(sandbox, "eth_sendRawTransaction", "no hex")[0] == -32602
    assert refusal(sandbox, "eth_getTransactionReceipt", "0x12")[0] == -32602
    assert requests.post(f"{sandbox.url}/evm", data="{").json()["error"]["code"] == -32700
    assert post(sandbox, 5)["error"]["code"] == -32600


def test_a_batch_is_answered_in_order(sandbox: Sandbox) -> None:
    calls = [{"jsonrpc": "2.0", "id": n, "method": m, "params": []} for n, m in ((1, "eth_chainId"), (2, "eth_nope"))]
    first, second = post(sandbox, calls)
    assert first == {"jsonrpc": "2.0", "id": 1, "result": hex(EVM_CHAIN_ID)}
    assert (second["id"], second["error"]["code"]) == (2, -32601)


def test_deposit_addresses_are_checksummed_unique_and_the_same_on_every_run(sandbox: Sandbox, still: Sandbox) -> None:
    made = [[box.chain.new_address(owner) for owner in ("a", "b", "a")] for box in (sandbox, still)]
    assert made[0] == made[1]
    assert len(set(made[0])) == 3
    assert all(any(letter.isupper() for letter in address) for address in made[0])


def test_a_deposit_is_seen_only_once_mined(sandbox: Sandbox) -> None:
    address = sandbox.chain.new_address("order 1")
    assert sandbox.chain.received(address) == []
    raw, txid = sign(to=address, value=ETH * 3 // 2)
    send(sandbox, raw)
    receipt(sandbox, txid)
    assert sandbox.chain.received(address) == [(txid, Decimal("1.5"))]


def test_a_payment_from_outside_arrives_with_a_receipt(sandbox: Sandbox) -> None:
    txid = sandbox.chain.pay(POOR.address, Decimal("0.25"))
    assert receipt(sandbox, txid)["status"] == "0x1"
    assert sandbox.chain.received(POOR.address) == [(txid, Decimal("0.25"))]


def test_faults_address_the_chain_by_its_operations(sandbox: Sandbox) -> None:
    faults = f"{sandbox.url}/_sandbox/faults/evm"
    requests.put(faults, json={"kind": "reset_after_execute", "count": 1})
    raw, txid = sign()
    assert call(sandbox, "eth_chainId")
    with pytest.raises(requests.ConnectionError):
        send(sandbox, raw)
    assert receipt(sandbox, txid)["status"] == "0x1"
    requests.put(faults, json={"kind": "refuse", "operations": ["send"]})
    raw, _ = sign(nonce=1)
    assert refusal(sandbox, "eth_sendRawTransaction", raw)[0] == -32000
    assert len(sandbox.truth.executions) == 1
