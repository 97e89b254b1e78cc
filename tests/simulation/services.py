"""Services of every kind, each with its own truth about what it executed.

A service keeps what its rules declare (`converter.domain.orders.OperationRule`) and nothing more: one that recognises a
repeat takes a request however late it comes, but executes it once; one that can be looked up refuses what comes later
than it was to be sent, and shows what it took within its quiet time, save for one absence less than it declares; one
that can do neither takes everything, executes everything, and may show nothing of it for half an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from converter.domain.coins import Asset
from converter.domain.errors import QuoteExpired, ServiceRejected
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
from converter.ports import Deadline
from tests.builders import START, seconds
from tests.simulation.outside import Outside
from tests.simulation.profiles import APPROVAL, DEPOSIT, ORDER, TRADE, WITHDRAWAL, Kind
from tests.simulation.schedule import MICRO

if TYPE_CHECKING:
    from tests.simulation.world import World

_FEE = Decimal("0.0001")
_FEES = (Fee("service", _FEE),)
_HIDDEN_FOR = 1800 * MICRO
_DEPOSIT_LIFE = 1200


class Step:
    """Something that the service executed: from when on it shows it."""

    __slots__ = ("absences", "visible_at")

    def __init__(self, visible_at: int, absences: int) -> None:
        self.visible_at = visible_at
        self.absences = absences
        """Times that it may still deny it after that."""


class Booked:
    """An order as the service itself knows it."""

    __slots__ = (
        "closed",
        "conversion_id",
        "deposit",
        "expires_at",
        "held_until",
        "paid_at",
        "refund",
        "request",
        "steps",
    )

    def __init__(self, request: OrderRequest) -> None:
        self.request = request
        self.conversion_id = "cv_" + request.key.rsplit("-", 1)[0]
        self.steps: dict[OperationKind, Step] = {}
        self.closed = False
        """It filled nothing."""
        self.deposit: Deposit | None = None
        self.expires_at = 0
        self.paid_at: int | None = None
        """When its payout is final."""
        self.held_until = 0
        self.refund: Refund | None = None


class SimService(Outside):
    """A conversion service of one kind."""

    def __init__(self, world: World, service_id: str, kind: Kind) -> None:
        super().__init__(world, service_id)
        self.kind = kind
        self.capabilities = Capabilities(
            service_id, service_id, kind.commits_on, rules=kind.rules, firm_quotes=True, keys=()
        )
        self.orders: dict[str, Booked] = {}
        self._nets: dict[Decimal, list[Decimal]] = {}

    def believe(self, rules: Mapping[OperationKind, OperationRule]) -> None:
        """What the engine is told, where that is not what the service does."""
        self.capabilities = replace(self.capabilities, rules={**self.kind.rules, **rules})

    def supports(self, from_asset: Asset, to_asset: Asset) -> bool:
        return True

    def check_health(self, deadline: Deadline) -> None:
        self.read("health", self.faults.failed_quotes, lambda: None)

    # Prices

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        return self.read("quote", self.faults.failed_quotes, lambda: self._offer(request))

    def _offer(self, request: QuoteRequest) -> Quote:
        net = self._net(request.amount, int(self.random() * 8))
        expires_at = self.scheduler.clock() + seconds(60)
        return Quote(self.id, request, net + _FEE, _FEES, net, True, expires_at, "offer")

    def _net(self, amount: Decimal, step: int) -> Decimal:
        """One of eight nets that lie half a percent apart at most."""
        if amount not in self._nets:
            unit = Decimal("0.00000001")
            self._nets[amount] = [(amount * (60000 + 40 * one) / 1000000).quantize(unit) for one in range(8)]
        return self._nets[amount][step]

    # Orders

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        return self.send(ORDER, order.key, deadline, lambda latest: self._take(order, latest))

    def _take(self, order: OrderRequest, latest: int) -> Order:
        rule = self.kind.rules[ORDER]
        if rule.moves_money:
            self._check_time(ORDER, latest)
        if (known := self.orders.get(order.key)) is not None:
            if rule.moves_money:  # it does not know that it was asked before
                self._executed(known, ORDER, order.key)
            return self._shown(known, OrderRef(order), all_of_it=True)
        if self.faults.price_moves and self.random() < self.faults.price_moves:
            raise QuoteExpired(self.id, "order", detail="the price is worse now")
        booked = self.orders[order.key] = Booked(order)
        booked.steps[ORDER] = self._step(ORDER, latest)
        if self.kind.commits_on is DEPOSIT:
            booked.expires_at = self.scheduler.now + _DEPOSIT_LIFE * MICRO
            valid_until = START + seconds(booked.expires_at / MICRO)
            booked.deposit = Deposit(self.world.wallet.new_address(), order.amount, valid_until=valid_until)
            self.world.wallet.watched[booked.deposit.address] = (self, booked)
        elif rule.moves_money and self.random() < 0.01:
            booked.closed = True
        elif rule.moves_money:
            self._executed(booked, ORDER, order.key)
            if not self.kind.withdraws:
                self._pay(booked, order.key)
        return self._shown(booked, OrderRef(order))

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        if order.status is OrderStatus.HALFWAY:
            kind, key = TRADE, order.ref.trade_key
        else:
            kind, key = (APPROVAL if self.kind.commits_on is APPROVAL else WITHDRAWAL), order.ref.step_key
        assert key, "a step without our key"
        return self.send(kind, key, deadline, lambda latest: self._advance((kind, key), order.ref, latest))

    def _advance(self, step: tuple[OperationKind, str], ref: OrderRef, latest: int) -> Order:
        (kind, key), booked = step, self.orders[ref.request.key]
        done, rule = booked.steps.get(kind), self.kind.rules[kind]
        if rule.repeat_recognised and done is not None:
            return self._shown(booked, ref, all_of_it=True)
        if rule.quiet is not None:
            self._check_time(kind, latest)
        booked.steps[kind] = self._step(kind, latest)
        if kind is TRADE:
            self.world.truth.traded(booked.conversion_id, booked.request.key)
        elif kind is APPROVAL:
            self._executed(booked, kind, key)
            self._pay(booked, key)
        else:
            self._pay(booked, key)
        return self._shown(booked, ref, all_of_it=True)

    def _check_time(self, kind: OperationKind, latest: int) -> None:
        """Late requests are refused by those that declare a quiet time."""
        if self.kind.rules[kind].quiet is not None and self.scheduler.now > latest:
            raise ServiceRejected(self.id, kind, detail="the request came too late")

    def _step(self, kind: OperationKind, latest: int) -> Step:
        now, rule = self.scheduler.now, self.kind.rules[kind]
        if rule.quiet is not None:  # a booking that comes late is taken all the same: it moves nothing
            longest = max(latest, now) + int(rule.quiet.total_seconds() * MICRO) - now
        else:
            longest = 600 * MICRO if rule.repeat_recognised else _HIDDEN_FOR
        lag = self.random() * (longest if self.random() < self.faults.shown_late else MICRO)
        return Step(now + int(min(lag, longest)), rule.absences - 1)

    def _executed(self, booked: Booked, kind: OperationKind, key: str) -> None:
        self.world.truth.executed(booked.conversion_id, self.id, key)
        self.world.note(booked.conversion_id, f"{self.id} EXECUTES {kind} {key}")

    def _pay(self, booked: Booked, key: str) -> None:
        now = self.scheduler.now
        if self.faults.holds and self.random() < self.faults.holds:
            booked.held_until = now + int(self.random() * 5400 * MICRO)
        booked.paid_at = max(now, booked.held_until) + int((1 + self.random() ** 3 * 20) * MICRO)
        self.world.truth.paid(booked.conversion_id, self.id, key)
        self.world.note(booked.conversion_id, f"{self.id} PAYS {key}")

    def deposit_arrives(self, booked: Booked, txid: str) -> None:
        """A payment to one of our deposit addresses is confirmed."""
        known = booked.steps.get(DEPOSIT)
        booked.steps[DEPOSIT] = self._step(DEPOSIT, 0)
        too_late = self.scheduler.now > booked.expires_at
        if known is None and (too_late or self.random() < self.faults.refunds):
            booked.refund = self.world.wallet.sent_back(booked.request.amount)
            self.world.note(booked.conversion_id, f"{self.id} SENDS BACK {txid[:8]}")
            return
        self._executed(booked, DEPOSIT, txid)
        if known is None:
            self._pay(booked, txid)

    # What it shows

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        return self.read("find", self.faults.failed_reads, lambda: self._found(ref))

    def _found(self, ref: OrderRef) -> Order | None:
        booked = self.orders.get(ref.request.key)
        if booked is None or not self._shows(booked.steps[ORDER]):
            return None
        return self._shown(booked, ref)

    def _shows(self, step: Step | None) -> bool:
        if step is None:
            return False
        if self.scheduler.now < step.visible_at:
            return False
        if step.absences and self.random() < 0.05:
            step.absences -= 1
            return False
        return True

    def _shown(self, booked: Booked, ref: OrderRef, *, all_of_it: bool = False) -> Order:
        """What it tells of an order; `all_of_it`, whether it shows it in look-ups already or not."""
        shown = {kind: all_of_it or self._shows(booked.steps.get(kind)) for kind in booked.steps if kind is not ORDER}
        status = self._status(booked, shown)
        final = status is OrderStatus.SETTLED
        return Order(
            ref=replace(ref, service_order_id=f"{self.id}-{booked.request.key}"),
            status=status,
            deposit=booked.deposit,
            filled=booked.request.net if self.kind.commits_on is ORDER else None,
            delivered=booked.request.net if final else None,
            txid=f"payout-{booked.request.key}" if final else "",
            refund=booked.refund if status is OrderStatus.REFUNDED else None,
        )

    def _status(self, booked: Booked, shown: dict[OperationKind, bool]) -> OrderStatus:
        commits_on, now = self.kind.commits_on, self.scheduler.now
        if booked.closed:
            return OrderStatus.REJECTED
        if commits_on is DEPOSIT and not shown.get(DEPOSIT):
            expired = DEPOSIT not in booked.steps and now > booked.expires_at
            return OrderStatus.EXPIRED if expired else OrderStatus.AWAITING_DEPOSIT
        if booked.refund is not None:
            return OrderStatus.REFUNDED
        if commits_on is APPROVAL and not shown.get(APPROVAL):
            return OrderStatus.AWAITING_APPROVAL
        if self.kind.legs == 2 and not shown.get(TRADE):
            return OrderStatus.HALFWAY
        if commits_on is ORDER and self.kind.withdraws and not shown.get(WITHDRAWAL):
            return OrderStatus.FILLED
        if now < booked.held_until:
            return OrderStatus.HELD
        return OrderStatus.SETTLED if booked.paid_at is not None and now >= booked.paid_at else OrderStatus.PAYING_OUT
