"""Each of the eight services executes and its answer is lost, or never hears us: found out by asking, and paid once.

Three conversions for each service run at once, one for each way to lose an answer. The exchanges trade twice and
withdraw, so theirs take longest: they go on while the requests that never arrived are tried at the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from converter.client import ConversionHandle
from converter.domain import events
from converter.domain.conversions import AttemptState, State

from .world import ALL_SERVICES, ENDED, World, running_world, until

LOST = ("timeout_after_execute", "reset_after_execute", "5xx_after_execute")
UNHEARD = ("timeout_before_execute", "reset_before_execute", "5xx_before_execute")

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Course:
    """A conversion that prefers a service; how often it passes each operation that is struck, by where that is; and
    what is executed for it there beside those."""

    pair: tuple[str, str]
    amount: str
    passes: Mapping[str, Mapping[str, int]]
    beside: Mapping[str, Mapping[str, int]]

    def faults(self, kinds: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Each kind strikes each operation as often as one conversion passes it."""
        return {
            place: [
                {"kind": kind, "operations": [operation], "count": count}
                for operation, count in operations.items()
                for kind in kinds
            ]
            for place, operations in self.passes.items()
        }

    def executions(self, conversions: int) -> Counter[tuple[str, str]]:
        """What the outside world executes for so many conversions, and not once more."""
        return Counter(
            {
                (place, operation): count * conversions
                for told in (self.passes, self.beside)
                for place, operations in told.items()
                for operation, count in operations.items()
            }
        )


def course(service_id: str, pair: str, amount: str, **passes: int) -> Course:
    """Operations of the service itself, or of a node as `node_send`."""
    from_coin, _, to_coin = pair.partition("->")
    places: dict[str, dict[str, int]] = {}
    for name, count in passes.items():
        node, _, operation = name.rpartition("_")
        places.setdefault(node or service_id, {})[operation] = count
    beside = {"thorchain": {"thorchain": {"observed": 1}}}
    if "order" not in places.get(service_id, {}):
        beside |= {one: {one: {"order": 1}} for one in ("simpleswap", "coinpayments")}
    return Course((from_coin, to_coin), amount, places, beside.get(service_id, {}))


# Each deposit swap pays on a chain of its own, so that a fault of its node strikes no other's broadcast.
EXCHANGES = {
    "binance": course("binance", "RVN->BTC", "60000", order=2, withdraw=1),
    "kraken": course("kraken", "DOGE->ETH", "20000", order=2, withdraw=1),
}
OTHERS = {
    "btcpay_lightning": course("btcpay_lightning", "ETH->BTC", "1.5", order=1, approve=1),
    "changenow": course("changenow", "ETH->BTC", "1.5", order=1, evm_send=1),
    "coingate": course("coingate", "ETH->BTC", "1.5", order=1, approve=1),
    "coinpayments": course("coinpayments", "ETH->BTC", "1.5", approve=1),
    "simpleswap": course("simpleswap", "RVN->BTC", "60000", rvn_send=1),
    "thorchain": course("thorchain", "LTC->BTC", "60", ltc_send=1),
}
# An exchange proves that it never heard of an order or a withdrawal only after minutes: that is tried on a given clock.
SILENT = {
    "btcpay_lightning": course("btcpay_lightning", "ETH->BTC", "1.5", order=1, approve=1),
    "changenow": course("changenow", "ETH->BTC", "1.5", order=1),
    "coingate": course("coingate", "ETH->BTC", "1.5", order=1),
    "coinpayments": course("coinpayments", "ETH->BTC", "1.5", order=1),
    "simpleswap": course("simpleswap", "RVN->BTC", "60000", rvn_send=1),
    "thorchain": course("thorchain", "LTC->BTC", "60", ltc_send=1),
}


class Wave:
    """One conversion for each service and kind of fault, all started at once."""

    def __init__(self, world: World, courses: Mapping[str, Course], kinds: Sequence[str]) -> None:
        self._world = world
        self._courses = courses
        self._places: dict[str, list[dict[str, Any]]] = {}
        for one in courses.values():
            self._places |= one.faults(kinds)
        for place, faults in self._places.items():
            world.strike(place, faults)
        self.handles = {
            service_id: start(world, service_id, one, len(kinds) or 1) for service_id, one in courses.items()
        }
        self._struck: dict[str, list[dict[str, Any]]] | None = None

    def finish(self) -> None:
        """Wait for the end of all, and take the faults back."""
        if self._struck is not None:
            return
        for _ in range(4):
            self._wait()
            struck = {place: self._world.faults(place) for place in self._places}
            lacking = [
                one for one in self._courses if any(_missed(place, struck) for place in self._courses[one].passes)
            ]
            if not lacking:
                break
            for service_id in lacking:  # on a busy machine a service may be passed over: it is given another chance
                self.handles[service_id] += start(self._world, service_id, self._courses[service_id], 1)
        self._struck = struck
        for place in self._places:
            self._world.strike(place, [])

    def _wait(self) -> None:
        everyone = [handle for some in self.handles.values() for handle in some]
        states = {handle.id: handle.state for handle in everyone}

        def ended() -> bool:
            states.update({handle.id: handle.state for handle in everyone if states[handle.id] not in ENDED})
            return all(state in ENDED for state in states.values())

        until(ended, 120, lambda: f"every conversion ended, not so {self._open(everyone)}")

    def chosen(self, service_id: str) -> list[ConversionHandle]:
        """The conversions that were attempted at the service that they prefer, and nowhere before it."""
        return [
            handle
            for handle in self.handles[service_id]
            if [one.service_id for one in self._world.attempts(handle.id)][:1] == [service_id]
        ]

    def _open(self, everyone: Sequence[ConversionHandle]) -> list[str]:
        """Those that have not ended, and what the ledger holds of them."""
        found = []
        for handle in everyone:
            conversion = handle.details()
            if conversion.state not in ENDED:
                attempts = self._world.attempts(handle.id)
                steps = [
                    (
                        attempt.service_id,
                        attempt.error,
                        str(one.kind),
                        str(one.state),
                        one.sends,
                        one.absences,
                        one.error,
                    )
                    for attempt in attempts
                    for one in self._world.operations(attempt)
                ]
                found.append(f"{conversion.state} at {conversion.service_id}, {conversion.reason}: {steps}")
        return found

    def missed(self, places: Sequence[str]) -> list[str]:
        """Faults that did not strike as often as they should have."""
        assert self._struck is not None
        return [told for place in places for told in _missed(place, self._struck)]


def _missed(place: str, struck: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    return [
        f"{fault['kind']} of {place}'s {fault['operations']}: {fault['struck']} of {fault['count']}"
        for fault in struck[place]
        if fault["struck"] != fault["count"]
    ]


def start(world: World, service_id: str, one: Course, count: int) -> list[ConversionHandle]:
    from_coin, to_coin = one.pair
    addresses = [world.address(to_coin) for _ in range(count)]
    if service_id == "kraken":  # it pays nobody whose address is not saved there
        saved = {address: {"asset": to_coin, "address": address} for address in addresses}  # beside those before
        world.configure("kraken", withdraw_keys=saved, tier="pro")
    with world.preferring(service_id, ALL_SERVICES) as converter:
        return [
            converter.convert(from_coin=from_coin, to_coin=to_coin, amount=one.amount, address=address)
            for address in addresses
        ]


def executions(world: World) -> Counter[tuple[str, str]]:
    return Counter((one["service_id"], one["operation"]) for one in world.truth()["executions"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("every"), only=ALL_SERVICES) as running:
        yield running


@pytest.fixture(scope="module")
def exchanges(world: World) -> Wave:
    """Under way; whoever needs its end finishes it."""
    return Wave(world, EXCHANGES, LOST)


@pytest.fixture(scope="module")
def others(world: World, exchanges: Wave) -> tuple[Wave, Counter[tuple[str, str]]]:
    """Ended, with everything that was executed until then."""
    wave = Wave(world, OTHERS, LOST)
    wave.finish()
    return wave, executions(world)


@pytest.fixture(scope="module")
def calm(world: World, others: tuple[Wave, Counter[tuple[str, str]]]) -> Wave:
    """One conversion each without faults, after an operator closed the breakers that the lost answers opened."""
    world.recover()
    wave = Wave(world, OTHERS, ())
    wave.finish()
    return wave


@pytest.fixture(scope="module")
def unheard(world: World, calm: Wave) -> Wave:
    wave = Wave(world, SILENT, UNHEARD)
    wave.finish()
    return wave


def assert_doubted(world: World, handles: Sequence[ConversionHandle]) -> None:
    """At least one told that its outcome was unknown; who waits for an answer longer than its lease does not."""
    told = [event.name for handle in handles for event in world.events(handle.id)]
    assert events.CONVERSION_UNKNOWN in told


def assert_proven_and_paid_once(world: World, service_id: str | None, handle: ConversionHandle) -> None:
    """Completed by this service (by any, if it was passed over) in one attempt; nobody else did anything for it."""
    conversion, attempts = handle.details(), world.attempts(handle.id)
    assert conversion.state is State.COMPLETED, conversion.reason
    assert service_id in (None, conversion.service_id)
    assert [one["service_id"] for one in world.deliveries_to(conversion.request.address)] == [conversion.service_id]
    if service_id is not None:
        assert [(one.service_id, one.state) for one in attempts] == [(service_id, AttemptState.SETTLED)]
        assert world.asked_to_execute(handle.id) <= {service_id}


@pytest.mark.parametrize("service_id", sorted(OTHERS))
def test_lost_answers_are_proven_by_asking_and_paid_once(
    world: World, others: tuple[Wave, Counter[tuple[str, str]]], service_id: str
) -> None:
    wave, executed = others
    one = OTHERS[service_id]
    assert wave.missed(list(one.passes)) == []
    chosen = wave.chosen(service_id)
    for handle in wave.handles[service_id]:
        assert_proven_and_paid_once(world, service_id if handle in chosen else None, handle)
    assert_doubted(world, chosen)
    expected = one.executions(len(chosen))
    assert executed >= expected  # more, where it stood in for another


@pytest.mark.parametrize("service_id", sorted(SILENT))
def test_a_request_that_never_arrived_is_made_good_and_paid_once(world: World, unheard: Wave, service_id: str) -> None:
    assert unheard.missed(list(SILENT[service_id].passes)) == []
    for handle in unheard.handles[service_id]:
        conversion = handle.details()
        assert conversion.state is State.COMPLETED, conversion.reason
        paid = world.deliveries_to(conversion.request.address)
        assert [one["service_id"] for one in paid] == [conversion.service_id]
        settled = [one.service_id for one in world.attempts(handle.id) if one.state is AttemptState.SETTLED]
        assert settled == [conversion.service_id]


@pytest.mark.parametrize("service_id", sorted(OTHERS))
def test_a_service_is_chosen_again_once_its_faults_are_over(calm: Wave, service_id: str) -> None:
    (handle,) = calm.handles[service_id]
    conversion = handle.details()
    assert (conversion.state, conversion.service_id) == (State.COMPLETED, service_id)


@pytest.mark.parametrize("service_id", sorted(EXCHANGES))
def test_lost_trades_and_withdrawals_are_proven_by_asking_and_paid_once(
    world: World,
    exchanges: Wave,
    unheard: Wave,
    service_id: str,
) -> None:
    exchanges.finish()
    assert exchanges.missed([service_id]) == []
    chosen = exchanges.chosen(service_id)
    for handle in exchanges.handles[service_id]:
        assert_proven_and_paid_once(world, service_id if handle in chosen else None, handle)
    assert_doubted(world, chosen)
    for handle in chosen if service_id == "binance" else ():
        mark = handle.id.removeprefix("cv_")
        done = [one for one in world.truth()["executions"] if str(one.get("reference") or "").startswith(mark)]
        assert Counter((one["service_id"], one["operation"]) for one in done) == EXCHANGES[service_id].executions(1)
