"""Stand-ins for the outside: a clock, services and a wallet that follow a script and keep their own truth.

A scripted service does its work honestly unless an act is queued for the call. An act decides what the caller sees and
whether the work is done at all, so that every mix of "executed or not" and "answered or not" can be played.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from converter.domain.addresses import eip55
from converter.domain.coins import Asset
from converter.domain.errors import AmountOutOfRange, OutcomeUnknown, QuoteExpired, ServiceRejected
from converter.domain.orders import (
    Capabilities,
    Deposit,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
    Refund,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline, Ledger, Work
from tests.builders import START, seconds


class Crash(BaseException):
    """The process dies here. Not an Exception on purpose: nothing may handle it."""


class HandClock:
    """A clock that is set by hand; every reading also moves it a little, so that no two moments are equal."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start

    def __call__(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    now = __call__

    def forward(self, by: float) -> None:
        self.time += seconds(by)

    def reach(self, moment: datetime) -> None:
        self.time = max(self.time, moment)


class Inline(Executor):
    """Runs what is submitted at once, on the caller's own thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  a process that dies in there dies where the result is asked for
            future.set_exception(error)
        return future


# --- Acts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """One call that a script may bend. `do` does the honest work."""

    party: str
    operation: str
    do: Callable[[], Any]


Act = Callable[[Scene], Any]


def refuse(error: type[Exception], **details: Any) -> Act:
    """Nothing is done, and the error says so (or not)."""

    def act(scene: Scene) -> Any:
        raise error(scene.party, scene.operation, **details)

    return act


vanish = refuse(OutcomeUnknown, detail="the connection broke before the request arrived")
"""Nothing is done, and the caller cannot know."""


def lose_answer(scene: Scene) -> Any:
    """The work is done, and the caller cannot know."""
    scene.do()
    raise OutcomeUnknown(scene.party, scene.operation, detail="the answer was lost")


def die_before(scene: Scene) -> Any:
    raise Crash(scene.operation)


def die_after(scene: Scene) -> Any:
    scene.do()
    raise Crash(scene.operation)


def first(hook: Callable[[], Any]) -> Act:
    """Something happens elsewhere before the work is done."""

    def act(scene: Scene) -> Any:
        hook()
        return scene.do()

    return act


def then(hook: Callable[[], Any], act: Act | None = None) -> Act:
    """The work is done (or `act` played); something happens elsewhere before the caller gets the answer."""

    def played(scene: Scene) -> Any:
        try:
            return act(scene) if act else scene.do()
        finally:
            hook()

    return played


def bend(change: Callable[[Any], Any]) -> Act:
    """The work is done, but the answer tells something else."""
    return lambda scene: change(scene.do())


def tell(answer: Any) -> Act:
    """Nothing is done; this is answered."""
    return lambda scene: answer


class Script:
    """Acts per operation: queued ones are played once each, a standing one whenever the queue is empty."""

    def __init__(self, party: str) -> None:
        self._party = party
        self._queued: dict[str, deque[Act | None]] = defaultdict(deque)
        self._standing: dict[str, Act] = {}
        self.calls: list[str] = []

    def on(self, operation: str, *acts: Act | None) -> None:
        """Queue acts; None plays it straight once."""
        self._queued[operation].extend(acts)

    def always(self, operation: str, act: Act | None) -> None:
        if act is None:
            self._standing.pop(operation, None)
        else:
            self._standing[operation] = act

    def play(self, operation: str, do: Callable[[], Any]) -> Any:
        self.calls.append(operation)
        queue = self._queued[operation]
        act = queue.popleft() if queue else self._standing.get(operation)
        return act(Scene(self._party, operation, do)) if act else do()

    def count(self, operation: str) -> int:
        return self.calls.count(operation)


# --- A service -------------------------------------------------------------------------------------------------------

RULES: dict[OperationKind, dict[OperationKind, OperationRule]] = {
    OperationKind.DEPOSIT: {
        OperationKind.ORDER: OperationRule(moves_money=False, quiet=seconds(5)),
        OperationKind.DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True),
    },
    OperationKind.ORDER: {
        OperationKind.ORDER: OperationRule(moves_money=True, quiet=seconds(20), absences=2),
        OperationKind.TRADE: OperationRule(moves_money=True, quiet=seconds(20), absences=2),
        OperationKind.WITHDRAWAL: OperationRule(moves_money=True, quiet=seconds(600), absences=3),
    },
    OperationKind.APPROVAL: {
        OperationKind.ORDER: OperationRule(moves_money=False, quiet=seconds(5)),
        OperationKind.APPROVAL: OperationRule(moves_money=True, repeat_recognised=True),
    },
}
"""What services of the three kinds declare, by what they commit on."""

FIRST_STATUS = {
    OperationKind.DEPOSIT: OrderStatus.AWAITING_DEPOSIT,
    OperationKind.ORDER: OrderStatus.FILLED,
    OperationKind.APPROVAL: OrderStatus.AWAITING_APPROVAL,
}


@dataclass
class Booked:
    """An order as the service itself knows it: the truth that the ledger is compared with."""

    number: int
    request: OrderRequest
    status: OrderStatus
    placed_at: datetime = START
    paid_at: datetime | None = None
    deposit: Deposit | None = None
    deposited: list[str] = field(default_factory=list)
    payouts: list[str] = field(default_factory=list)
    """Keys of what was paid out: two entries are a double payment."""
    trades: list[str] = field(default_factory=list)
    """Keys of second trades."""
    refund: Refund | None = None


class ScriptedService(Script):
    """A conversion service of any of the three kinds, with a fixed price."""

    def __init__(self, service_id: str, commits_on: OperationKind, net: str = "0.09", **capabilities: Any) -> None:
        super().__init__(service_id)
        self.capabilities = Capabilities(
            service_id=service_id,
            title=service_id.title(),
            commits_on=commits_on,
            **{"rules": RULES[commits_on], "firm_quotes": True, "keys": (), **capabilities},
        )
        self.net = Decimal(net)
        self.minimum: Decimal | None = None
        self.clock: Callable[[], datetime] = lambda: START
        self.quote_life = seconds(60)
        self.supported = True
        self.pays_out = True
        self.refunds = False
        """Whether it sends deposits back instead of paying out."""
        self.legs = 1
        """Trades of an exchange until it may be withdrawn."""
        self.orders: dict[str, Booked] = {}

    @property
    def service_id(self) -> str:
        return self.capabilities.service_id

    @property
    def payouts(self) -> list[str]:
        """Everything that was ever paid out, over all orders."""
        return [key for order in self.orders.values() for key in order.payouts]

    def supports(self, from_asset: Asset, to_asset: Asset) -> bool:
        return self.supported

    def check_health(self, deadline: Deadline) -> None:
        self.play("health", lambda: None)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        def do() -> Quote:
            if self.minimum is not None and request.amount < self.minimum:
                raise AmountOutOfRange(self.service_id, "quote", minimum=self.minimum)
            fee = Decimal("0.001")
            return Quote(
                self.service_id,
                request,
                self.net + fee,
                (Fee("service", fee),),
                self.net,
                firm=True,
                expires_at=self.clock() + self.quote_life,
                reference=f"offer-{self.service_id}",
            )

        return self.play("quote", do)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        def do() -> Order:
            if self.net < order.minimum_net:
                raise QuoteExpired(self.service_id, "order", detail="the price is worse now")
            if order.key in self.orders:
                raise OutcomeUnknown(self.service_id, "order", detail="duplicate id")
            commits_on = self.capabilities.commits_on
            booked = Booked(len(self.orders) + 1, order, FIRST_STATUS[commits_on], self.clock())
            if commits_on is OperationKind.DEPOSIT:
                digest = hashlib.sha256(f"{self.service_id}:{order.key}".encode()).hexdigest()
                booked.deposit = Deposit(eip55("0x" + digest[:40]), order.amount)
            if self.legs == 2:
                booked.status = OrderStatus.HALFWAY
            self.orders[order.key] = booked
            return self._shown(booked, OrderRef(order))

        return self.play("place", do)

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        if order.status is OrderStatus.HALFWAY:
            return self._trade(order)
        key = order.ref.step_key
        assert key, "a second step without our key"

        def do() -> Order:
            booked = self.orders[order.ref.request.key]
            if self.capabilities.commits_on is OperationKind.ORDER:
                if key in booked.payouts:
                    raise OutcomeUnknown(self.service_id, "withdraw", detail="duplicate id")
                booked.payouts.append(key)
            elif booked.status is OrderStatus.AWAITING_APPROVAL:
                booked.payouts.append(key)
            booked.paid_at = self.clock()
            booked.status = OrderStatus.PAYING_OUT
            return self._shown(booked, order.ref)

        return self.play("advance", do)

    def _trade(self, order: Order) -> Order:
        key = order.ref.trade_key
        assert key, "a second trade without our key"

        def do() -> Order:
            booked = self.orders[order.ref.request.key]
            booked.trades.append(key)
            booked.status = OrderStatus.FILLED
            return self._shown(booked, order.ref)

        return self.play("trade", do)

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        def do() -> Order | None:
            booked = self.orders.get(ref.request.key)
            if booked is None:
                return None
            if booked.status is OrderStatus.PAYING_OUT and self.pays_out:
                booked.status = OrderStatus.SETTLED
            return self._shown(booked, ref)

        return self.play("find", do)

    def deposit_arrives(self, address: str, txid: str) -> bool:
        """A payment reached one of our deposit addresses."""
        for booked in self.orders.values():
            if booked.deposit is not None and booked.deposit.address == address:
                if self.refunds:
                    booked.status = OrderStatus.REFUNDED
                    booked.refund = Refund("pool", booked.request.amount, f"back-{txid[:20]}")
                    return True
                if txid not in booked.deposited:
                    booked.deposited.append(txid)
                    booked.payouts.append(txid)
                    booked.paid_at = self.clock()
                if booked.status is OrderStatus.AWAITING_DEPOSIT:
                    booked.status = OrderStatus.PAYING_OUT
                return True
        return False

    def _shown(self, booked: Booked, ref: OrderRef) -> Order:
        """What the service tells of an order."""
        settled = booked.status is OrderStatus.SETTLED
        return Order(
            ref=replace(ref, service_order_id=f"{self.service_id}-{booked.number}"),
            status=booked.status,
            deposit=booked.deposit,
            filled=booked.request.net if self.capabilities.commits_on is OperationKind.ORDER else None,
            delivered=booked.request.net if settled else None,
            txid=f"payout-{booked.payouts[0]}" if settled and booked.payouts else "",
            refund=booked.refund,
        )


# --- A wallet --------------------------------------------------------------------------------------------------------


class ScriptedWallet(Script):
    """An account on a chain of its own. A transaction is mined when it is broadcast, one for each nonce."""

    def __init__(self, services: dict[str, ScriptedService], *, pays_itself: bool = True) -> None:
        super().__init__("wallet")
        self._services = services
        self.pays_itself = pays_itself
        self.balance = Decimal(1000)
        self.mined: dict[int, Transfer] = {}
        self.broadcasts: list[Transfer] = []
        self.set_aside = 0
        """Payments whose coins were prepared and not released."""
        self.refunds: dict[str, Decimal] = {}
        """What came back, by confirmed transaction."""

    def account(self, deadline: Deadline) -> tuple[str, str, int]:
        return self.play("account", lambda: ("chain", "pool", len(self.mined)))

    def holds(self, asset: Asset) -> bool:
        return True

    def prepare(self, payment: Payment, deadline: Deadline) -> Any:
        def do() -> str:
            if payment.amount > self.balance:
                raise ServiceRejected("wallet", "prepare", detail="the wallet does not hold it")
            self.set_aside += 1
            return "coins"

        return self.play("prepare", do)

    def sign(self, payment: Payment, nonce: int, prepared: Any) -> Transfer:
        address, amount = payment.address, payment.amount
        raw = f"{nonce}|{address}|{amount}|{payment.memo}"
        return Transfer("chain", "pool", nonce, raw, hashlib.sha256(raw.encode()).hexdigest(), address, amount)

    def release(self, prepared: Any, deadline: Deadline) -> None:
        def do() -> None:
            self.set_aside -= 1

        self.play("release", do)

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        def do() -> None:
            self.broadcasts.append(transfer)
            if self.mined.setdefault(transfer.nonce, transfer) == transfer:
                for service in self._services.values():
                    service.deposit_arrives(transfer.address, transfer.txid)

        self.play("broadcast", do)

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        def do() -> Sighting:
            mined = self.mined.get(transfer.nonce)
            if mined is None:
                return Sighting.UNKNOWN
            return Sighting.CONFIRMED if mined.txid == transfer.txid else Sighting.REPLACED

        return self.play("observe", do)

    def received(self, asset: Asset, refund: Refund, deadline: Deadline) -> Decimal | None:
        return self.play("received", lambda: self.refunds.get(refund.txid))


# --- A ledger that dies ----------------------------------------------------------------------------------------------


class FragileLedger:
    """A ledger whose user dies at the n-th transaction, either just before its commit or right after it."""

    def __init__(self, ledger: Ledger, dies_at: int = 0, *, committed: bool = True) -> None:
        self._ledger = ledger
        self.dies_at = dies_at
        self.committed = committed
        self.transactions = 0

    @contextmanager
    def begin(self) -> Iterator[Work]:
        self.transactions += 1
        dies = self.transactions == self.dies_at
        with self._ledger.begin() as work:
            yield work
            if dies and not self.committed:
                raise Crash(f"before commit {self.transactions}")
        if dies:
            raise Crash(f"after commit {self.transactions}")

    def now(self) -> datetime:
        return self._ledger.now()
