"""What every wallet that pays by itself promises, on the sandbox's chains. A subclass brings the chain's facts.

A test moves the chain itself where the moment of a block matters: `still` has no miner, `mine` adds the blocks.
"""

from __future__ import annotations

import contextlib
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    ConverterError,
    Outcome,
    OutcomeUnknown,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline, Wallet
from converter.sandbox.faults import parse_faults
from converter.sandbox.server import Sandbox

AFTER = ("reset_after_execute", "5xx_after_execute", "rubbish_after_execute", "half_body", "timeout_after_execute")
BEFORE = ("reset_before_execute", "5xx_before_execute", "rubbish", "down", "hang", "refuse")
UNANSWERED = ("down", "rubbish", "5xx_after_execute", "half_body")

WAIT = 0.4
"""Seconds that stand in for the wait for an answer where a test lets it pass."""


def soon() -> Deadline:
    return Deadline.after(5)


def eventually(look: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


def fault(world: Sandbox, mount: str, kind: str, *operations: str, count: int | None = 1) -> None:
    described = {"kind": kind, "count": count, "operations": list(operations)}
    world.faults.set(mount, parse_faults(described, world.mounts[mount].operations))


class WalletContract:
    """The demands. Attributes without a value are the subclass's business."""

    asset: ClassVar[Asset]
    mount: ClassVar[str]
    payee: ClassVar[str]
    stranger: ClassVar[str]
    """An address that is neither the payee's nor the wallet's."""
    secret: ClassVar[str]
    amount: ClassVar[Decimal] = Decimal("1.5")
    too_much: ClassVar[Decimal]
    carries_memo: ClassVar[bool] = True

    # --- The subclass's business ---

    def make(self, url: str, confirmations: int = 1) -> Wallet:
        """A wallet at a node."""
        raise NotImplementedError

    def delivered(self, world: Sandbox, address: str) -> list[tuple[str, Decimal]]:
        """Mined payments to an address by the chain's own record."""
        raise NotImplementedError

    def memos(self, world: Sandbox, address: str) -> list[bytes]:
        """The data of the mined payments to an address."""
        raise NotImplementedError

    def pay_from_outside(self, world: Sandbox, address: str, amount: Decimal) -> str:
        """Somebody else pays; the id of the transaction."""
        raise NotImplementedError

    def mine(self, world: Sandbox) -> None:
        """Add one block."""
        raise NotImplementedError

    def home(self, world: Sandbox) -> str:
        """An address of the wallet itself."""
        raise NotImplementedError

    def set_aside(self, world: Sandbox) -> list[Any]:
        """Coins that are set aside for payments."""
        return []

    # --- Tools ---

    @pytest.fixture
    def world(self) -> Iterator[Sandbox]:
        with Sandbox(services=[], speed=20) as running:
            yield running
            assert running.problems == []

    @pytest.fixture
    def still(self, world: Sandbox) -> Sandbox:
        self.configure(world, mining=False)
        return world

    def configure(self, world: Sandbox, **settings: Any) -> None:
        world.mounts[self.mount].configure(settings)

    def wallet(self, world: Sandbox, confirmations: int = 1) -> Wallet:
        return self.make(f"{world.url}/{self.mount}", confirmations)

    def payment(self, amount: Decimal | None = None, memo: str = "") -> Payment:
        return Payment(self.asset, self.payee, self.amount if amount is None else amount, memo)

    def signed(self, wallet: Wallet, payment: Payment | None = None, ahead: int = 0) -> Transfer:
        payment = payment or self.payment()
        nonce = wallet.account(soon())[2] + ahead
        return wallet.sign(payment, nonce, wallet.prepare(payment, soon()))

    def confirmed(self, wallet: Wallet, transfer: Transfer) -> bool:
        eventually(lambda: wallet.observe(transfer, soon()) is Sighting.CONFIRMED)
        return True

    def sends(self, world: Sandbox) -> list[Any]:
        mine = [row for row in world.truth.executions if row["service_id"] == self.mount]
        return [row["txid"] for row in mine if row["operation"] == "send"]

    def refund(self, txid: str, address: str) -> Refund:
        return Refund(address, None, txid)

    # --- Preparing and signing ---

    def test_it_pays_its_own_asset_and_no_other(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        assert wallet.pays_itself
        assert wallet.holds(self.asset)
        for other in (asset("XMR"), asset("BTC", "LIGHTNING"), asset("USDT", "TRX")):
            assert not wallet.holds(other)
            with pytest.raises(ServiceRejected, match="not in this wallet"):
                wallet.prepare(Payment(other, self.payee, self.amount), soon())
            assert wallet.received(other, self.refund("ab" * 32, self.payee), soon()) is None

    def test_what_is_prepared_and_signed_is_nowhere_yet(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        assert (transfer.address, transfer.amount) == (self.payee, self.amount)
        assert (transfer.chain, transfer.account) == wallet.account(soon())[:2]
        assert wallet.observe(transfer, soon()) is Sighting.UNKNOWN
        assert world.truth.executions == []
        assert self.delivered(world, self.payee) == []

    def test_short_funds_are_refused_and_nothing_is_set_aside(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        with pytest.raises(ServiceRejected) as caught:
            wallet.prepare(self.payment(self.too_much), soon())
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert self.set_aside(world) == []
        assert world.truth.executions == []

    def test_an_amount_finer_than_a_unit_is_refused(self, world: Sandbox) -> None:
        finer = self.amount + Decimal(1).scaleb(-self.asset.decimals - 1)
        with pytest.raises(ServiceRejected, match=f"finer than {self.asset.decimals} decimals"):
            self.wallet(world).prepare(self.payment(finer), soon())
        assert self.set_aside(world) == []

    def test_what_was_set_aside_is_free_again_after_release(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        wallet.release(wallet.prepare(self.payment(), soon()), soon())
        assert self.set_aside(world) == []
        wallet.release(wallet.prepare(self.payment(), soon()), soon())

    def test_payments_that_are_prepared_together_do_not_disturb_each_other(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfers = [self.signed(wallet, ahead=ahead) for ahead in range(3)]
        for transfer in transfers:
            wallet.broadcast(transfer, soon())
        for transfer in transfers:
            self.confirmed(wallet, transfer)
        assert sorted(self.delivered(world, self.payee)) == sorted((one.txid, self.amount) for one in transfers)

    def test_a_memo_arrives_with_its_payment(self, world: Sandbox) -> None:
        wallet, memo = self.wallet(world), "=:e:0x86d526d6624AbC0178cF7296cD538Ecc080A95F1:1212499999"
        if not self.carries_memo:
            with pytest.raises(ServiceRejected, match="memo"):
                wallet.prepare(self.payment(memo=memo), soon())
            return
        transfer = self.signed(wallet, self.payment(memo=memo))
        wallet.broadcast(transfer, soon())
        self.confirmed(wallet, transfer)
        assert self.delivered(world, self.payee) == [(transfer.txid, self.amount)]
        assert self.memos(world, self.payee) == [memo.encode()]

    def test_every_digit_of_an_amount_is_paid(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        amount = self.amount + Decimal(1).scaleb(-self.asset.decimals)
        transfer = self.signed(wallet, self.payment(amount))
        wallet.broadcast(transfer, soon())
        self.confirmed(wallet, transfer)
        assert self.delivered(world, self.payee) == [(transfer.txid, amount)]

    # --- Broadcasting ---

    @pytest.mark.parametrize("already_known", [True, False])
    def test_broadcasting_again_while_it_waits_delivers_once(self, still: Sandbox, already_known: bool) -> None:
        self.configure(still, already_known=already_known)
        wallet = self.wallet(still)
        transfer = self.signed(wallet)
        for _ in range(3):
            wallet.broadcast(transfer, soon())
        assert wallet.observe(transfer, soon()) is Sighting.PENDING
        self.mine(still)
        assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED
        assert self.sends(still) == [transfer.txid]
        assert self.delivered(still, self.payee) == [(transfer.txid, self.amount)]

    def test_broadcasting_again_once_it_is_mined_delivers_once(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        wallet.broadcast(transfer, soon())
        self.confirmed(wallet, transfer)
        with contextlib.suppress(OutcomeUnknown):  # of a node that says no more than "too late"
            wallet.broadcast(transfer, soon())
        assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED
        assert self.sends(world) == [transfer.txid]
        assert self.delivered(world, self.payee) == [(transfer.txid, self.amount)]

    @pytest.mark.parametrize("kind", AFTER)
    def test_a_lost_answer_is_unknown_and_the_chain_tells(
        self, world: Sandbox, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("converter.wallets.rpc.ANSWER_WITHIN", WAIT if kind.startswith("timeout") else 10.0)
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        fault(world, self.mount, kind, "send")
        with pytest.raises(OutcomeUnknown):
            wallet.broadcast(transfer, soon())
        eventually(lambda: self.sends(world))
        assert wallet.observe(transfer, soon()) in (Sighting.PENDING, Sighting.CONFIRMED)
        self.confirmed(wallet, transfer)
        assert self.delivered(world, self.payee) == [(transfer.txid, self.amount)]

    @pytest.mark.parametrize("kind", BEFORE)
    def test_what_never_reached_the_chain_is_unknown_too_and_goes_again(
        self, world: Sandbox, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("converter.wallets.rpc.ANSWER_WITHIN", WAIT if kind == "hang" else 10.0)
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        fault(world, self.mount, kind, "send")
        with pytest.raises(OutcomeUnknown):
            wallet.broadcast(transfer, soon())
        assert wallet.observe(transfer, soon()) is Sighting.UNKNOWN
        assert self.sends(world) == []
        wallet.broadcast(transfer, soon())
        assert self.confirmed(wallet, transfer)

    def test_a_full_queue_is_unknown_and_the_bytes_go_again(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        self.configure(world, queue_full=1)
        with pytest.raises(OutcomeUnknown):
            wallet.broadcast(transfer, soon())
        assert wallet.observe(transfer, soon()) is Sighting.UNKNOWN
        wallet.broadcast(transfer, soon())
        assert self.confirmed(wallet, transfer)

    def test_what_the_nodes_policy_refuses_is_unknown_until_it_is_taken(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        self.configure(world, reject="policy")
        with pytest.raises(OutcomeUnknown):
            wallet.broadcast(transfer, soon())
        assert wallet.observe(transfer, soon()) is Sighting.UNKNOWN
        assert self.sends(world) == []
        self.configure(world, reject=None)
        wallet.broadcast(transfer, soon())
        assert self.confirmed(wallet, transfer)

    def test_a_refused_connection_proves_that_nothing_left(self, world: Sandbox) -> None:
        transfer = self.signed(self.wallet(world))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
        with pytest.raises(ServiceUnavailable) as caught:
            self.make(f"http://127.0.0.1:{port}").broadcast(transfer, soon())
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_nothing_is_broadcast_after_the_deadline(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        with pytest.raises(ServiceUnavailable):
            wallet.broadcast(transfer, Deadline.after(-0.001))
        assert self.sends(world) == []

    # --- Observing ---

    def test_confirmed_means_deep_enough(self, still: Sandbox) -> None:
        patient, impatient = self.wallet(still, 3), self.wallet(still, 1)
        transfer = self.signed(patient)
        patient.broadcast(transfer, soon())
        seen = []
        for _ in range(4):
            seen.append((patient.observe(transfer, soon()), impatient.observe(transfer, soon())))
            self.mine(still)
        waiting, done = Sighting.PENDING, Sighting.CONFIRMED
        assert seen == [(waiting, waiting), (waiting, done), (waiting, done), (done, done)]

    def test_a_payment_whose_block_was_dropped_waits_again_and_is_delivered_once(self, still: Sandbox) -> None:
        wallet = self.wallet(still)
        transfer = self.signed(wallet)
        wallet.broadcast(transfer, soon())
        self.mine(still)
        assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED
        self.configure(still, reorganise=1)
        assert wallet.observe(transfer, soon()) in (Sighting.PENDING, Sighting.UNKNOWN)
        assert self.delivered(still, self.payee) == []
        wallet.broadcast(transfer, soon())
        self.mine(still)
        assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED
        assert self.delivered(still, self.payee) == [(transfer.txid, self.amount)]

    # --- Refunds ---

    def test_a_refund_counts_once_it_is_deep_enough(self, still: Sandbox) -> None:
        wallet, home = self.wallet(still, 2), self.home(still)
        refund = self.refund(self.pay_from_outside(still, home, self.amount), home)
        seen = []
        for _ in range(3):
            seen.append(wallet.received(self.asset, refund, soon()))
            self.mine(still)
        assert seen == [None, None, self.amount]
        self.configure(still, reorganise=3)
        assert wallet.received(self.asset, refund, soon()) is None

    def test_a_refund_to_another_address_brings_nothing(self, still: Sandbox) -> None:
        wallet = self.wallet(still)
        txid = self.pay_from_outside(still, self.stranger, self.amount)
        self.mine(still)
        assert wallet.received(self.asset, self.refund(txid, self.home(still)), soon()) == Decimal(0)

    def test_a_payment_of_our_own_is_no_refund(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        wallet.broadcast(transfer, soon())
        self.confirmed(wallet, transfer)
        for address in (self.payee, self.home(world)):
            assert wallet.received(self.asset, self.refund(transfer.txid, address), soon()) == Decimal(0)

    @pytest.mark.parametrize("txid", ["ab" * 32, "0x" + "ab" * 32, "", "internal transfer 17", "0x", "ab" * 31])
    def test_a_refund_that_the_chain_does_not_know_is_not_there(self, world: Sandbox, txid: str) -> None:
        wallet = self.wallet(world)
        assert wallet.received(self.asset, self.refund(txid, self.home(world)), soon()) is None

    # --- Reads that fail, and secrets ---

    def reads(self, wallet: Wallet, transfer: Transfer) -> tuple[Callable[[], Any], ...]:
        refund = self.refund(transfer.txid, self.payee)
        return (
            lambda: wallet.prepare(self.payment(), soon()),
            lambda: wallet.observe(transfer, soon()),
            lambda: wallet.received(self.asset, refund, soon()),
        )

    def test_reads_without_an_answer_say_that_nothing_was_executed(self, world: Sandbox) -> None:
        wallet = self.wallet(world)
        payment = self.payment()
        prepared = wallet.prepare(payment, soon())
        transfer = wallet.sign(payment, 0, prepared)
        wallet.release(prepared, soon())
        for kind in UNANSWERED:
            for read in self.reads(wallet, transfer):
                fault(world, self.mount, kind, "info", "status", count=None)
                with pytest.raises(ServiceUnavailable) as caught:
                    print(kind, read())
                assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        world.faults.set(self.mount, [])
        assert self.set_aside(world) == []

    def test_no_error_shows_a_key(self, world: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("converter.wallets.rpc.ANSWER_WITHIN", WAIT)
        wallet = self.wallet(world)
        transfer = self.signed(wallet)
        calls = (*self.reads(wallet, transfer), lambda: wallet.broadcast(transfer, soon()))
        shown = [repr(wallet), str(wallet), repr(transfer)]
        for kind in ("down", "rubbish", "refuse"):
            for call in calls:
                fault(world, self.mount, kind, "info", "status", "send", count=None)
                with pytest.raises(ConverterError) as caught:
                    print(kind, call())
                shown += [str(caught.value), repr(vars(caught.value)), *traceback.format_exception(caught.value)]
        assert self.secret not in "".join(shown)
