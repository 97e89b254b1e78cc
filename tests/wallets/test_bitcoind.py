"""The node wallet where nodes say odd things, fail in the middle, or lose what they were told."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import asset
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
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline
from converter.sandbox.credentials import BITCOIND_PASSWORD, BITCOIND_USER
from converter.sandbox.server import Sandbox
from converter.wallets.bitcoind import BitcoindWallet
from converter.wallets.rpc import Node
from tests.services.socket_server import Peer, Script, SocketServer, answer
from tests.wallets.contract import eventually, soon

LOGIN = f"{BITCOIND_USER}:{BITCOIND_PASSWORD}"
BTC = asset("BTC")
PAYEE = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
PAYMENT = Payment(BTC, PAYEE, Decimal("1.5"))
MEMO = Payment(BTC, PAYEE, Decimal("1.5"), "=:e:0x86d526d6624AbC0178cF7296cD538Ecc080A95F1:1")
TXID = "cd" * 32
STORED = Transfer("utxo:BTC", "default", 0, "0200", TXID, PAYEE, Decimal("1.5"))


@pytest.fixture
def world() -> Iterator[Sandbox]:
    with Sandbox(services=[], speed=20) as running:
        yield running
        assert running.problems == []


def a_wallet(world: Sandbox | SocketServer, coin: str = "BTC", **more: Any) -> BitcoindWallet:
    url = f"{world.url}/{coin.lower()}" if isinstance(world, Sandbox) else world.url
    return BitcoindWallet(url, more.pop("login", LOGIN), coin, **{"confirmations": 1, **more})


def locked(world: Sandbox) -> list[Any]:
    return sorted(world.mounts["btc"]._wallet.locked)  # type: ignore[attr-defined]


def node(**results: Any) -> Script:
    """A node that answers by method; bytes are a whole body, a list is used up answer by answer."""

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            said = results[json.loads(request.partition(b"\r\n\r\n")[2])["method"]]
            said = said.pop(0) if isinstance(said, list) else said
            body = (
                said
                if isinstance(said, bytes)
                else json.dumps({"id": 1, "error": None, "result": None} | said).encode()
            )
            peer.send(answer(body))

    return script


def result(value: Any) -> dict[str, Any]:
    return {"result": value}


def refusal(code: int, message: str = "no") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


UNKNOWN_TO_IT = {"gettransaction": refusal(-5), "getrawtransaction": refusal(-5), "getmempoolentry": refusal(-5)}


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", "user", "user:", ":secret-word"])
def test_a_login_that_is_none_is_named_and_not_shown(login: str) -> None:
    with pytest.raises(ConfigurationError, match="accepted: user:password") as caught:
        BitcoindWallet("http://127.0.0.1:1", login, "BTC")
    assert "secret-word" not in str(caught.value)


def test_a_coin_without_such_a_node_is_named() -> None:
    with pytest.raises(ConfigurationError, match="accepted: BTC, LTC, DOGE, BCH, RVN"):
        BitcoindWallet("http://127.0.0.1:1", LOGIN, "ETH")


def test_a_wrong_password_is_told_apart_and_not_shown(world: Sandbox) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        a_wallet(world, login="sandbox:secret-word").prepare(PAYMENT, soon())
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert "secret-word" not in str(caught.value) + repr(vars(caught.value)) + repr(caught.value.__context__)


@pytest.mark.parametrize(("coin", "mount"), [("BTC", "bch"), ("BCH", "btc"), ("BTC", "ltc"), ("LTC", "btc")])
def test_the_node_of_another_coin_is_refused_before_anything_is_set_aside(
    world: Sandbox, coin: str, mount: str
) -> None:
    wallet = BitcoindWallet(f"{world.url}/{mount}", LOGIN, coin)
    payment = Payment(asset(coin), "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Decimal("1.5"))
    with pytest.raises(ServiceRejected, match=f"no {coin} node"):
        wallet.prepare(payment, soon())


# --- Preparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payment", [PAYMENT, MEMO], ids=["plain", "memo"])
def test_wherever_the_preparation_breaks_off_its_coins_are_free_again(
    world: Sandbox, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet, read = a_wallet(world), Node.read
    calls: list[str] = []
    breaks_at: list[int] = []

    def failing(self: Node, method: str, params: list[Any], deadline: Deadline) -> Any:
        if method != "lockunspent":
            calls.append(method)
            if len(calls) in breaks_at:
                raise ServiceUnavailable("btc", method)
        return read(self, method, params, deadline)

    monkeypatch.setattr(Node, "read", failing)
    wallet.release(wallet.prepare(payment, soon()), soon())
    assert "fundrawtransaction" in calls
    for place in range(1, len(calls)):  # one fewer than at first: the node is known now
        calls.clear()
        breaks_at[:] = [place]
        with pytest.raises(ServiceUnavailable):
            wallet.prepare(payment, soon())
        assert locked(world) == [], calls
    assert world.truth.executions == []


def test_what_the_node_would_refuse_is_refused_at_once_and_its_coins_are_free(world: Sandbox) -> None:
    world.mounts["btc"].configure({"reject": "policy"})
    with pytest.raises(ServiceRejected, match="the node would refuse it: mempool min fee not met"):
        a_wallet(world).prepare(PAYMENT, soon())
    assert locked(world) == []


def test_a_fee_above_the_bound_is_refused_and_its_coins_are_free(world: Sandbox) -> None:
    with pytest.raises(ServiceRejected, match="the fee of"):
        a_wallet(world, most_fee=Decimal("0.00000100")).prepare(PAYMENT, soon())
    assert locked(world) == []


@pytest.mark.parametrize(
    ("payment", "words"),
    [
        (Payment(BTC, "bc1qw508d6qejxtdg4y5r3zayvary0c5xw7kv8f3t4", Decimal(1)), "does not know such an address"),
        (Payment(BTC, PAYEE, Decimal(1), "m" * 81), "longer than 80 bytes"),
        (Payment(BTC, PAYEE, Decimal("0.00000001")), "would refuse it: dust"),
    ],
)
def test_a_payment_that_no_node_takes_is_refused(world: Sandbox, payment: Payment, words: str) -> None:
    with pytest.raises(ServiceRejected, match=words):
        a_wallet(world).prepare(payment, soon())
    assert locked(world) == []


def test_an_address_without_its_prefix_is_the_same_address(world: Sandbox) -> None:
    wallet = a_wallet(world, "BCH")
    payment = Payment(asset("BCH"), "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", Decimal(1))
    transfer = wallet.sign(payment, 0, wallet.prepare(payment, soon()))
    wallet.broadcast(transfer, soon())
    eventually(lambda: wallet.observe(transfer, soon()) is Sighting.CONFIRMED)
    assert world.utxo["BCH"].received("bitcoincash:" + payment.address) == [(transfer.txid, Decimal(1))]


def test_a_node_that_signs_something_else_is_caught(world: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet, read = a_wallet(world), Node.read

    def twisted(self: Node, method: str, params: list[Any], deadline: Deadline) -> Any:
        if method == "createrawtransaction":
            (given, outputs) = params
            params = [given, {name: "1.6" if name == PAYEE else value for name, value in outputs.items()}]
        return read(self, method, params, deadline)

    monkeypatch.setattr(Node, "read", twisted)
    with pytest.raises(ServiceRejected, match=r"does not pay 1\.5 once and first"):
        wallet.prepare(PAYMENT, soon())
    assert locked(world) == []


def test_a_node_that_cannot_sign_all_inputs_is_caught(world: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet, read = a_wallet(world), Node.read

    def half(self: Node, method: str, params: list[Any], deadline: Deadline) -> Any:
        told = read(self, method, params, deadline)
        return told | {"complete": False} if method.startswith("signraw") else told

    monkeypatch.setattr(Node, "read", half)
    with pytest.raises(ServiceRejected, match="cannot sign all inputs"):
        wallet.prepare(PAYMENT, soon())
    assert locked(world) == []


def test_a_node_that_is_still_starting_is_unavailable(world: Sandbox) -> None:
    starting = node(getnetworkinfo=refusal(-28, "Loading block index..."))
    with SocketServer(starting) as server, pytest.raises(ServiceUnavailable, match="Loading block index"):
        a_wallet(server).prepare(PAYMENT, soon())


# --- Broadcasting ----------------------------------------------------------------------------------------------------


def test_two_payments_of_the_same_coins_are_never_both_taken_for_sent(world: Sandbox) -> None:
    wallet = a_wallet(world)
    first = wallet.sign(PAYMENT, 0, wallet.prepare(PAYMENT, soon()))
    world.mounts["btc"].configure({"restart": True})  # the node forgets what was set aside
    other = Payment(BTC, PAYEE, Decimal("0.7"))
    second = wallet.sign(other, 1, wallet.prepare(other, soon()))
    wallet.broadcast(second, soon())
    eventually(lambda: wallet.observe(second, soon()) is Sighting.CONFIRMED)
    with pytest.raises(OutcomeUnknown):
        wallet.broadcast(first, soon())
    assert wallet.observe(first, soon()) is Sighting.UNKNOWN
    assert world.utxo["BTC"].received(PAYEE) == [(second.txid, Decimal("0.7"))]


@pytest.mark.parametrize(
    "told",
    [
        refusal(-27, "Transaction outputs already in utxo set"),
        refusal(-27, "transaction already in block chain"),
        refusal(-26, "txn-already-in-mempool"),
        refusal(-26, "18: txn-already-known"),
        refusal(-26, "txn-same-nonwitness-data-in-mempool"),
        result(TXID),
    ],
)
def test_a_node_that_has_it_already_accepts_it(told: dict[str, Any]) -> None:
    with SocketServer(node(sendrawtransaction=told)) as server:
        a_wallet(server).broadcast(STORED, soon())


@pytest.mark.parametrize(
    "told",
    [
        refusal(-26, "mempool min fee not met"),
        refusal(-26, "txn-mempool-conflict"),
        refusal(-22, "TX decode failed"),
        refusal(-25, "bad-txns-inputs-missingorspent"),
        refusal(-32601, "Method not found"),
        refusal(-28, "Loading block index..."),
        result(None),
        result("ab" * 32),
        result(7),
        {"error": "no"},
        {"error": {"message": "no code"}},
        b"",
        b"null",
        b"[]",
        b"<html></html>",
        b"\xff\xfe",
        b"Work queue depth exceeded",
    ],
)
def test_every_other_answer_leaves_it_to_the_chain(told: Any) -> None:
    with SocketServer(node(sendrawtransaction=told, **UNKNOWN_TO_IT)) as server, pytest.raises(OutcomeUnknown):
        a_wallet(server).broadcast(STORED, soon())


def test_spent_inputs_and_no_word_about_it_stay_unknown() -> None:
    silent = node(sendrawtransaction=refusal(-25), gettransaction=b"<html>")
    with SocketServer(silent) as server, pytest.raises(OutcomeUnknown, match="inputs are spent"):
        a_wallet(server).broadcast(STORED, soon())


# --- Observing and refunds -------------------------------------------------------------------------------------------


@pytest.fixture
def mined(world: Sandbox) -> Transfer:
    wallet = a_wallet(world)
    transfer = wallet.sign(PAYMENT, 0, wallet.prepare(PAYMENT, soon()))
    wallet.broadcast(transfer, soon())
    eventually(lambda: wallet.observe(transfer, soon()) is Sighting.CONFIRMED)
    return transfer


@pytest.mark.parametrize(
    ("confirmations", "sighting"),
    [
        (6, Sighting.CONFIRMED),
        (5, Sighting.PENDING),
        (1, Sighting.PENDING),
        (-1, Sighting.UNKNOWN),
        (-5, Sighting.UNKNOWN),
        (-6, Sighting.REPLACED),
    ],
)
def test_depth_and_conflict_are_told_by_the_wallet(mined: Transfer, confirmations: int, sighting: Sighting) -> None:
    told = result({"hex": mined.raw, "confirmations": confirmations, "fee": -0.0001})
    with SocketServer(node(gettransaction=told)) as server:
        assert a_wallet(server, confirmations=6).observe(mined, soon()) is sighting


def test_a_payment_outside_of_the_mempool_is_unknown_again(mined: Transfer) -> None:
    told = {"gettransaction": result({"hex": mined.raw, "confirmations": 0, "trusted": False})}
    with SocketServer(node(**told, getmempoolentry=refusal(-5, "Transaction not in mempool"))) as server:
        assert a_wallet(server).observe(mined, soon()) is Sighting.UNKNOWN
    with SocketServer(node(**told, getmempoolentry=result({"vsize": 141}))) as server:
        assert a_wallet(server).observe(mined, soon()) is Sighting.PENDING


def test_a_payment_mined_between_two_questions_is_not_taken_for_forgotten(mined: Transfer) -> None:
    looks = [result({"hex": mined.raw, "confirmations": count}) for count in (0, 1)]
    with SocketServer(node(gettransaction=looks, getmempoolentry=refusal(-5))) as server:
        assert a_wallet(server).observe(mined, soon()) is Sighting.PENDING


def test_a_payment_that_only_the_node_knows_is_seen(mined: Transfer) -> None:
    told = {"gettransaction": refusal(-5), "getrawtransaction": result({"hex": mined.raw, "confirmations": 2})}
    with SocketServer(node(**told)) as server:
        assert a_wallet(server).observe(mined, soon()) is Sighting.CONFIRMED


ODD: tuple[Any, ...] = (
    result(None),
    result([]),
    result({}),
    result({"hex": "", "confirmations": 9}),
    result({"hex": "zz", "confirmations": 9}),
    result({"hex": 7, "confirmations": 9}),
    refusal(-1),
    refusal(-18, "Requested wallet does not exist or is not loaded"),
    {"error": []},
    b"",
    b"<html>",
    b"[]",
)


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_to_reads_never_raise_anything_but_our_own_errors(mined: Transfer, odd: Any) -> None:
    refund = Refund(PAYEE, None, mined.txid)
    told = {"gettransaction": odd, "getnetworkinfo": result({"subversion": "/Satoshi:27.1.0/"})}
    with SocketServer(node(**UNKNOWN_TO_IT | told)) as server:
        wallet = a_wallet(server)
        if odd == result(None):
            assert wallet.observe(mined, soon()) is Sighting.UNKNOWN  # nobody answers so; it claims nothing
            return
        for read in (lambda: wallet.observe(mined, soon()), lambda: wallet.received(BTC, refund, soon())):
            with pytest.raises(ServiceUnavailable):
                print(odd, read())


def test_a_transaction_told_in_place_of_another_proves_nothing(mined: Transfer) -> None:
    other = node(gettransaction=result({"hex": mined.raw, "confirmations": 9}))
    with SocketServer(other) as server, pytest.raises(ServiceUnavailable):
        print(a_wallet(server).observe(STORED, soon()))


def test_a_refund_to_a_stranger_is_seen_only_with_an_index_of_all_transactions(world: Sandbox) -> None:
    wallet, chain = a_wallet(world), world.utxo["BTC"]
    refund = Refund(PAYEE, None, chain.pay(PAYEE, Decimal("0.25")))
    assert eventually(lambda: wallet.received(BTC, refund, soon())) == Decimal("0.25")
    world.mounts["btc"].configure({"txindex": False})
    assert wallet.received(BTC, refund, soon()) is None


def test_no_error_shows_the_signed_bytes_or_the_password(mined: Transfer) -> None:
    for told in (refusal(-26, "no"), b"<html>", result("ab" * 32)):
        with SocketServer(node(sendrawtransaction=told)) as server, pytest.raises(ConverterError) as caught:
            a_wallet(server).broadcast(mined, soon())
        shown = str(caught.value) + repr(vars(caught.value)) + "".join(traceback.format_exception(caught.value))
        assert mined.raw not in shown
        assert BITCOIND_PASSWORD not in shown
