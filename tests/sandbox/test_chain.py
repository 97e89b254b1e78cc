from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import requests
import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount

from converter.sandbox.chain import EvmChain
from converter.sandbox.credentials import (
    ETC_CHAIN_ID,
    EVM_CHAIN_ID,
    EVM_WALLET_ADDRESS,
    EVM_WALLET_KEY,
    USDT_CONTRACT,
)
from converter.sandbox.rawtx import transfer_call
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import World
from converter.sandbox.utxo_chain import UtxoChain
from converter.sandbox.utxo_coins import COINS

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


def post(sandbox: Sandbox, body: Any, at: str = "evm") -> Any:
    return requests.post(f"{sandbox.url}/{at}", json=body, timeout=5).json()


def call(sandbox: Sandbox, method: str, *params: Any, at: str = "evm") -> Any:
    answer = post(sandbox, {"jsonrpc": "2.0", "id": 9, "method": method, "params": list(params)}, at)
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] == 9
    return answer["result"]


def refusal(sandbox: Sandbox, method: str, *params: Any, at: str = "evm") -> tuple[int, str]:
    answer = post(sandbox, {"jsonrpc": "2.0", "id": 9, "method": method, "params": list(params)}, at)
    assert answer.keys() == {"jsonrpc", "id", "error"}
    return answer["error"]["code"], answer["error"]["message"]


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


def sign_for(at: str, **fields: Any) -> tuple[str, str]:
    """Like `sign`, for one of the two chains: Ethereum Classic knows the old form only."""
    return sign(**({"gasPrice": 2 * GWEI, "chainId": ETC_CHAIN_ID} if at == "etc" else {}) | fields)


def send(sandbox: Sandbox, raw: str, at: str = "evm") -> Any:
    return call(sandbox, "eth_sendRawTransaction", raw, at=at)


def configure(sandbox: Sandbox, at: str, **settings: Any) -> None:
    answer = requests.put(f"{sandbox.url}/_sandbox/services/{at}", json=settings, timeout=5)
    assert answer.status_code == 200, answer.text


def receipt(sandbox: Sandbox, txid: str, at: str = "evm") -> dict[str, Any]:
    found = eventually(lambda: call(sandbox, "eth_getTransactionReceipt", txid, at=at))
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


# Ethereum Classic


def test_ethereum_classic_is_a_chain_of_its_own(sandbox: Sandbox) -> None:
    assert call(sandbox, "eth_chainId", at="etc") == hex(ETC_CHAIN_ID)
    assert int(call(sandbox, "eth_getBalance", WALLET.address, "latest", at="etc"), 16) == 1_000_000 * ETH
    raw, txid = sign_for("etc")
    assert send(sandbox, raw, at="etc") == txid
    mined = receipt(sandbox, txid, at="etc")
    assert (mined["status"], mined["type"], mined["effectiveGasPrice"]) == ("0x1", "0x0", hex(2 * GWEI))
    assert sandbox.etc.received(POOR.address) == [(txid, Decimal(1))]
    assert sandbox.chain.received(POOR.address) == []
    assert call(sandbox, "eth_getTransactionByHash", txid) is None
    assert sandbox.truth.executions[0]["service_id"] == "etc"
    spent = ETH + 21_000 * 2 * GWEI
    assert int(call(sandbox, "eth_getBalance", WALLET.address, "latest", at="etc"), 16) == 1_000_000 * ETH - spent


def test_ethereum_classic_knows_no_base_fee(sandbox: Sandbox) -> None:
    assert "baseFeePerGas" not in call(sandbox, "eth_getBlockByNumber", "latest", False, at="etc")
    assert "baseFeePerGas" in call(sandbox, "eth_getBlockByNumber", "latest", False)
    assert int(call(sandbox, "eth_gasPrice", at="etc"), 16) > 0
    for method, params in (("eth_maxPriorityFeePerGas", []), ("eth_feeHistory", ["0x1", "latest", []])):
        assert refusal(sandbox, method, *params, at="etc")[0] == -32601
    raw, _ = sign(chainId=ETC_CHAIN_ID)
    assert refusal(sandbox, "eth_sendRawTransaction", raw, at="etc") == (-32000, "transaction type not supported")


def test_a_transaction_of_one_chain_is_refused_by_the_other(sandbox: Sandbox) -> None:
    for at, other in (("evm", "etc"), ("etc", "evm")):
        raw, _ = sign(gasPrice=20 * GWEI, chainId=EVM_CHAIN_ID if other == "evm" else ETC_CHAIN_ID)
        code, message = refusal(sandbox, "eth_sendRawTransaction", raw, at=at)
        assert (code, message.startswith("invalid chain id for signer")) == (-32000, True)
    unprotected, _ = sign(gasPrice=20 * GWEI, chainId=None)
    assert "EIP-155" in refusal(sandbox, "eth_sendRawTransaction", unprotected, at="etc")[1]
    assert sandbox.truth.executions == []


def test_ethereum_classic_has_no_token(sandbox: Sandbox) -> None:
    asked = {"to": USDT_CONTRACT, "data": "0x313ce567"}
    assert call(sandbox, "eth_call", asked, "latest", at="etc") == "0x"
    with pytest.raises(ValueError, match="no token"):
        sandbox.etc.pay_token(POOR.address, Decimal(1))


def test_twins_find_the_chain_of_a_coin_by_its_ticker(sandbox: Sandbox) -> None:
    given: dict[str, Any] = {"utxo": sandbox.utxo, "accounts": {"ETC": sandbox.etc}}
    world = World(sandbox.market, sandbox.truth, sandbox.chain, time.time, **given)
    assert world.chain_of("ETH") is sandbox.chain
    assert world.chain_of("ETC") is sandbox.etc
    assert world.chain_of("BTC") is sandbox.utxo["BTC"]
    assert world.chain_of("TRX") is None
    assert sandbox.etc.new_address("a") != sandbox.chain.new_address("a")


# What a wallet asks before it pays, and how it confirms a refund


def test_the_known_address_is_that_of_the_known_key() -> None:
    assert WALLET.address == EVM_WALLET_ADDRESS


def test_gas_is_estimated_for_what_can_be_paid(sandbox: Sandbox) -> None:
    ask = {"from": WALLET.address, "to": POOR.address, "value": hex(ETH)}
    assert call(sandbox, "eth_estimateGas", ask) == hex(21_000)
    assert call(sandbox, "eth_estimateGas", ask | {"data": "0x0001"}) == hex(21_000 + 4 + 16)
    poor = ask | {"from": POOR.address}
    assert refusal(sandbox, "eth_estimateGas", poor) == (-32000, "insufficient funds for transfer")
    assert refusal(sandbox, "eth_estimateGas", "nonsense")[0] == -32602
    assert refusal(sandbox, "eth_call", 5)[0] == -32602


def test_a_token_transfer_can_be_tried_without_sending_it(sandbox: Sandbox) -> None:
    ask = {"from": WALLET.address, "to": USDT_CONTRACT, "data": "0x" + transfer_call(POOR.address, 5).hex()}
    assert call(sandbox, "eth_call", ask, "latest") == "0x"
    assert refusal(sandbox, "eth_call", ask | {"from": POOR.address}, "latest") == (3, "execution reverted")
    assert sandbox.chain.received_token(POOR.address) == []


def test_a_mirrored_signature_is_refused(sandbox: Sandbox) -> None:
    raw, _ = sign(gasPrice=20 * GWEI)
    fields = rlp.decode(bytes.fromhex(raw[2:]))
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    v, s = int.from_bytes(fields[6]), order - int.from_bytes(fields[8])
    flipped = v + 1 if v % 2 else v - 1
    mirrored = rlp.encode([*fields[:6], flipped.to_bytes(2), fields[7], s.to_bytes(32)])
    assert Account.recover_transaction(mirrored) == WALLET.address
    code, message = refusal(sandbox, "eth_sendRawTransaction", "0x" + mirrored.hex())
    assert (code, message) == (-32000, "invalid transaction v, r, s values")


@pytest.mark.parametrize("at", ["evm", "etc"])
def test_a_payment_from_outside_shows_whom_it_pays_and_how_much(sandbox: Sandbox, at: str) -> None:
    txid = (sandbox.chain if at == "evm" else sandbox.etc).pay(POOR.address, Decimal("0.25"))
    mined = receipt(sandbox, txid, at=at)
    shown = call(sandbox, "eth_getTransactionByHash", txid, at=at)
    assert (mined["status"], mined["to"], mined["logs"]) == ("0x1", POOR.address.lower(), [])
    assert (shown["to"], shown["value"]) == (POOR.address.lower(), hex(ETH // 4))
    assert (shown["blockHash"], shown["chainId"]) == (mined["blockHash"], call(sandbox, "eth_chainId", at=at))
    assert shown["from"] == mined["from"] != WALLET.address.lower()


def test_tokens_from_outside_show_whom_they_pay_and_how_much(sandbox: Sandbox) -> None:
    configure(sandbox, "evm", mining=False)
    first, second = (sandbox.chain.pay_token(POOR.address, Decimal(amount)) for amount in ("2.5", "3"))
    configure(sandbox, "evm", mining=True)
    mined = receipt(sandbox, first)
    (log,) = mined["logs"]
    assert (mined["status"], mined["to"], log["address"]) == ("0x1", USDT_CONTRACT.lower(), USDT_CONTRACT.lower())
    assert log["topics"][2] == "0x" + "0" * 24 + POOR.address[2:].lower()
    assert (int(log["data"], 16), log["transactionHash"]) == (2_500_000, first)
    assert receipt(sandbox, second)["logs"][0]["logIndex"] == "0x1"
    assert call(sandbox, "eth_getTransactionByHash", first)["value"] == "0x0"


# Switches, on both chains


@pytest.fixture(params=["evm", "etc"])
def at(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("way", "message"), [("policy", "transaction underpriced"), ("pool_full", "txpool is full")])
def test_a_chain_that_rejects_everything_says_why(sandbox: Sandbox, at: str, way: str, message: str) -> None:
    configure(sandbox, at, reject=way)
    raw, txid = sign_for(at)
    assert refusal(sandbox, "eth_sendRawTransaction", raw, at=at) == (-32000, message)
    assert call(sandbox, "eth_getTransactionByHash", txid, at=at) is None
    configure(sandbox, at, reject=None)
    assert send(sandbox, raw, at=at) == txid
    answer = requests.put(f"{sandbox.url}/_sandbox/services/{at}", json={"reject": "no"}, timeout=5)
    assert (answer.status_code, answer.json()["error"].startswith("reject: ")) == (400, True)


def test_an_answer_that_is_lost_leaves_a_transaction_that_is_known(sandbox: Sandbox, at: str) -> None:
    configure(sandbox, at, mining=False)
    fault = {"kind": "5xx_after_execute", "operations": ["send"], "count": 1}
    assert requests.put(f"{sandbox.url}/_sandbox/faults/{at}", json=fault, timeout=5).status_code == 200
    raw, txid = sign_for(at)
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
    assert requests.post(f"{sandbox.url}/{at}", json=body, timeout=5).status_code == 502
    configure(sandbox, at, reject="policy")
    assert refusal(sandbox, "eth_sendRawTransaction", raw, at=at) == (-32000, "already known")
    configure(sandbox, at, already_known=False)
    assert send(sandbox, raw, at=at) == txid
    assert call(sandbox, "eth_getTransactionReceipt", txid, at=at) is None
    configure(sandbox, at, mining=True)
    assert receipt(sandbox, txid, at=at)["status"] == "0x1"
    assert [row["txid"] for row in sandbox.truth.executions] == [txid]


def test_a_full_queue_is_no_answer_in_json(sandbox: Sandbox, at: str) -> None:
    configure(sandbox, at, queue_full=1)
    raw, txid = sign_for(at)
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
    assert requests.post(f"{sandbox.url}/{at}", json=body, timeout=5).status_code == 503
    assert call(sandbox, "eth_getTransactionByHash", txid, at=at) is None


def test_a_reorganisation_takes_a_receipt_away_until_another_block_brings_it(sandbox: Sandbox, at: str) -> None:
    raw, txid = sign_for(at)
    send(sandbox, raw, at=at)
    before = receipt(sandbox, txid, at=at)
    configure(sandbox, at, mining=False)
    configure(sandbox, at, reorganise=10_000)
    assert call(sandbox, "eth_getTransactionReceipt", txid, at=at) is None
    assert call(sandbox, "eth_getTransactionByHash", txid, at=at)["blockHash"] is None
    assert call(sandbox, "eth_getTransactionCount", WALLET.address, "latest", at=at) == "0x0"
    configure(sandbox, at, mining=True)
    after = receipt(sandbox, txid, at=at)
    assert after["blockHash"] != before["blockHash"]
    shown = call(sandbox, "eth_getBlockByNumber", after["blockNumber"], False, at=at)
    assert (shown["hash"], shown["transactions"]) == (after["blockHash"], [txid])


# Threads


@pytest.mark.parametrize("ticker", ["ETH", "BTC"])
def test_a_payment_of_another_thread_waits_while_a_block_is_made(ticker: str) -> None:
    moment, early = [0.0], list[bool]()
    payments: list[Future[str]] = []

    def now() -> float:
        if moment[0] and threading.current_thread() is threading.main_thread() and not payments:
            payments.append(pool.submit(chain.pay, address, Decimal(1)))
            early.append(bool(futures.wait(payments, timeout=0.1).done))
        return moment[0]

    truth = TruthBook(time.time)
    chain = EvmChain(truth, now) if ticker == "ETH" else UtxoChain(COINS[ticker], truth, now)
    address = chain.new_address("somebody")
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            moment[0] += 10
            chain.tick()
            txid = payments[0].result(5)
    assert early == [False]
    assert chain.received(address) == [(txid, Decimal(1))]
