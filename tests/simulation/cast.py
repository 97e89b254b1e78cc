"""Who plays: services and a wallet with their own truth, and what is not at stake and lets everything through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from converter.domain.balancing import Tier
from converter.domain.breakers import BreakerState
from converter.domain.errors import OutcomeUnknown, ServiceRejected
from converter.domain.limits import Admission as RateAdmission
from converter.domain.orders import OperationKind, OperationRule, Order, OrderRef, OrderRequest, OrderStatus
from converter.domain.permits import Admission, Permit, Snapshot
from converter.domain.transfers import Sighting, Transfer
from converter.ports import Deadline
from tests.builders import START, seconds
from tests.fakes import FIRST_STATUS, ScriptedService, ScriptedWallet

if TYPE_CHECKING:
    from tests.simulation.played import Stage

ORDER, APPROVAL, DEPOSIT = OperationKind.ORDER, OperationKind.APPROVAL, OperationKind.DEPOSIT
WITHDRAWAL = OperationKind.WITHDRAWAL

_BOOKED = OperationRule(moves_money=False, quiet=seconds(5))

KINDS: dict[str, tuple[OperationKind, dict[OperationKind, OperationRule]]] = {
    "recognises": (APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, repeat_recognised=True)}),
    "swap": (DEPOSIT, {ORDER: _BOOKED, DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True)}),
    "exchange": (
        ORDER,
        {
            ORDER: OperationRule(moves_money=True, quiet=seconds(20), absences=2),
            WITHDRAWAL: OperationRule(moves_money=True, quiet=seconds(40), absences=2),
        },
    ),
    "looked up": (APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, quiet=seconds(20))}),
    "blind": (APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True)}),
    "blind exchange": (ORDER, {one: OperationRule(moves_money=True) for one in (ORDER, WITHDRAWAL)}),
}
"""What the services of a play commit on, and what they declare of each operation."""


@dataclass
class Call:
    """A worker's call at the moment when it would leave. `do` is the honest work and answer."""

    party: PlayedService | PlayedWallet
    kind: OperationKind | None
    """None for a look-up."""
    key: str
    do: Callable[[], Any]
    hidden: Callable[[], Any] = lambda: None


class PlayedService(ScriptedService):
    """A service with its own truth. What it declares it keeps; `took` and `executed` are its own record."""

    def __init__(self, stage: Stage, service_id: str, kind: str) -> None:
        commits_on, rules = KINDS[kind]
        super().__init__(service_id, commits_on, rules=rules)
        self.rules = rules
        """What it keeps; tests of the tests let it declare something else."""
        self.name = service_id
        self.clock = stage.clock
        self._stage = stage
        self._bounds: dict[str, float] = {}
        """Until when each step that it took may stay out of its look-ups, on the process' clock."""
        self._denied: Counter[str] = Counter()
        """Times that it denied an order after its quiet time: one less than it declares over all, save in plays
        where it `flaps`: a look that sees the order in between begins the count anew."""
        self.flaps = False

    def took(self, key: str) -> bool:
        """Whether a step of this key was executed here."""
        return key in self.orders or any(key in booked.payouts for booked in self.orders.values())

    def play(self, operation: str, do: Callable[[], Any]) -> Any:
        return do()

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        def work() -> Order:
            self._come(ORDER, order.key, deadline.at)
            return ScriptedService.place_order(self, order, deadline)

        return self._stage.called(Call(self, ORDER, order.key, work))

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        key = order.ref.step_key
        kind = WITHDRAWAL if self.capabilities.commits_on is ORDER else APPROVAL
        assert key, "a step without our key"

        def work() -> Order:
            booked = self.orders[order.ref.request.key]
            if self.rules[kind].repeat_recognised and booked.payouts:
                return self._shown(booked, order.ref)
            self._come(kind, key, deadline.at)
            if self.rules[kind].quiet is not None and key in booked.payouts:
                raise OutcomeUnknown(self.name, kind, detail="duplicate id")
            booked.payouts.append(key)
            booked.status = OrderStatus.PAYING_OUT
            return self._shown(booked, order.ref)

        return self._stage.called(Call(self, kind, key, work))

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        def seen() -> Order | None:
            if self.flaps:
                self._denied.pop(ref.request.key, None)
            return ScriptedService.find_order(self, ref, deadline)

        return self._stage.called(Call(self, None, ref.request.key, seen, lambda: self._hidden(ref, seen)))

    def _come(self, kind: OperationKind, key: str, latest: float) -> None:
        """A request arrives. One that has to come in time is refused when it does not."""
        rule = self.rules[kind]
        if rule.moves_money and rule.quiet is not None and self._stage.clock.monotonic() > latest:
            raise ServiceRejected(self.name, kind, detail="the request came too late")
        self._bounds[key] = latest + rule.quiet.total_seconds() if rule.quiet is not None else float("inf")

    def _hidden(self, ref: OrderRef, seen: Callable[[], Order | None]) -> Order | None:
        """What it shows while its latest step there does not show yet: for its quiet time, and one absence less than
        it declares after that."""
        booked = self.orders.get(ref.request.key)
        if booked is None or booked.deposited:
            return seen()
        kind, key = ORDER, ref.request.key
        if booked.payouts:
            kind, key = (WITHDRAWAL if self.capabilities.commits_on is ORDER else APPROVAL), booked.payouts[-1]
        rule = self.rules[kind]
        if self._stage.clock.monotonic() > self._bounds[key] and not rule.repeat_recognised:
            if self._denied[ref.request.key] >= rule.absences - 1:
                return seen()
            self._denied[ref.request.key] += 1
        if kind is ORDER:
            return None
        status = FIRST_STATUS[self.capabilities.commits_on]
        return replace(self._shown(booked, ref), status=status, delivered=None, txid="")


class PlayedWallet(ScriptedWallet):
    """The pool's account. A transaction that arrives is mined."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.house.services)
        self.name = "wallet"
        self._stage = stage

    def took(self, key: str) -> bool:
        return any(one.txid == key for one in self.mined.values())

    def play(self, operation: str, do: Callable[[], Any]) -> Any:
        return do()

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        def work() -> None:
            ScriptedWallet.broadcast(self, transfer, deadline)

        self._stage.called(Call(self, DEPOSIT, transfer.txid, work))

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        def seen() -> Sighting:
            return ScriptedWallet.observe(self, transfer, deadline)

        return self._stage.called(Call(self, None, transfer.txid, seen, lambda: Sighting.UNKNOWN))


# --- What is not at stake here ---------------------------------------------------------------------------------------


class AlwaysClosed:
    """A breaker that lets everything through: nothing is proven by one that is open."""

    _SNAPSHOT = Snapshot(BreakerState.CLOSED, START, None, 0, 1, 0, timedelta(0), shared=True)

    def admit(self, *, may_probe: bool = True) -> Admission:
        return Admission(Permit(1, 0, shared=True), None, None)

    def report(self, permit: Permit, verdict: Any, elapsed: timedelta) -> None:
        return None

    def move(self, target: BreakerState) -> None:
        return None

    def release(self) -> None:
        return None

    def snapshot(self) -> Snapshot:
        return self._SNAPSHOT


class NoLimit:
    def admit(self, service_id: str, operation: str) -> RateAdmission:
        return RateAdmission(True)

    look = admit

    def hold(self, service_id: str, seconds: float) -> None:
        pass


class FirstComes:
    """Services take part in the order of their names."""

    def turns(self, tier: Tier, services: Any) -> list[str]:
        return sorted(services)

    def take(self, tier: Tier, services: Any, waiting: Any = ()) -> str:
        return min(services)
