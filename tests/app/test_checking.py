"""Health checks, outages and recoveries: found without traffic, told once, ended by a check or the next conversion."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from redis import Redis

from converter.desk import Next
from converter.domain import conditions, events
from converter.domain.breakers import BreakerState, Verdict
from converter.domain.conversions import State
from converter.domain.errors import OutcomeUnknown, RateLimited, ServiceRejected, ServiceUnavailable
from converter.domain.health import EVERY, LIMIT, MISSES, Check
from converter.domain.policy import override_text
from converter.domain.quarantine import Change, Standing
from converter.monitoring import status
from converter.operating import Operating
from converter.ports import Ledger, Work
from tests.app.house import APPROVAL, House
from tests.builders import BTC, ETH, seconds
from tests.fakes import Crash, FragileLedger, Scene, first, refuse
from tests.shared_state.redis_fixture import client, redis_url, server

__all__ = ["client", "redis_url", "server"]

DOWN = refuse(ServiceUnavailable)
PAIR = conditions.pair_of(ETH, BTC)


def process(house: House, url: str) -> House:
    """Another process on the same ledger and services: what it has to tell and remembers is its own."""
    return House(house.ledger, house.clock, services=house.services, policy=house.policy, redis_url=url)


def check(house: House, service_id: str = "alpha", owner: str = "a") -> Check | None:
    return house.office(owner).checking.check(service_id)


def state(house: House, operation: str = "quote", owner: str = "a", service_id: str = "alpha") -> BreakerState:
    return house.office(owner).desk.services[service_id].breakers[operation].snapshot().state


def move(house: House, to: BreakerState, operation: str = "quote", owner: str = "a") -> None:
    house.office(owner).desk.services["alpha"].breakers[operation].move(to)


def told(house: House, name: str) -> list[tuple[str, str]]:
    """Services and operations of the events of a name."""
    return [(one.payload["serviceId"], one.payload["operation"]) for one in house.events(name)]


def outages(house: House) -> list[tuple[str, str]]:
    return told(house, events.SERVICE_UNAVAILABLE)


def recoveries(house: House) -> list[tuple[str, str]]:
    return told(house, events.SERVICE_RECOVERED)


@pytest.fixture
def alone(house: House) -> House:
    """One service, open for a minute after three failures."""
    house.add("alpha", APPROVAL)
    house.place("alpha", recovery_time=seconds(60))
    return house


def operating(house: House, ledger: Ledger | None = None) -> Operating:
    guards = house.office().desk.services
    breakers = {one: guard.breakers for one, guard in guards.items()}
    return Operating(ledger or house.ledger, breakers, house.shared.rates)


# --- An outage -------------------------------------------------------------------------------------------------------


def test_an_outage_is_known_after_two_misses_without_any_traffic(alone: House) -> None:
    alone.services["alpha"].always("health", DOWN)
    began = alone.clock.time
    first_check = check(alone)
    assert first_check is not None
    assert (first_check.ok, first_check.misses) == (False, 1)
    assert (state(alone), outages(alone)) == (BreakerState.CLOSED, [])
    alone.clock.forward(EVERY.total_seconds())
    check(alone)
    assert state(alone) is BreakerState.OPEN
    assert outages(alone) == [("alpha", "quote")]
    assert alone.clock.time - began < seconds(30)
    assert seconds(30) > EVERY * MISSES + LIMIT
    cid = alone.receive()
    assert alone.begin(cid).state is State.WAITING
    assert alone.services["alpha"].count("quote") == 0


def test_each_miss_is_told_and_the_outage_once(alone: House) -> None:
    alone.services["alpha"].always("health", DOWN)
    for _ in range(6):
        check(alone)
        alone.clock.forward(10)
    assert told(alone, events.SERVICE_FAILURE) == [("alpha", "health")] * 2, "an open breaker is not checked"
    assert [one.payload["failures"] for one in alone.events(events.SERVICE_FAILURE)] == [1, 2]
    assert outages(alone) == [("alpha", "quote")]


def test_a_good_check_in_between_begins_anew(alone: House) -> None:
    alone.services["alpha"].on("health", DOWN, None, DOWN)
    misses = [found.misses for found in [check(alone) for _ in range(4)] if found is not None]
    assert misses == [1, 0, 1, 0]
    assert (state(alone), outages(alone)) == (BreakerState.CLOSED, [])


def test_misses_are_counted_over_all_offices(alone: House, redis_url: str, client: Redis) -> None:
    one, other = process(alone, redis_url), process(alone, redis_url)
    alone.services["alpha"].always("health", DOWN)
    check(one)
    check(other)
    assert state(one) is state(other) is BreakerState.OPEN
    assert outages(alone) == [("alpha", "quote")]


def test_an_outage_that_both_offices_met_is_told_once(alone: House) -> None:
    """Without Redis each has breakers of its own."""
    alone.services["alpha"].always("health", DOWN)
    for _ in range(3):
        for owner in "ab":
            check(alone, owner=owner)
    assert state(alone, owner="a") is state(alone, owner="b") is BreakerState.OPEN
    assert outages(alone) == [("alpha", "quote")]


def test_one_services_misses_are_not_anothers(alone: House) -> None:
    alone.add("beta", APPROVAL).always("health", DOWN)
    for _ in range(2):
        check(alone, "alpha")
        check(alone, "beta")
    assert (state(alone), state(alone, service_id="beta")) == (BreakerState.CLOSED, BreakerState.OPEN)


@pytest.mark.parametrize("error", [RateLimited, ServiceRejected])
def test_a_neutral_answer_changes_nothing(alone: House, error: type[Exception]) -> None:
    alpha = alone.services["alpha"]
    details = {"retry_after": 0} if error is RateLimited else {}
    alpha.on("health", DOWN, refuse(error, **details), DOWN)
    assert check(alone) is not None
    assert check(alone) is None
    assert len(alone.events(events.SERVICE_FAILURE)) == 1
    assert state(alone) is BreakerState.CLOSED
    found = check(alone)
    assert found is not None
    assert found.misses == 2, "it neither counted nor ended the row"


def test_a_check_that_our_limit_refuses_changes_nothing(alone: House) -> None:
    alone.services["alpha"].always("health", DOWN)
    check(alone)
    alone.limiter.hold("alpha", 30)
    assert check(alone) is None
    assert alone.services["alpha"].count("health") == 1
    alone.clock.forward(31)
    found = check(alone)
    assert found is not None
    assert found.misses == 2


def test_a_check_that_breaks_for_another_reason_is_a_miss(alone: House) -> None:
    def broken(scene: Scene) -> Any:
        raise KeyError("unforeseen")

    alone.services["alpha"].always("health", broken)
    for _ in range(2):
        with contextlib.suppress(KeyError):
            check(alone)
    assert state(alone) is BreakerState.OPEN


# --- Recovery --------------------------------------------------------------------------------------------------------


def opened(house: House) -> None:
    """Alpha's breaker for quotes opened by two missed checks."""
    house.services["alpha"].on("health", DOWN, DOWN)
    check(house)
    check(house)
    assert state(house) is BreakerState.OPEN


def test_a_breaker_that_is_not_due_is_not_checked(alone: House) -> None:
    opened(alone)
    alone.clock.forward(50)
    assert check(alone) is None
    assert alone.services["alpha"].count("health") == 2


def test_a_good_check_when_it_is_due_closes_the_breaker_and_tells_it_once(alone: House) -> None:
    opened(alone)
    alone.clock.forward(70)
    found = check(alone)
    assert found is not None
    assert found.ok
    assert state(alone) is BreakerState.CLOSED
    check(alone)
    check(alone, owner="b")
    assert recoveries(alone) == [("alpha", "quote")]
    [recovery] = alone.events(events.SERVICE_RECOVERED)
    assert recovery.payload["seconds"] == pytest.approx(70, abs=1)
    assert alone.begin(alone.receive()).state is State.SETTLING


def test_a_failed_recovery_opens_it_for_longer_and_is_no_second_outage(alone: House) -> None:
    opened(alone)
    alone.clock.forward(70)
    alone.services["alpha"].on("health", DOWN)
    check(alone)
    assert state(alone) is BreakerState.OPEN
    alone.clock.forward(70)
    assert check(alone) is None, "twice as long"
    alone.clock.forward(70)
    assert check(alone) is not None
    assert outages(alone) == recoveries(alone) == [("alpha", "quote")]


def test_an_outage_after_a_recovery_is_told_again(alone: House) -> None:
    for _ in range(2):
        opened(alone)
        alone.clock.forward(300)
        check(alone)
    assert outages(alone) == recoveries(alone) == [("alpha", "quote")] * 2


def test_the_recovery_check_holds_the_permit_and_a_second_office_is_refused(
    alone: House, redis_url: str, client: Redis
) -> None:
    one, other = process(alone, redis_url), process(alone, redis_url)
    opened(one)
    move(one, BreakerState.HALF_OPEN)
    seen: list[Check | None] = []
    alone.services["alpha"].on("health", first(lambda: seen.append(check(other))))
    assert check(one) is not None
    assert seen == [None]
    assert alone.services["alpha"].count("health") == 3
    assert state(one) is state(other) is BreakerState.CLOSED
    assert recoveries(alone) == [("alpha", "quote")]


def test_a_quote_does_not_probe_while_the_service_is_away(alone: House) -> None:
    opened(alone)
    alone.clock.forward(70)
    cid = alone.receive()
    assert alone.begin(cid).state is State.WAITING
    assert alone.services["alpha"].count("quote") == 0
    check(alone)
    assert alone.finish(cid).state is State.COMPLETED


def test_a_neutral_recovery_check_leaves_the_permit_to_the_next(alone: House) -> None:
    opened(alone)
    alone.clock.forward(70)
    alone.services["alpha"].on("health", refuse(RateLimited, retry_after=0))
    assert check(alone) is None
    assert state(alone) is BreakerState.HALF_OPEN
    assert check(alone) is not None
    assert state(alone) is BreakerState.CLOSED


# --- Executions ------------------------------------------------------------------------------------------------------


SMALL, MIDDLE, LARGE = "1.495", "1.5", "1.505"
"""So near to each other that the same net is the same rate."""


def tripped(house: House) -> None:
    """Alpha's breaker for executions opened by a failed attempt; the conversion that met it is over."""
    house.place("alpha", max_failures=1)
    house.services["alpha"].on("place", DOWN)
    cid = house.receive(900)
    house.begin(cid)
    assert state(house, "execute") is BreakerState.OPEN
    with house.ledger.begin() as work:
        claimed = work.conversions.claim(cid, "person", seconds(30), (State.WAITING, State.SETTLING))
        assert claimed is not None
        work.conversions.move(claimed, State.CANCELLED if claimed.state is State.WAITING else State.COMPLETED)


def test_a_check_does_not_close_the_breaker_for_executions(alone: House) -> None:
    tripped(alone)
    alone.clock.forward(70)
    found = check(alone)
    assert found is not None
    assert found.ok
    assert state(alone, "execute") is BreakerState.OPEN
    assert recoveries(alone) == []


def test_the_next_conversion_closes_the_breaker_for_executions(alone: House) -> None:
    tripped(alone)
    assert outages(alone) == [("alpha", "execute")]
    assert alone.begin(alone.receive(1)).state is State.WAITING
    alone.clock.forward(70)
    done = alone.finish(alone.receive(2))
    assert done.state is State.COMPLETED
    assert state(alone, "execute") is BreakerState.CLOSED
    check(alone)
    assert recoveries(alone) == [("alpha", "execute")]


def test_a_service_that_comes_back_is_tried_with_the_smallest_first(alone: House) -> None:
    tripped(alone)
    large, small, middle = (
        alone.receive(number, amount=amount) for number, amount in enumerate((LARGE, SMALL, MIDDLE), start=1)
    )
    alone.clock.forward(70)
    for cid in (large, small, middle):
        assert alone.office().quote_and_select(cid) is Next.EXECUTE
    for cid in (large, middle):
        assert alone.office().execution.execute(cid) is None
        assert "a smaller conversion tries it first" in alone.get(cid).reason
    alone.office().execution.execute(small)
    assert alone.get(small).state is State.SETTLING
    assert state(alone, "execute") is BreakerState.CLOSED
    for cid in (large, middle):
        assert alone.finish(cid).state is State.COMPLETED
    orders = [order.request.amount for order in alone.services["alpha"].orders.values()]
    assert orders[0] == Decimal(SMALL)


def test_equal_amounts_are_tried_oldest_first_and_one_at_a_time(alone: House) -> None:
    tripped(alone)
    cids = [alone.receive(number) for number in (1, 2)]
    alone.clock.forward(70)
    for cid in cids:
        alone.office().quote_and_select(cid)
    assert alone.office().execution.execute(cids[1]) is None
    alone.office().execution.execute(cids[0])
    assert alone.get(cids[0]).state is State.SETTLING


def test_an_unknown_outcome_of_the_trial_opens_it_again_and_is_not_failed_over(alone: House) -> None:
    alone.add("beta", APPROVAL, "0.0899")
    tripped(alone)
    alone.clock.forward(70)
    alone.services["alpha"].on("place", refuse(OutcomeUnknown))
    cid = alone.receive(1)
    assert alone.begin(cid).state is State.RECONCILING
    assert state(alone, "execute") is BreakerState.OPEN
    assert alone.services["beta"].count("place") == 1, "only for the conversion that alpha refused"


def test_a_smaller_conversion_that_goes_elsewhere_does_not_hold_up_the_trial(alone: House) -> None:
    """It names its own services, and that one is away."""
    alone.add("beta", APPROVAL).supported = False
    tripped(alone)
    own = override_text({"services": [["beta", 1, "1"]]})
    small = alone.receive(1, amount=SMALL, policy=own)
    assert alone.begin(small).state is State.WAITING
    large = alone.receive(2, amount=LARGE)
    alone.clock.forward(70)
    alone.begin(large)
    assert alone.finish(large, looks=12).state is State.COMPLETED


def test_a_smaller_conversion_below_the_services_minimum_does_not_hold_up_the_trial(alone: House) -> None:
    alone.add("beta", APPROVAL, "0.0899")
    tripped(alone)
    alone.services["alpha"].minimum = Decimal(MIDDLE)
    alone.services["beta"].always("quote", refuse(RateLimited, retry_after=3600))
    small, large = alone.receive(1, amount=SMALL), alone.receive(2, amount=LARGE)
    alone.begin(small)
    assert alone.get(small).state is State.WAITING
    alone.clock.forward(70)
    alone.begin(large)
    assert alone.finish(large, looks=12).state is State.COMPLETED


def test_a_service_that_is_on_trial_counts_as_available_and_a_failed_trial_is_the_same_outage(alone: House) -> None:
    def available() -> bool:
        return bool(status(alone.ledger, alone.policy)["services"]["alpha"]["available"])

    tripped(alone)
    check(alone)
    assert not available()
    alone.clock.forward(70)
    check(alone)
    assert available(), "nobody else says so until a conversion goes there"
    assert recoveries(alone) == []
    alone.services["alpha"].on("place", refuse(OutcomeUnknown))
    alone.begin(alone.receive(1))
    check(alone)
    assert not available()
    assert outages(alone) == [("alpha", "execute")]
    alone.clock.forward(300)
    check(alone)
    alone.begin(alone.receive(2))
    assert available()
    assert recoveries(alone) == [("alpha", "execute")]


# --- What nobody told ------------------------------------------------------------------------------------------------


def test_an_outage_that_a_dead_process_did_not_tell_is_told_by_the_next_check(
    alone: House, redis_url: str, client: Redis
) -> None:
    dead, living = process(alone, redis_url), process(alone, redis_url)
    alone.place("alpha", max_failures=1)
    guard = dead.office().desk.services["alpha"]
    alone.services["alpha"].on("quote", DOWN)
    for _ in range(3):
        admission = guard.breakers["quote"].admit()
        assert admission.permit is not None
        guard.note("quote", guard.breakers["quote"].report(admission.permit, Verdict.FAILED, seconds(1)))
    assert state(living) is BreakerState.OPEN
    assert outages(alone) == [], "it died before its next transaction"
    assert check(living) is None
    assert outages(alone) == [("alpha", "quote")]
    [event] = alone.events(events.SERVICE_UNAVAILABLE)
    assert event.payload["failures"] == 3
    assert event.payload["until"] is not None
    check(living)
    assert len(outages(alone)) == 1


def test_a_recovery_that_a_dead_process_did_not_tell_is_told_by_the_next_check(
    alone: House, redis_url: str, client: Redis
) -> None:
    living = process(alone, redis_url)
    opened(living)
    process(alone, redis_url).office().desk.services["alpha"].breakers["quote"].move(BreakerState.CLOSED)
    assert recoveries(alone) == []
    check(living)
    assert recoveries(alone) == [("alpha", "quote")]


def test_a_breaker_that_redis_forgot_is_no_recovery_until_the_service_answers(
    alone: House, redis_url: str, client: Redis
) -> None:
    living = process(alone, redis_url)
    opened(living)
    client.flushall()
    alone.services["alpha"].on("health", DOWN)
    check(process(alone, redis_url))
    assert recoveries(alone) == []
    assert outages(alone) == [("alpha", "quote")]


def test_an_old_note_of_an_outage_that_is_over_is_not_told(alone: House, redis_url: str, client: Redis) -> None:
    slow, living = process(alone, redis_url), process(alone, redis_url)
    slow.place("alpha", max_failures=1)
    alone.services["alpha"].on("place", refuse(OutcomeUnknown))
    cid = slow.receive(1)
    assert slow.begin(cid).state is State.RECONCILING  # noted by this process, which writes nothing more for a while
    check(living)
    assert outages(alone) == [("alpha", "execute")]
    move(living, BreakerState.CLOSED, "execute")
    check(living)
    assert recoveries(alone) == [("alpha", "execute")]
    slow.begin(slow.receive(2))
    assert outages(alone) == [("alpha", "execute")]


def test_a_quarantine_that_redis_forgot_is_no_recovery(alone: House, redis_url: str, client: Redis) -> None:
    one = process(alone, redis_url)
    standing = Standing(until=alone.clock.time + seconds(900))
    one.shared.rates.note("alpha", lambda _: Change(standing), alone.clock.time)
    check(one)
    assert len(alone.events(events.SERVICE_QUARANTINED)) == 1
    client.flushall()
    check(process(alone, redis_url))
    assert recoveries(alone) == []


# --- Isolation -------------------------------------------------------------------------------------------------------


def test_an_isolated_service_is_neither_asked_nor_checked_until_it_is_released(alone: House) -> None:
    operating(alone).isolate("alpha")
    alone.clock.forward(90_000)
    assert check(alone) is None
    assert alone.begin(alone.receive(1)).state is State.WAITING
    assert alone.services["alpha"].calls == []
    operating(alone).release("alpha")
    assert state(alone) is state(alone, "execute") is BreakerState.CLOSED
    assert check(alone) is not None
    assert alone.begin(alone.receive(2)).state is State.SETTLING


def test_an_isolation_survives_a_loss_of_redis(alone: House, redis_url: str, client: Redis) -> None:
    house = process(alone, redis_url)
    operating(house).isolate("alpha")
    client.flushall()
    assert state(process(alone, redis_url)) is BreakerState.CLOSED, "Redis has forgotten it"
    assert house.begin(house.receive(1)).state is State.WAITING
    assert check(house) is None
    assert state(house) is state(house, "execute") is BreakerState.FORCED_OPEN
    assert alone.services["alpha"].calls == []


def test_recovering_an_isolated_service_leaves_it_isolated(alone: House) -> None:
    operating(alone).isolate("alpha")
    operating(alone).recover("alpha")
    assert state(alone) is BreakerState.FORCED_OPEN
    assert alone.begin(alone.receive()).state is State.WAITING


def test_an_operator_recovers_a_service_at_once_and_it_is_told_once(alone: House) -> None:
    opened(alone)
    operating(alone).recover("alpha")
    check(alone)
    assert recoveries(alone) == [("alpha", "quote")]
    assert alone.begin(alone.receive()).state is State.SETTLING


def test_a_release_that_was_cut_off_is_completed_by_the_next_check(alone: House) -> None:
    operating(alone).isolate("alpha")
    with pytest.raises(Crash):
        operating(alone, FragileLedger(alone.ledger, 1)).release("alpha")
    for _ in range(3):
        check(alone)
        alone.clock.forward(10)
    assert state(alone) is state(alone, "execute") is BreakerState.CLOSED


class Interrupted:
    """A ledger behind whose first transaction something else happens."""

    def __init__(self, ledger: Ledger, happens: Callable[[], None]) -> None:
        self._ledger = ledger
        self._happens: Callable[[], None] | None = happens

    @contextmanager
    def begin(self) -> Iterator[Work]:
        with self._ledger.begin() as work:
            yield work
        if self._happens is not None:
            happens, self._happens = self._happens, None
            happens()

    def now(self) -> Any:
        return self._ledger.now()


def test_a_check_at_the_moment_of_a_release_does_not_isolate_again(alone: House) -> None:
    operating(alone).isolate("alpha")
    ledger = Interrupted(alone.ledger, lambda: operating(alone).release("alpha"))
    alone.office(ledger=ledger).checking.check("alpha")  # type: ignore[arg-type]
    for _ in range(3):
        check(alone)
        alone.clock.forward(10)
    assert alone.begin(alone.receive()).state is State.SETTLING


# --- A pair that has nobody ------------------------------------------------------------------------------------------


def starving(house: House, service_id: str = "alpha") -> str:
    """A conversion that has waited more than a minute for anybody."""
    cid = house.receive(1)
    house.begin(cid)
    for _ in range(4):
        house.clock.forward(20)
        house.office().planning.start(cid)
    return cid


def test_a_pair_without_anybody_is_probed_a_minute_after_its_service_went_away(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", recovery_time=seconds(3600))
    opened(house)
    cid = starving(house)
    assert check(house) is not None
    assert state(house) is BreakerState.CLOSED
    assert house.finish(cid).state is State.COMPLETED


def test_a_pair_without_anybody_is_not_probed_in_the_first_minute(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", recovery_time=seconds(3600))
    opened(house)
    house.begin(house.receive(1))
    house.clock.forward(30)
    assert check(house) is None


def test_while_others_convert_the_pair_a_service_is_not_probed_early(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=2)
    house.place("alpha", recovery_time=seconds(3600))
    opened(house)
    house.begin(house.receive(1))
    house.clock.forward(120)
    assert check(house) is None


def test_a_pair_that_nobody_waits_for_any_more_is_not_probed_early(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", recovery_time=seconds(3600))
    opened(house)
    house.begin(house.receive(1))
    house.clock.forward(600)
    assert check(house) is None


def test_a_pair_that_no_service_converts_makes_nobody_be_probed_early(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", recovery_time=seconds(3600))
    opened(house)
    house.services["alpha"].supported = False
    starving(house)
    assert check(house) is None
