"""How the system stands at the moment of a scrape, read from the ledger, the broker and the breakers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from converter.alerting import FOLLOWER
from converter.api.sources import Source, Traffic
from converter.domain import conditions
from converter.domain.breaches import PREFIX
from converter.domain.breakers import BreakerState
from converter.domain.conversions import TERMINAL, State
from converter.domain.policy import RoutingPolicy
from converter.operating import Breakers
from converter.ports import Figures


@dataclass(frozen=True)
class Sources:
    """Where the figures come from."""

    ledger: Source[Figures]
    ended: Source[Mapping[str, int]]
    broker: Source[Traffic]


class Gauges(Collector):
    """Collected at each scrape. What does not answer is left out, and said to be down."""

    def __init__(
        self, policy: RoutingPolicy, breakers: Breakers, sources: Sources, receivers: Sequence[str] = ()
    ) -> None:
        self._policy = policy
        self._receivers = tuple(receivers)
        self._breakers = breakers
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """All gauges."""
        sources = self._sources
        figures, traffic = sources.ledger.get(), sources.broker.get()
        yield _gauge("converter_ledger_up", "Whether the ledger answers.", float(figures is not None))
        yield _gauge("converter_broker_up", "Whether Redis answers.", float(traffic is not None))
        errors = CounterMetricFamily("converter_scrape_errors", "Reads for this page that failed.", labels=["source"])
        errors.add_metric(["ledger"], sources.ledger.errors + sources.ended.errors)
        errors.add_metric(["broker"], sources.broker.errors)
        yield errors
        if figures is not None:
            yield from _of_conversions(figures, sources.ended.get())
            yield from self._in_doubt(figures)
            yield from self._of_services(figures)
            yield from _of_the_whole(figures)
            yield from self._of_messages(figures)
        if traffic is not None:
            yield from _of_queues(traffic)
            yield from self._of_breakers()

    def _in_doubt(self, figures: Figures) -> Iterator[Metric]:
        """Of every service that is configured, and of every other that still has a doubt."""
        count = _by_service("converter_operations_unknown", "Operations whose outcome is unknown.")
        oldest = _by_service("converter_operations_unknown_oldest_age_seconds", "Age of the oldest unknown outcome.")
        for service_id in {place.service_id: None for place in self._policy.services} | dict.fromkeys(figures.unknown):
            number, age = figures.unknown.get(service_id, (0, 0.0))
            count.add_metric([service_id], number)
            oldest.add_metric([service_id], age)
        yield from (count, oldest)

    def _of_services(self, figures: Figures) -> Iterator[Metric]:
        available = GaugeMetricFamily(
            "converter_service_available",
            "Whether a service may be chosen: no open breaker, not isolated, not in quarantine.",
            labels=["service", "tier"],
        )
        isolated = _by_service("converter_service_isolated", "Whether an operator took the service out.")
        quarantined = _by_service("converter_service_quarantined", "Whether the service's rates may not be used.")
        checked = _by_service("converter_service_check_age_seconds", "Age of the latest health check.")
        for place in self._policy.services:
            one, known = place.service_id, figures.conditions
            out = known.get(conditions.isolation_of(one)) == conditions.ON
            barred = known.get(conditions.quarantine_of(one)) == conditions.ON
            is_open = conditions.OPEN in (known.get(conditions.breaker_of(one, each)) for each in ("quote", "execute"))
            available.add_metric([one, str(place.tier)], float(not (out or barred or is_open)))
            isolated.add_metric([one], float(out))
            quarantined.add_metric([one], float(barred))
            if one in figures.checks:
                checked.add_metric([one], figures.checks[one])
        yield from (available, isolated, quarantined, checked)

    def _of_messages(self, figures: Figures) -> Iterator[Metric]:
        """How far behind those are who read the events, and what waits for each receiver that is configured."""
        lag = GaugeMetricFamily("converter_outbox_lag_events", "Events not read yet.", labels=["follower"])
        count = GaugeMetricFamily("converter_messages_waiting", "Messages to send.", labels=["receiver"])
        oldest = GaugeMetricFamily(
            "converter_messages_oldest_age_seconds", "Age of the oldest message to send.", labels=["receiver"]
        )
        for follower in (FOLLOWER, *(f":{one}" for one in self._receivers)):
            if follower in figures.followers:
                behind = max(0, figures.events[0] - figures.followers[follower])
                lag.add_metric([follower.removeprefix(":")], behind)
        for receiver in self._receivers:
            number, age = figures.messages.get(receiver, (0, 0.0))
            count.add_metric([receiver], number)
            oldest.add_metric([receiver], age)
        yield from (lag, count, oldest)

    def _of_breakers(self) -> Iterator[Metric]:
        """One series for each state a breaker can be in, 1 for the one that it is in."""
        states = GaugeMetricFamily(
            "converter_breaker_state", "The state of a breaker.", labels=["service", "operation", "state"]
        )
        for service_id, of_service in self._breakers.items():
            for operation, breaker in of_service.items():
                snapshot = breaker.snapshot()
                if snapshot.shared:
                    for state in BreakerState:
                        states.add_metric([service_id, operation, str(state)], float(snapshot.state is state))
        yield states


def _of_conversions(figures: Figures, ended: Mapping[str, int] | None) -> Iterator[Metric]:
    count = GaugeMetricFamily("converter_conversions", "Conversions in the ledger.", labels=["state"])
    oldest = GaugeMetricFamily(
        "converter_conversions_oldest_age_seconds", "For how long the oldest has been in a state.", labels=["state"]
    )
    for state in State:
        if state not in TERMINAL:
            number, age = figures.open.get(state, (0, 0.0))
            count.add_metric([str(state)], number)
            oldest.add_metric([str(state)], age)
        elif ended is not None:
            count.add_metric([str(state)], ended.get(state, 0))
    yield from (count, oldest)


def _of_the_whole(figures: Figures) -> Iterator[Metric]:
    known = figures.conditions.items()
    breaches = sum(name.startswith(PREFIX) and state == conditions.ON for name, state in known)
    held = sum(name.startswith(conditions.hold_of("")) and state != conditions.OFF for name, state in known)
    emergency = figures.conditions.get(conditions.EMERGENCY) == conditions.ON
    sequence, age = figures.events
    yield _gauge("converter_conversions_overdue_seconds", "For how long the most overdue has waited.", figures.overdue)
    yield _gauge("converter_audit_breaches", "Breaches that the last audit found.", breaches)
    yield _gauge("converter_pairs_held", "Pairs whose rates are held.", held)
    yield _gauge("converter_emergency", "Whether an operator opened the emergency tier.", float(emergency))
    yield _gauge("converter_outbox_sequence", "Number of the newest event.", sequence)
    yield _gauge("converter_outbox_newest_age_seconds", "Age of the newest event.", age)


def _of_queues(traffic: Traffic) -> Iterator[Metric]:
    depth = GaugeMetricFamily("converter_queue_depth", "Messages that wait in a queue.", labels=["queue"])
    age = GaugeMetricFamily("converter_queue_oldest_age_seconds", "Age of the oldest of them.", labels=["queue"])
    for queue, one in traffic.queues.items():
        depth.add_metric([queue], one.depth)
        if one.age is not None:
            age.add_metric([queue], one.age)
    yield from (depth, age)
    yield _gauge("converter_messages_in_hand", "Messages taken and not done with.", traffic.in_hand)
    sweep = math.inf if traffic.sweep_age is None else traffic.sweep_age
    yield _gauge("converter_sweep_age_seconds", "Seconds since the last sweep.", sweep)


def _by_service(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["service"])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
