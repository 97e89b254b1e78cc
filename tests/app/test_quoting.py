"""Asking one service: what is kept of its answer, and what the guard makes of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from converter.domain import events
from converter.domain.breakers import BreakerState
from converter.domain.conversions import State
from converter.domain.errors import (
    AuthenticationFailed,
    BreakerRefused,
    IntegrityMismatch,
    LimiterRefused,
    MalformedResponse,
    PairNotSupported,
    RateLimited,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.quotes import Fee, Quote
from converter.guard import GuardedService
from converter.ports import Deadline
from tests.app.house import APPROVAL, EXCHANGE, House
from tests.builders import a_quote_request, seconds
from tests.fakes import Act, HandClock, ScriptedService, bend, refuse

NEUTRAL = (RateLimited, ServiceRejected, PairNotSupported)
COUNTED = (ServiceUnavailable, AuthenticationFailed, MalformedResponse)


def asked(house: House, *groups: tuple[str, ...]) -> str:
    """A conversion in its first round, asked of these services only."""
    cid = house.receive()
    office = house.office()
    assert office.planning.start(cid) is not None
    for group in groups:
        office.quoting.ask(cid, 1, group)
    return cid


def test_an_offer_is_kept_with_all_that_it_says(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.0912")
    cid = asked(house, ("alpha",))
    row = house.quotes(cid)["alpha"]
    assert row.quote is not None
    assert (row.quote.net, row.quote.gross) == (Decimal("0.0912"), Decimal("0.0922"))
    assert row.quote.fees == (Fee("service", Decimal("0.001")),)
    assert (row.quote.reference, row.quote.firm) == ("offer-alpha", True)
    assert row.quote.expires_at > row.asked_at
    assert (row.error, row.failed, row.minimum, row.rank) == ("", False, None, None)


def test_the_answer_for_onlookers_holds_no_amount_and_no_address(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    house.office().planning.start(cid)
    record = house.office().quoting.ask(cid, 1, ("alpha",))
    assert record == {"conversion": cid, "round": 1, "service": "alpha", "quoted": True}


def test_the_answer_for_onlookers_tells_a_refusal_without_its_text(house: House) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(2)
    cid = house.receive()
    house.office().planning.start(cid)
    record = house.office().quoting.ask(cid, 1, ("alpha",))
    assert record == {"conversion": cid, "round": 1, "service": "alpha", "quoted": False}


def test_a_refusal_is_no_failure_and_keeps_the_minimum(house: House) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(2)
    row = house.quotes(asked(house, ("alpha",)))["alpha"]
    assert row.quote is None
    assert (row.failed, row.minimum) == (False, Decimal(2))
    assert "minimum 2" in row.error
    assert house.events(events.SERVICE_FAILURE) == []


@pytest.mark.parametrize("error", COUNTED)
def test_a_failure_is_counted_and_told(house: House, error: type[Exception]) -> None:
    house.add("alpha", EXCHANGE).always("quote", refuse(error))
    house.place("alpha", max_failures=9)
    for number in (1, 2, 3):
        cid = house.receive(number)
        house.office().planning.start(cid)
        house.office().quoting.ask(cid, 1, ("alpha",))
        assert house.quotes(cid)["alpha"].failed
    told = house.events(events.SERVICE_FAILURE)
    assert [event.payload["failures"] for event in told] == [1, 2, 3]
    assert {event.payload["serviceId"] for event in told} == {"alpha"}


def test_an_outage_is_told_once_and_so_is_its_end(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    house.place("alpha", max_failures=2, recovery_time=seconds(60))
    alpha.on("quote", refuse(ServiceUnavailable), refuse(ServiceRejected), refuse(ServiceUnavailable))
    for number in range(1, 4):
        cid = house.receive(number)
        house.office().planning.start(cid)
        house.office().quoting.ask(cid, 1, ("alpha",))
    [outage] = house.events(events.SERVICE_UNAVAILABLE)
    assert outage.payload["serviceId"] == "alpha"
    assert (outage.payload["operation"], outage.payload["failures"]) == ("quote", 2)
    assert house.office().checking.check("alpha") is None, "not due yet"
    house.clock.forward(70)
    assert house.office().checking.check("alpha") is not None
    [recovery] = house.events(events.SERVICE_RECOVERED)
    assert (recovery.payload["serviceId"], recovery.payload["operation"]) == ("alpha", "quote")
    assert recovery.payload["seconds"] == pytest.approx(70, abs=1)


def test_a_round_that_is_over_is_not_asked_for(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    cid = house.executing()
    before = alpha.count("quote")
    assert house.office().quoting.ask(cid, 1, ("alpha",))["skipped"] is True
    other = house.receive(2)
    house.office().planning.start(other)
    assert house.office().quoting.ask(other, 2, ("alpha",))["skipped"] is True
    assert alpha.count("quote") == before


def test_one_by_one_stops_at_the_first_offer(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, EXCHANGE)
    house.services["alpha"].on("quote", refuse(ServiceRejected))
    cid = asked(house, ("alpha", "beta", "gamma"))
    assert sorted(house.quotes(cid)) == ["alpha", "beta"]
    assert house.services["gamma"].calls == []


def test_one_by_one_stops_when_the_time_for_all_is_over(house: House) -> None:
    for name in ("alpha", "beta"):
        house.add(name, EXCHANGE).on("quote", refuse(ServiceUnavailable))
    house.change_policy(request_timeout=seconds(0))
    cid = asked(house, ("alpha", "beta"))
    assert sorted(house.quotes(cid)) == ["alpha"]


def test_an_answer_of_the_same_round_is_kept_once(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    cid = asked(house, ("alpha",))
    alpha.net = Decimal("0.2")
    house.office("b").quoting.ask(cid, 1, ("alpha",))
    row = house.quotes(cid)["alpha"]
    assert row.quote is not None
    assert row.quote.net == Decimal("0.09")


def test_a_redelivered_question_tells_its_failure_once(house: House) -> None:
    house.add("alpha", EXCHANGE).always("quote", refuse(ServiceUnavailable))
    cid = asked(house, ("alpha",))
    house.office("b").quoting.ask(cid, 1, ("alpha",))
    assert [event.payload["failures"] for event in house.events(events.SERVICE_FAILURE)] == [1]


# --- Offers that do not fit ------------------------------------------------------------------------------------------

LIES = {
    "another amount": lambda quote: replace(quote, request=a_quote_request("1.4")),
    "the pair the other way round": lambda quote: replace(
        quote, request=replace(quote.request, from_asset=quote.request.to_asset, to_asset=quote.request.from_asset)
    ),
    "another service": lambda quote: replace(quote, service_id="beta"),
    "more than its gross": lambda quote: replace(quote, net=quote.gross + Decimal("0.00000001"), fees=()),
    "more than gross less fees": lambda quote: replace(quote, net=quote.net + Decimal("0.00000001")),
    "a net finer than the coin": lambda quote: replace(
        quote, gross=Decimal("0.123456789"), net=Decimal("0.123456789"), fees=()
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_offer_that_does_not_fit_the_request_is_refused(house: House, lie: str) -> None:
    house.add("alpha", EXCHANGE).on("quote", bend(LIES[lie]))
    row = house.quotes(asked(house, ("alpha",)))["alpha"]
    assert row.quote is None
    assert row.failed
    assert IntegrityMismatch.__name__ in row.error


def test_an_offer_that_keeps_more_than_its_fees_say_is_only_a_bad_offer(house: House) -> None:
    house.add("alpha", EXCHANGE).on("quote", bend(lambda quote: replace(quote, net=Decimal("0.01"))))
    row = house.quotes(asked(house, ("alpha",)))["alpha"]
    assert row.quote is not None
    assert row.quote.net == Decimal("0.01")


# --- The guard's breakers --------------------------------------------------------------------------------------------


def guarded(max_failures: int = 3) -> tuple[GuardedService, ScriptedService]:
    """A service behind its breakers and limits, alone in its process."""
    house = House(None, HandClock())  # type: ignore[arg-type]  nothing here is kept
    service = house.add("alpha", APPROVAL)
    house.place("alpha", max_failures=max_failures)
    return house.office().desk.services["alpha"], service


def neutral(error: type[Exception]) -> Act:
    """A refusal that says nothing about the service; a 429 is held against nobody here."""
    return refuse(error, retry_after=0) if error is RateLimited else refuse(error)


def state(guard: GuardedService, operation: str = "quote") -> BreakerState:
    return guard.breakers[operation].snapshot().state


def quote(guard: GuardedService) -> Quote | Exception:
    try:
        return guard.quote(a_quote_request(), Deadline.after(5))
    except Exception as error:  # noqa: BLE001  the error is what the test looks at
        return error


def test_the_breaker_opens_after_so_many_failures_in_a_row_and_then_refuses_unasked() -> None:
    guard, service = guarded()
    service.always("quote", refuse(ServiceUnavailable))
    assert [type(quote(guard)) for _ in range(3)] == [ServiceUnavailable] * 3
    assert state(guard) is BreakerState.OPEN
    assert state(guard, "execute") is BreakerState.CLOSED, "quotes and executions are judged apart"
    assert type(quote(guard)) is BreakerRefused
    assert service.count("quote") == 3


def test_a_success_begins_the_row_anew() -> None:
    guard, service = guarded()
    service.on("quote", *[refuse(ServiceUnavailable)] * 2, None, *[refuse(ServiceUnavailable)] * 2)
    for _ in range(5):
        quote(guard)
    assert state(guard) is BreakerState.CLOSED


@pytest.mark.parametrize("error", NEUTRAL)
def test_errors_of_business_never_open_the_breaker(error: type[Exception]) -> None:
    guard, service = guarded(max_failures=1)
    service.always("quote", neutral(error))
    for _ in range(5):
        quote(guard)
    assert state(guard) is BreakerState.CLOSED


@pytest.mark.parametrize("error", NEUTRAL)
def test_errors_of_business_do_not_end_a_row_of_failures(error: type[Exception]) -> None:
    guard, service = guarded(max_failures=3)
    down = refuse(ServiceUnavailable)
    service.on("quote", down, down, neutral(error), down)
    for _ in range(4):
        quote(guard)
    assert state(guard) is BreakerState.OPEN


def test_a_service_that_keeps_lying_is_not_asked_any_more() -> None:
    guard, service = guarded(max_failures=3)
    service.always("quote", bend(LIES["another amount"]))
    for _ in range(3):
        assert type(quote(guard)) is IntegrityMismatch
    assert state(guard) is BreakerState.OPEN


def test_a_quote_never_probes_an_open_breaker() -> None:
    """The half-open permit is the health check's."""
    guard, service = guarded(max_failures=1)
    service.on("quote", refuse(ServiceUnavailable))
    quote(guard)
    guard.breakers["quote"].move(BreakerState.HALF_OPEN)
    assert type(quote(guard)) is BreakerRefused
    assert service.count("quote") == 1


@pytest.mark.parametrize(("after", "held"), [(7, 7), (None, 60)])
def test_a_service_that_says_too_often_is_left_alone_for_as_long_as_it_says(after: int | None, held: float) -> None:
    guard, service = guarded()
    service.on("quote", refuse(RateLimited, retry_after=after))
    assert type(quote(guard)) is RateLimited
    assert guard.pause_before("order").total_seconds() == pytest.approx(held, abs=0.1)
    assert type(quote(guard)) is LimiterRefused
    assert service.count("quote") == 1


@pytest.mark.parametrize("operation", ["find", "advance"])
def test_look_ups_and_second_steps_are_never_refused_by_a_breaker(house: House, operation: str) -> None:
    alpha = house.add("alpha", APPROVAL)
    house.place("alpha", max_failures=1)
    cid = house.receive()
    house.begin(cid)
    alpha.on("quote", refuse(ServiceUnavailable))
    alpha.on("place", refuse(ServiceUnavailable))
    other = house.receive(2)
    house.begin(other)
    guard = house.guards["a"]["alpha"]
    assert state(guard) is BreakerState.OPEN
    assert house.finish(cid).state is State.COMPLETED
    assert alpha.count(operation) > 0


def test_the_error_of_the_call_passes_unchanged_even_when_it_trips_the_breaker() -> None:
    guard, service = guarded(max_failures=1)
    original = ServiceUnavailable("alpha", "quote", code="503")

    def act(scene):  # type: ignore[no-untyped-def]
        raise original

    service.on("quote", act)
    assert quote(guard) is original


def test_a_service_whose_code_breaks_counts_as_failing() -> None:
    guard, service = guarded(max_failures=1)

    def act(scene):  # type: ignore[no-untyped-def]
        raise KeyError("unforeseen")

    service.on("quote", act)
    assert type(quote(guard)) is KeyError
    assert state(guard) is BreakerState.OPEN
