"""The EVM wallet on the sandbox's chain, and on nodes that say odd things."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account

from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConverterError,
    Outcome,
    OutcomeUnknown,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.money import from_units
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline
from converter.sandbox.credentials import EVM_CHAIN_ID, EVM_WALLET_KEY, USDT_CONTRACT
from converter.sandbox.faults import parse_faults
from converter.sandbox.rawtx import decode_transaction
from converter.sandbox.server import Sandbox
from converter.wallets.evm import EvmNetwork, EvmWallet, Terms
from converter.wallets.evm_tokens import TRANSFER_TOPIC, transfer_call
from tests.services.socket_server import Peer, Script, SocketServer, answer, silent

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
GWEI = 10**9
TERMS = Terms(fee_per_gas=17 * GWEI, tip_per_gas=GWEI)
ETH, USDT = asset("ETH"), asset("USDT", "ETH")
WEI = Decimal(1).scaleb(-18)
WAIT = 0.4


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(services=[], speed=20) as running:
        yield running
        assert running.problems == []


@pytest.fixture
def still() -> Iterator[Sandbox]:
    """A chain whose next block never comes."""
    with Sandbox(services=[], speed=0.0001) as running:
        yield running


def a_wallet(world: Sandbox | SocketServer | str, **changes: Any) -> EvmWallet:
    url = world if isinstance(world, str) else f"{world.url}/evm" if isinstance(world, Sandbox) else world.url
    given = {"network": "ETH", "chain_id": EVM_CHAIN_ID, "confirmations": 1, "tokens": {"USDT": USDT_CONTRACT}}
    key = changes.pop("private_key", EVM_WALLET_KEY)
    return EvmWallet(url, key, EvmNetwork(**{**given, **changes}))


def soon() -> Deadline:
    return Deadline.after(5)


def sign(wallet: EvmWallet, nonce: int = 0, amount: str = "1.5", terms: Terms = TERMS, memo: str = "") -> Transfer:
    return wallet.sign(pays(amount, memo), nonce, terms)


def pays(amount: str | Decimal, memo: str = "", of: Asset = ETH) -> Payment:
    return Payment(of, ADDRESS, Decimal(amount), memo)


def sends(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [row for row in sandbox.truth.executions if row["operation"] == "send"]


def fault(sandbox: Sandbox, kind: str, *operations: str, **more: Any) -> None:
    described = {"kind": kind, "count": 1, **({"operations": list(operations)} if operations else {}), **more}
    sandbox.faults.set("evm", parse_faults(described, sandbox.mounts["evm"].operations))


def eventually(look: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


def confirmed(wallet: EvmWallet, transfer: Transfer) -> bool:
    eventually(lambda: wallet.observe(transfer, soon()) is Sighting.CONFIRMED)
    return True


def node(**results: Any) -> Script:
    """A node that answers by method; bytes are a whole body, a callable is asked for each answer."""

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            method = json.loads(request.partition(b"\r\n\r\n")[2])["method"]
            said = results[method]
            said = said() if callable(said) else said
            body = said if isinstance(said, bytes) else json.dumps({"jsonrpc": "2.0", "id": 1, **said}).encode()
            peer.send(answer(body))

    return script


def result(value: Any) -> dict[str, Any]:
    return {"result": value}


def refusal(message: str) -> dict[str, Any]:
    return {"error": {"code": -32000, "message": message}}


# --- Signing ---------------------------------------------------------------------------------------------------------


def test_signing_is_deterministic_and_needs_no_network() -> None:
    nobody = "http://127.0.0.1:1"
    first, second = sign(a_wallet(nobody), nonce=7), sign(a_wallet(nobody), nonce=7)
    assert first == second
    assert first.raw != sign(a_wallet(nobody), nonce=8).raw


def test_what_is_signed_is_what_was_asked_for() -> None:
    wallet = a_wallet("http://127.0.0.1:1")
    transfer = sign(wallet, nonce=7, amount="1.500000000000000001", memo="order 17")
    read = decode_transaction(bytes.fromhex(transfer.raw[2:]))
    assert (read.to, read.value, read.nonce, read.data) == (ADDRESS, 15 * 10**17 + 1, 7, b"order 17")
    assert (read.chain_id, read.max_fee, read.tip) == (EVM_CHAIN_ID, TERMS.fee_per_gas, TERMS.tip_per_gas)
    assert read.txid == transfer.txid
    assert read.sender == wallet.address == Account.recover_transaction(transfer.raw)
    assert (transfer.chain, transfer.account, transfer.nonce) == ("evm:1337", wallet.address, 7)
    assert (transfer.address, transfer.amount) == (ADDRESS, Decimal("1.500000000000000001"))


def test_a_plain_payment_carries_no_data_and_the_gas_of_a_transfer() -> None:
    read = decode_transaction(bytes.fromhex(sign(a_wallet("http://127.0.0.1:1")).raw[2:]))
    assert (read.data, read.gas) == (b"", 21_000)


def test_the_chain_id_is_part_of_the_signature() -> None:
    ours, other = (sign(a_wallet("http://127.0.0.1:1", chain_id=chain_id)) for chain_id in (EVM_CHAIN_ID, 1))
    assert ours.txid != other.txid
    assert other.chain == "evm:1"


def test_an_amount_finer_than_a_wei_is_not_signed() -> None:
    with pytest.raises(ServiceRejected, match="finer than 18 decimals"):
        sign(a_wallet("http://127.0.0.1:1"), amount="0.0000000000000000001")


@pytest.mark.parametrize(
    "key",
    ["", "0x", "no-hex-at-all-5a5a5a5a", "0x5a5a", "5a" * 31, "0x" + "5a" * 33, "0x" + "00" * 32, "0x" + "ff" * 32],
)
def test_a_bad_key_is_named_and_never_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="accepted: 0x and 64 hex digits") as caught:
        a_wallet("http://127.0.0.1:1", private_key=key)
    shown = str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert len(key) < 6 or key.removeprefix("0x") not in shown


def test_a_wallet_does_not_show_its_key() -> None:
    wallet = a_wallet("http://127.0.0.1:1")
    shown = repr(wallet) + str(wallet) + repr(sign(wallet)) + repr(TERMS)
    assert "5a5a5a5a5a" not in shown


@pytest.mark.parametrize(("path", "target"), [("", "/"), ("/v3/key", "/v3/key"), ("/rpc/?key=one", "/rpc/?key=one")])
def test_the_whole_address_of_the_node_is_used(path: str, target: str) -> None:
    with SocketServer(node(eth_getTransactionCount=result("0x5"))) as server:
        assert a_wallet(server.url + path).account(soon())[2] == 5
        assert server.requests[0].startswith(f"POST {target} HTTP/1.1\r\n".encode())


# --- What signing needs ----------------------------------------------------------------------------------------------


def test_the_account_counts_what_is_mined(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    assert wallet.pays_itself
    assert wallet.account(soon()) == ("evm:1337", wallet.address, 0)
    transfer = sign(wallet)
    wallet.broadcast(transfer, soon())
    confirmed(wallet, transfer)
    assert wallet.account(soon()) == ("evm:1337", wallet.address, 1)


def test_the_account_does_not_count_what_waits(still: Sandbox) -> None:
    wallet = a_wallet(still)
    wallet.broadcast(sign(wallet), soon())
    assert wallet.account(soon())[2] == 0


def test_terms_leave_room_for_rising_fees(sandbox: Sandbox) -> None:
    terms = a_wallet(sandbox).prepare(pays("1.5"), soon())
    assert terms == Terms(fee_per_gas=2 * 8 * GWEI + GWEI, tip_per_gas=GWEI, gas=21_000)


def test_a_memo_brings_gas_for_the_dearest_rule(sandbox: Sandbox) -> None:
    terms = a_wallet(sandbox).prepare(pays("1.5", memo="order 17"), soon())
    assert terms.gas == 21_000 + 8 * 40


def test_a_short_balance_is_refused_to_the_wei(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    fee = Decimal(wallet.prepare(pays(1), soon()).fee_per_gas * 21_000) * WEI
    most = Decimal(1_000_000) - fee
    wallet.prepare(pays(most), soon())
    for amount in (most + WEI, Decimal(1_000_000), Decimal(10**9)):
        with pytest.raises(ServiceRejected, match="the wallet holds 1000000 ETH") as caught:
            wallet.prepare(pays(amount), soon())
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert sends(sandbox) == []


def test_a_token_needs_coins_for_its_gas(sandbox: Sandbox) -> None:
    wallet, payment = a_wallet(sandbox), pays("5", of=USDT)
    fee = wallet.prepare(payment, soon()).fee_per_gas
    sandbox.chain.accounts.balances[wallet.address.lower()] = 21_000 * fee
    with pytest.raises(ServiceRejected, match=r"the wallet holds .* ETH, needs"):
        wallet.prepare(payment, soon())


def test_a_short_balance_of_a_token_is_refused_to_the_unit(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    wallet.prepare(pays("1000000000", of=USDT), soon())
    with pytest.raises(ServiceRejected, match=r"the wallet holds 1000000000 USDT on ETH, needs 1000000000\.000001"):
        wallet.prepare(pays("1000000000.000001", of=USDT), soon())


def test_a_token_payment_calls_the_contract_and_names_the_payee() -> None:
    wallet = a_wallet("http://127.0.0.1:1", tokens={"USDT": USDT_CONTRACT.lower()})
    transfer = wallet.sign(pays("12.000001", of=USDT), 3, TERMS)
    read = decode_transaction(bytes.fromhex(transfer.raw[2:]))
    assert (read.to, read.value, read.data) == (USDT_CONTRACT, 0, transfer_call(ADDRESS, 12_000_001))
    assert (transfer.address, transfer.amount, transfer.chain) == (ADDRESS, Decimal("12.000001"), "evm:1337")


def test_an_address_is_paid_in_any_spelling_but_a_wrong_checksum() -> None:
    wallet = a_wallet("http://127.0.0.1:1")
    lower = "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359"
    read = decode_transaction(bytes.fromhex(wallet.sign(Payment(ETH, lower, Decimal(1)), 0, TERMS).raw[2:]))
    assert read.to == "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
    for wrong in (
        "0xfb6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        lower[:-1],
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ):
        with pytest.raises(ServiceRejected):
            wallet.sign(Payment(ETH, wrong, Decimal(1)), 0, TERMS)


def test_a_contract_that_is_no_address_is_named() -> None:
    with pytest.raises(ConfigurationError, match="contract of USDT on ETH"):
        a_wallet("http://127.0.0.1:1", tokens={"USDT": "0xdac17f"})


def test_an_address_of_a_node_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError, match="accepted: http") as caught:
        a_wallet("http://user:secret-word@127.0.0.1:1")
    assert "secret-word" not in str(caught.value)
    assert caught.value.__suppress_context__


HONEST: dict[str, Any] = {
    "eth_chainId": {"result": hex(EVM_CHAIN_ID)},
    "eth_getBlockByNumber": {"result": {"baseFeePerGas": hex(8 * GWEI)}},
    "eth_gasPrice": {"result": hex(9 * GWEI)},
    "eth_maxPriorityFeePerGas": {"result": hex(GWEI)},
    "eth_getBalance": {"result": hex(10**21)},
    "eth_estimateGas": {"result": hex(21_000)},
    "eth_getTransactionCount": {"result": "0x0"},
    "eth_getTransactionReceipt": {"result": None},
    "eth_getTransactionByHash": {"result": None},
    "eth_blockNumber": {"result": "0x10"},
}


def test_an_address_that_runs_code_gets_the_gas_that_it_needs() -> None:
    with SocketServer(node(**HONEST | {"eth_estimateGas": result(hex(40_000))})) as server:
        assert a_wallet(server).prepare(pays(1), soon()).gas == 50_000


@pytest.mark.parametrize(
    "odd",
    [
        {"eth_estimateGas": {"error": {"code": 3, "message": "execution reverted"}}},
        {"eth_estimateGas": {"result": hex(30_000_000)}},
        {"eth_maxPriorityFeePerGas": {"result": hex(10**15)}},
        {"eth_getBlockByNumber": {"result": {"baseFeePerGas": hex(10**15)}}},
    ],
    ids=["reverts", "endless gas", "a tip beyond reason", "a base fee beyond reason"],
)
def test_what_would_fail_or_cost_too_much_is_refused(odd: dict[str, Any]) -> None:
    with SocketServer(node(**HONEST | odd)) as server, pytest.raises(ServiceRejected):
        print(a_wallet(server).prepare(pays(1), soon()))


def test_a_head_block_without_a_base_fee_makes_it_one_price() -> None:
    old = {name: HONEST[name] for name in HONEST if name != "eth_maxPriorityFeePerGas"}
    with SocketServer(node(**old | {"eth_getBlockByNumber": result({"number": "0x10"})})) as server:
        wallet = a_wallet(server)
        terms = wallet.prepare(pays(1), soon())
        assert terms == Terms(fee_per_gas=9 * GWEI * 5 // 4, tip_per_gas=None)
        read = decode_transaction(bytes.fromhex(wallet.sign(pays(1), 0, terms).raw[2:]))
        assert (read.kind, read.chain_id, read.max_fee) == (0, EVM_CHAIN_ID, terms.fee_per_gas)


def test_a_node_that_wants_a_login_is_told_apart() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    with SocketServer(script) as server, pytest.raises(AuthenticationFailed, match="401"):
        a_wallet(server).account(soon())


def test_a_node_of_another_chain_is_refused_before_anything_is_signed(sandbox: Sandbox) -> None:
    with pytest.raises(ServiceRejected, match="on chain 1337, not 1"):
        a_wallet(sandbox, chain_id=1).prepare(pays("1.5"), soon())


def test_reads_without_an_answer_say_that_nothing_was_executed(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    transfer = sign(wallet)
    reads: tuple[Callable[[], Any], ...] = (
        lambda: wallet.account(soon()),
        lambda: wallet.prepare(pays(1), soon()),
        lambda: wallet.observe(transfer, soon()),
    )
    for kind in ("down", "rubbish", "5xx_after_execute", "half_body", "refuse"):
        for read in reads:
            fault(sandbox, kind, "info", "status", count=None)
            with pytest.raises(ServiceUnavailable) as caught:
                print(kind, read())
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    fault(sandbox, "hang", "info", "status", count=None)
    with pytest.raises(ServiceUnavailable):
        wallet.account(Deadline.after(0.05))


# --- Broadcasting ----------------------------------------------------------------------------------------------------


def test_a_broadcast_is_mined_and_confirmed(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    transfer = sign(wallet)
    wallet.broadcast(transfer, soon())
    assert confirmed(wallet, transfer)
    (sent,) = sends(sandbox)
    assert (sent["txid"], sent["to"], sent["amount"]) == (transfer.txid, ADDRESS, "1.5")
    assert sandbox.chain.received(ADDRESS) == [(transfer.txid, Decimal("1.5"))]


def test_broadcasting_again_while_it_waits_is_accepted(still: Sandbox) -> None:
    wallet = a_wallet(still)
    transfer = sign(wallet)
    for _ in range(3):
        wallet.broadcast(transfer, soon())
    assert len(sends(still)) == 1
    assert wallet.observe(transfer, soon()) is Sighting.PENDING


def test_broadcasting_again_once_it_is_mined_pays_once(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    transfer = sign(wallet)
    wallet.broadcast(transfer, soon())
    confirmed(wallet, transfer)
    with pytest.raises(OutcomeUnknown, match="nonce too low"):
        wallet.broadcast(transfer, soon())
    assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED
    assert sandbox.chain.received(ADDRESS) == [(transfer.txid, Decimal("1.5"))]


AFTER = ("reset_after_execute", "5xx_after_execute", "rubbish_after_execute", "half_body", "timeout_after_execute")
BEFORE = ("reset_before_execute", "5xx_before_execute", "rubbish", "down", "hang", "refuse")


@pytest.mark.parametrize("kind", AFTER)
def test_a_lost_answer_is_unknown_and_the_chain_tells(
    sandbox: Sandbox, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converter.wallets.rpc.ANSWER_WITHIN", WAIT if kind.startswith("timeout") else 10.0)
    wallet = a_wallet(sandbox)
    transfer = sign(wallet)
    fault(sandbox, kind, "send")
    with pytest.raises(OutcomeUnknown):
        wallet.broadcast(transfer, soon())
    eventually(lambda: sends(sandbox))
    assert len(sends(sandbox)) == 1
    assert wallet.observe(transfer, soon()) in (Sighting.PENDING, Sighting.CONFIRMED)
    assert confirmed(wallet, transfer)


@pytest.mark.parametrize("kind", BEFORE)
def test_what_never_reached_the_chain_is_unknown_too_and_goes_again(
    sandbox: Sandbox, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converter.wallets.rpc.ANSWER_WITHIN", WAIT if kind == "hang" else 10.0)
    wallet = a_wallet(sandbox)
    transfer = sign(wallet)
    fault(sandbox, kind, "send")
    with pytest.raises(OutcomeUnknown):
        wallet.broadcast(transfer, soon())
    assert wallet.observe(transfer, soon()) is Sighting.UNKNOWN
    assert sends(sandbox) == []
    wallet.broadcast(transfer, soon())
    assert confirmed(wallet, transfer)


def test_a_refused_connection_proves_that_nothing_left(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    wallet = a_wallet(f"http://127.0.0.1:{port}")
    with pytest.raises(ServiceUnavailable) as caught:
        wallet.broadcast(sign(wallet), soon())
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED


def test_nothing_is_broadcast_after_the_deadline(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    with pytest.raises(ServiceUnavailable):
        wallet.broadcast(sign(wallet), Deadline.after(-0.001))
    assert sends(sandbox) == []


def test_a_signature_for_another_chain_is_refused_by_the_node_and_unknown_to_us(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox, chain_id=1)
    with pytest.raises(OutcomeUnknown, match="invalid chain id"):
        wallet.broadcast(sign(wallet), soon())
    assert sends(sandbox) == []


@pytest.mark.parametrize("words", ["already known", "AlreadyKnown", "known transaction: 0xab", "Known transaction"])
def test_a_node_that_has_it_already_accepts_it(words: str) -> None:
    with SocketServer(node(eth_sendRawTransaction=refusal(words))) as server:
        wallet = a_wallet(server)
        wallet.broadcast(sign(wallet), soon())


@pytest.mark.parametrize(
    "words",
    [
        "unknown transaction type",
        "unknown transaction",
        "sender account not known",
        "nonce too low: next nonce 5, tx nonce 0",
        "replacement transaction underpriced",
        "insufficient funds for gas * price + value",
        "transaction type not supported",
        "",
    ],
)
def test_every_other_refusal_leaves_it_to_the_chain(words: str) -> None:
    with SocketServer(node(eth_sendRawTransaction=refusal(words))) as server:
        wallet = a_wallet(server)
        with pytest.raises(OutcomeUnknown):
            wallet.broadcast(sign(wallet), soon())


ODD_ANSWERS: tuple[Any, ...] = (
    result(None),
    result(""),
    result("0x" + "ab" * 32),
    result(7),
    result([]),
    result({}),
    {"error": "no"},
    {"error": {"code": -32000}},
    {"error": []},
    {},
    b"",
    b"null",
    b"[]",
    b"7",
    b'"result"',
    b"<html></html>",
    b'{"result": NaN}',
    b'[{"result": "0x1"}]',
    b"\xff\xfe",
)


def test_only_our_own_transaction_id_proves_a_broadcast() -> None:
    for odd in ODD_ANSWERS:
        with SocketServer(node(eth_sendRawTransaction=odd)) as server:
            wallet = a_wallet(server)
            with pytest.raises(OutcomeUnknown):
                print(odd, wallet.broadcast(sign(wallet), soon()))


def test_an_error_of_null_is_no_error() -> None:
    transfer = sign(a_wallet("http://127.0.0.1:1"))
    with SocketServer(node(eth_sendRawTransaction={**result(transfer.txid.upper()), "error": None})) as server:
        a_wallet(server).broadcast(transfer, soon())


def test_odd_answers_to_reads_never_raise_anything_but_our_own_errors() -> None:
    mined = result({"status": "0x1", "blockNumber": "0x1", "transactionHash": sign(a_wallet("http://x")).txid})
    reads: dict[str, tuple[Callable[[EvmWallet], Any], dict[str, Any]]] = {
        "eth_chainId": (lambda wallet: wallet.prepare(pays(1), soon()), {}),
        "eth_getBlockByNumber": (lambda wallet: wallet.prepare(pays(1), soon()), {}),
        "eth_maxPriorityFeePerGas": (lambda wallet: wallet.prepare(pays(1), soon()), {}),
        "eth_getBalance": (lambda wallet: wallet.prepare(pays(1), soon()), {}),
        "eth_estimateGas": (lambda wallet: wallet.prepare(pays(1), soon()), {}),
        "eth_getTransactionCount": (lambda wallet: wallet.account(soon()), {}),
        "eth_getTransactionReceipt": (lambda wallet: wallet.observe(sign(wallet), soon()), {}),
        "eth_blockNumber": (
            lambda wallet: wallet.observe(sign(wallet), soon()),
            {"eth_getTransactionReceipt": mined},
        ),
    }
    for method, (read, before) in reads.items():
        for odd in ODD_ANSWERS:
            if method == "eth_getTransactionReceipt" and odd == result(None):
                continue  # that is what "not mined" looks like
            if odd == result("0x" + "ab" * 32) and method in ("eth_getBalance", "eth_getTransactionCount"):
                continue  # a large number, but a number
            if odd == result("0x" + "ab" * 32) and method == "eth_blockNumber":
                continue
            if odd == result({}) and method == "eth_getBlockByNumber":
                continue  # a block of a chain without a base fee
            with SocketServer(node(**{**HONEST, **before, method: odd})) as server:
                with pytest.raises(ConverterError) as caught:
                    print(method, odd, read(a_wallet(server)))
                assert isinstance(caught.value, ServiceUnavailable | ServiceRejected), (method, odd)


# --- Observing -------------------------------------------------------------------------------------------------------


def test_a_transaction_that_nobody_has_is_unknown(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    assert wallet.observe(sign(wallet), soon()) is Sighting.UNKNOWN


def test_confirmed_means_deep_enough(still: Sandbox) -> None:
    wallet, impatient = a_wallet(still, confirmations=3), a_wallet(still, confirmations=1)
    transfer = sign(wallet)
    wallet.broadcast(transfer, soon())
    seen = [(wallet.observe(transfer, soon()), impatient.observe(transfer, soon()))]
    for _ in range(3):
        still.chain.height += 1
        still.chain._mine()
        seen.append((wallet.observe(transfer, soon()), impatient.observe(transfer, soon())))
    waiting, done = Sighting.PENDING, Sighting.CONFIRMED
    assert seen == [(waiting, waiting), (waiting, done), (waiting, done), (done, done)]


def test_another_transaction_of_the_same_nonce_replaces_it(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    ours, other = sign(wallet), sign(wallet, amount="0.1")
    wallet.broadcast(other, soon())
    confirmed(wallet, other)
    assert wallet.observe(ours, soon()) is Sighting.REPLACED
    with pytest.raises(OutcomeUnknown):
        wallet.broadcast(ours, soon())


def test_a_waiting_transaction_can_be_replaced_at_a_higher_fee(still: Sandbox) -> None:
    wallet = a_wallet(still)
    ours = sign(wallet)
    wallet.broadcast(ours, soon())
    dearer = sign(wallet, amount="0.1", terms=Terms(25 * GWEI, 2 * GWEI))
    with pytest.raises(OutcomeUnknown, match="underpriced"):
        wallet.broadcast(sign(wallet, amount="0.1"), soon())
    wallet.broadcast(dearer, soon())
    still.chain.height += 1
    still.chain._mine()
    assert wallet.observe(ours, soon()) is Sighting.REPLACED
    assert wallet.observe(dearer, soon()) is Sighting.CONFIRMED


def test_a_gap_in_the_nonces_leaves_it_pending(sandbox: Sandbox) -> None:
    wallet = a_wallet(sandbox)
    second, first = sign(wallet, nonce=1), sign(wallet, nonce=0)
    wallet.broadcast(second, soon())
    assert wallet.observe(second, soon()) is Sighting.PENDING
    wallet.broadcast(first, soon())
    assert confirmed(wallet, second)


def test_a_reverted_transaction_failed() -> None:
    transfer = sign(a_wallet("http://127.0.0.1:1"))
    receipt = {"status": "0x0", "blockNumber": "0x10", "transactionHash": transfer.txid}
    with SocketServer(node(eth_getTransactionReceipt=result(receipt), eth_blockNumber=result("0x20"))) as server:
        assert a_wallet(server).observe(transfer, soon()) is Sighting.FAILED


def test_a_receipt_of_another_transaction_proves_nothing() -> None:
    transfer = sign(a_wallet("http://127.0.0.1:1"))
    receipt = {"status": "0x1", "blockNumber": "0x10", "transactionHash": "0x" + "ab" * 32}
    script = node(eth_getTransactionReceipt=result(receipt), eth_blockNumber=result("0x20"))
    with SocketServer(script) as server, pytest.raises(ServiceUnavailable):
        print(a_wallet(server).observe(transfer, soon()))


def test_a_transaction_mined_between_two_questions_is_not_taken_for_replaced() -> None:
    transfer = sign(a_wallet("http://127.0.0.1:1"))
    receipt = {"status": "0x1", "blockNumber": "0x10", "transactionHash": transfer.txid}
    receipts = iter([result(None), result(receipt)])
    script = node(
        eth_getTransactionReceipt=lambda: next(receipts),
        eth_getTransactionByHash=result(None),
        eth_getTransactionCount=result("0x1"),
    )
    with SocketServer(script) as server:
        assert a_wallet(server).observe(transfer, soon()) is Sighting.PENDING


def test_no_error_shows_the_signed_bytes_or_the_key() -> None:
    for script in (node(eth_sendRawTransaction=refusal("no")), node(eth_sendRawTransaction=b"<html>"), silent):
        with SocketServer(script) as server:
            wallet = a_wallet(server)
            transfer = sign(wallet)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("converter.wallets.rpc.ANSWER_WITHIN", 0.1)
                with pytest.raises(ConverterError) as caught:
                    wallet.broadcast(replace(transfer), soon())
            shown = str(caught.value) + repr(vars(caught.value)) + "".join(traceback.format_exception(caught.value))
            assert transfer.raw not in shown
            assert "5a5a5a5a5a" not in shown


# --- Refunds ---------------------------------------------------------------------------------------------------------

TXID = "0x" + "cd" * 32
CONTRACT = "0x" + "11" * 20
SENDER = "0x" + "22" * 20


def mined(to: str, value: int, *, gas: int = 21_000, status: str = "0x1", logs: Any = ()) -> dict[str, Any]:
    """What a node tells of a transaction of somebody else's, seventeen blocks deep."""
    receipt = {"status": status, "blockNumber": "0x1", "transactionHash": TXID, "gasUsed": hex(gas), "logs": list(logs)}
    return HONEST | {
        "eth_blockNumber": result("0x11"),
        "eth_getTransactionReceipt": result(receipt),
        "eth_getTransactionByHash": result({"hash": TXID, "from": SENDER, "to": to, "value": hex(value)}),
    }


def moved(to: str, units: int, contract: str = USDT_CONTRACT, **more: Any) -> dict[str, Any]:
    topics = [TRANSFER_TOPIC, "0x" + "00" * 12 + SENDER[2:], "0x" + "00" * 12 + to[2:].lower()]
    return {"address": contract.lower(), "topics": topics, "data": f"0x{units:064x}", **more}


def brought(told: dict[str, Any], of: Asset = ETH, **changes: Any) -> Decimal | None:
    with SocketServer(node(**told)) as server:
        return a_wallet(server, **changes).received(of, Refund(ADDRESS, None, TXID), soon())


def test_a_refund_is_what_its_transaction_pays_to_the_address() -> None:
    assert brought(mined(ADDRESS.lower(), 15 * 10**17 + 1)) == from_units(15 * 10**17 + 1, 18)


def test_a_refund_may_come_through_a_contract_that_does_not_show_it_and_is_left_to_a_person() -> None:
    assert brought(mined(CONTRACT, 10**18, gas=60_000)) is None


def test_a_refund_that_failed_brought_nothing() -> None:
    assert brought(mined(ADDRESS, 10**18, status="0x0")) == Decimal(0)


def test_a_refund_that_is_not_deep_enough_is_not_there() -> None:
    assert brought(mined(ADDRESS, 10**18), confirmations=18) is None
    assert brought(mined(ADDRESS, 10**18), confirmations=17) == Decimal(1)


def test_a_token_refund_is_the_sum_of_its_transfer_logs() -> None:
    logs = [
        moved(ADDRESS, 5_000_000),
        moved(ADDRESS, 1),
        moved(SENDER, 7_000_000),
        moved(ADDRESS, 9_000_000, contract=CONTRACT),
        moved(ADDRESS, 11_000_000, removed=True),
        {**moved(ADDRESS, 13_000_000), "topics": ["0x" + "ee" * 32]},
    ]
    assert brought(mined(USDT_CONTRACT, 0, gas=60_000, logs=logs), USDT) == Decimal("5.000001")
    assert brought(mined(USDT_CONTRACT, 0, gas=60_000), USDT) == Decimal(0)


def test_a_refund_told_without_its_prefix_is_found() -> None:
    with SocketServer(node(**mined(ADDRESS, 10**18))) as server:
        refund = Refund(ADDRESS, None, TXID[2:].upper())
        assert a_wallet(server).received(ETH, refund, soon()) == Decimal(1)


@pytest.mark.parametrize(
    "odd",
    [
        {"eth_getTransactionByHash": {"result": None}},
        {"eth_getTransactionByHash": {"result": {"from": None, "to": ADDRESS, "value": "0x1"}}},
        {"eth_getTransactionByHash": {"result": {"from": SENDER, "to": ADDRESS, "value": 1}}},
        {"eth_chainId": {"result": "0x1"}},
    ],
)
def test_an_odd_answer_about_a_refund_is_no_refund(odd: dict[str, Any]) -> None:
    with pytest.raises((ServiceUnavailable, ServiceRejected)):
        print(brought(mined(ADDRESS, 10**18) | odd))
