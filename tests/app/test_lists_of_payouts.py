"""A service's own list of what it paid, behind its guard: limited like any call, heard though its breakers refuse."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from converter.bulletin import Bulletin
from converter.domain.breakers import BreakerState
from converter.domain.errors import LimiterRefused, RateLimited, ServiceUnavailable
from converter.domain.limits import Budget, Limit, Limits
from converter.domain.payouts import Payout, PayoutState
from converter.guard import GuardedService
from converter.ports import Deadline
from converter.shared_state.limiter import Limiter
from converter.shared_state.redis_access import RedisAccess
from converter.sharing import breakers_of
from tests.app.house import APPROVAL
from tests.builders import START, a_place
from tests.fakes import ScriptedService

HOUR = timedelta(hours=1)
PAID = Payout("alpha", "a-1", "7", "BTC", Decimal("0.09"), "place", "aa", START, PayoutState.PAID)


class Lister(ScriptedService):
    """A service that keeps a list."""

    lists = True

    def __init__(self, *errors: Exception) -> None:
        super().__init__("alpha", APPROVAL)
        self.asked: list[datetime] = []
        self._errors = list(errors)

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        self.asked.append(since)
        if self._errors:
            raise self._errors.pop(0)
        return [PAID]


def guarded(service: ScriptedService, calls: int = 100) -> GuardedService:
    """By itself, without Redis: so many lists an hour."""
    many = Limit(1000, burst=1000)
    limits = Limits(everything=many, unknown=Budget(many, {"list": Limit(calls, HOUR, burst=calls)}))
    access = RedisAccess("")
    limiter = Limiter(access, limits, processes=1)
    return GuardedService(service, breakers_of(access, a_place("alpha")), limiter, Bulletin())


def test_a_list_is_handed_on_as_the_service_told_it() -> None:
    service = Lister()
    read = guarded(service).payouts
    assert read is not None
    assert read(START, Deadline.after(5)) == [PAID]
    assert service.asked == [START]


def test_a_service_without_a_list_has_none() -> None:
    assert guarded(ScriptedService("alpha", APPROVAL)).payouts is None


def test_a_service_that_keeps_none_for_our_keys_has_none() -> None:
    service = Lister()
    service.lists = False
    assert guarded(service).payouts is None


def test_a_list_is_counted_and_refused_before_it_is_asked_for() -> None:
    service = Lister()
    read = guarded(service, calls=1).payouts
    assert read is not None
    read(START, Deadline.after(5))
    with pytest.raises(LimiterRefused):
        read(START, Deadline.after(5))
    assert len(service.asked) == 1


def test_a_service_that_says_too_often_is_left_alone() -> None:
    service = Lister(RateLimited("alpha", "list", retry_after=600))
    guard = guarded(service)
    assert guard.payouts is not None
    with pytest.raises(RateLimited):
        guard.payouts(START, Deadline.after(5))
    with pytest.raises(LimiterRefused):
        guard.payouts(START, Deadline.after(5))
    assert guard.pause_before("quote") > timedelta(minutes=9)


def test_breakers_neither_refuse_a_list_nor_hear_of_it() -> None:
    service = Lister(*(ServiceUnavailable("alpha", "list") for _ in range(20)))
    guard = guarded(service)
    assert guard.payouts is not None
    for _ in range(20):
        with pytest.raises(ServiceUnavailable):
            guard.payouts(START, Deadline.after(5))
    assert {breaker.snapshot().state for breaker in guard.breakers.values()} == {BreakerState.CLOSED}
    for breaker in guard.breakers.values():
        breaker.move(BreakerState.FORCED_OPEN)
    assert guard.payouts(START, Deadline.after(5)) == [PAID]
