"""What worker processes do to a failing service: call it until their breaker refuses, and tell what they saw."""

from __future__ import annotations

import os
import signal
import threading
from functools import cache
from typing import Any

from converter.bulletin import Bulletin
from converter.checking import Checking
from converter.desk import Desk, Shared
from converter.domain.errors import BreakerRefused, ServiceUnavailable
from converter.domain.limits import Budget, Limit, Limits
from converter.domain.policy import RoutingPolicy
from converter.guard import GuardedService
from converter.ledger.repository import SqlLedger, open_ledger
from converter.ports import Deadline
from converter.shared_state.adaptive import AdaptiveShadow
from converter.shared_state.balancer import Balancer
from converter.shared_state.limiter import Limiter
from converter.shared_state.rates import Rates
from converter.shared_state.redis_access import RedisAccess
from converter.sharing import breakers_of
from tests.app.house import APPROVAL
from tests.builders import a_place, a_quote_request, seconds
from tests.fakes import ScriptedService, refuse
from tests.shared_state import breaker_processes

_ANY = Limit(1_000_000, burst=1_000_000)


@cache
def ledger_at(url: str) -> SqlLedger:
    return open_ledger(url)


class Worker:
    """One process' view of one service that is down."""

    def __init__(self, redis_url: str, ledger_url: str, service_id: str) -> None:
        access = RedisAccess(redis_url, timeout=breaker_processes.PATIENT)
        self.ledger = ledger_at(ledger_url)
        self.bulletin = Bulletin()
        self.service = ScriptedService(service_id, APPROVAL)
        self.service.always("quote", refuse(ServiceUnavailable))
        limiter = Limiter(access, Limits(everything=_ANY, unknown=Budget(_ANY)), processes=8)
        place = a_place(service_id, max_failures=5, recovery_time=seconds(600))
        self.guard = GuardedService(self.service, breakers_of(access, place), limiter, self.bulletin)
        shared = Shared(Balancer(access), Rates(access), AdaptiveShadow(access), self.bulletin)
        policy = RoutingPolicy(services=(place,))
        self.desk = Desk(self.ledger, {service_id: self.guard}, {}, policy, f"w{os.getpid()}", shared)

    def call_until_refused(self) -> int:
        """How often the service was really asked."""
        while True:
            try:
                self.guard.quote(a_quote_request(), Deadline.after(5))
            except BreakerRefused:
                return self.service.count("quote")
            except ServiceUnavailable:
                continue


def outages(number: int, redis_url: str, ledger_url: str, rounds: int, deaf: tuple[int, ...]) -> list[int]:
    """Calls that this process made, round by round. The deaf ones end each round before they could tell anything."""
    made = []
    for turn in range(rounds):
        worker = Worker(redis_url, ledger_url, f"service-{turn}")
        breaker_processes._barrier.wait(60)
        made.append(worker.call_until_refused())
        if number not in deaf:
            worker.bulletin.flush(worker.ledger)
        breaker_processes._barrier.wait(60)
        Checking(worker.desk).check(f"service-{turn}")  # what the health checks do anyway, all at once
    return made


def trip_and_die(redis_url: str, ledger_url: str, service_id: str) -> None:
    """Open the breaker and be killed before anything is told."""
    Worker(redis_url, ledger_url, service_id).call_until_refused()
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(60)


def told(ledger_url: str, name: str) -> list[Any]:
    """The services of the events of this name, in their order."""
    with ledger_at(ledger_url).begin() as work:
        return [one.payload["serviceId"] for one in work.outbox.after(0, 100_000) if one.name == name]
