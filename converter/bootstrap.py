"""The only place that names implementations, with its parts `announcing`, `equipping` and `sharing`."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property, partial

from converter.alerting import Alerting
from converter.announcing import alarms_of, build_posts
from converter.asking import Asking
from converter.auditing import Auditing
from converter.checking import Checking
from converter.comparing import Comparing
from converter.delivering import Delivering, Posts
from converter.desk import Desk, Timing
from converter.domain.coins import assets
from converter.domain.errors import ConfigurationError
from converter.domain.policy import RoutingPolicy
from converter.equipping import (
    SystemClock,
    absent_keys,
    known_minimum,
    make_wallets,
    place_of,
    secret_values,
    service_of,
)
from converter.execution import Execution
from converter.guard import GuardedService
from converter.ledger.counters import SqlCounter
from converter.ledger.repository import SqlLedger, open_ledger
from converter.operating import Operating
from converter.planning import Planning
from converter.ports import ConversionService, KeyStore
from converter.pruning import Pruning
from converter.quoting import Quoting
from converter.reconciliation import Reconciliation
from converter.reviewing import Reviewing
from converter.security.keys import EnvironmentKeys
from converter.selecting import Selecting
from converter.sending import Sending
from converter.services import REGISTRY, service_class
from converter.settings import Service, Settings, environment, load_settings
from converter.settlement import Settlement
from converter.shadowing import Shadowing
from converter.sharing import Commons, build_commons, caps
from converter.surveying import Entry, Surveying
from converter.sweeping import Sweeping


@dataclass(frozen=True)
class Engine:
    """The wired use-cases of one process."""

    settings: Settings
    desk: Desk
    ledger: SqlLedger
    commons: Commons
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values of the keys: what no stored text may hold."""
    posts: Posts = field(default_factory=Posts, repr=False)
    """Who hears of events and alerts."""

    @cached_property
    def alerting(self) -> Alerting:
        """Raise, end and tell alerts."""
        return Alerting(self.ledger, alarms_of(self.settings))

    @cached_property
    def delivering(self) -> Delivering:
        """Send events and alerts."""
        return Delivering(self.ledger, self.posts)

    @cached_property
    def pruning(self) -> Pruning:
        """Delete what went out long ago."""
        keep = timedelta(days=self.settings.events.keep_days)
        return Pruning(self.ledger, keep, tuple(self.posts.carriers))

    @cached_property
    def planning(self) -> Planning:
        """Which services to ask."""
        return Planning(self.desk)

    @cached_property
    def quoting(self) -> Quoting:
        """Ask one service."""
        return Quoting(self.desk, self.asking)

    @cached_property
    def asking(self) -> Asking:
        """Calls for quotes."""
        return Asking(self.settings.multi_service.quote_freshness)

    @cached_property
    def checking(self) -> Checking:
        """Health and recovery."""
        return Checking(self.desk)

    @cached_property
    def shadowing(self) -> Shadowing:
        """Shadow quotes."""
        return Shadowing(self.desk, self.asking)

    def keep_rates(self) -> int:
        """Keep what is remembered of rates in the ledger; returns how many states."""
        rows = self.desk.shared.rates.snapshot()
        with self.ledger.begin() as work:
            work.memory.keep_rates(rows)
        return len(rows)

    @cached_property
    def selecting(self) -> Selecting:
        """Quotes -> the chosen one."""
        return Selecting(self.desk)

    @cached_property
    def sweeping(self) -> Sweeping:
        """What stands still."""
        return Sweeping(self.desk)

    @cached_property
    def auditing(self) -> Auditing:
        """What must always hold."""
        return Auditing(self.ledger, self.secrets, Comparing(self.ledger, self.desk.services))

    @cached_property
    def settlement(self) -> Settlement:
        """Follow an attempt to its end."""
        return Settlement(self.desk, Sending(self.desk), Reconciliation(self.desk))

    @cached_property
    def execution(self) -> Execution:
        """Attempt, commit, fail over."""
        return Execution(self.desk, Sending(self.desk), self.settlement)


def routing_policy(settings: Settings) -> RoutingPolicy:
    """The routing policy of a configuration."""
    given = settings.multi_service
    return RoutingPolicy(
        services=tuple(place_of(settings, one, known_minimum(one.id)) for one in settings.enabled_services),
        parallel_queries=given.parallel_queries,
        max_parallel_requests=given.max_parallel_requests,
        request_timeout=given.request_timeout,
        load_balancing=given.load_balancing,
        auto_failover=given.auto_failover,
        always_use_best_rate=given.always_use_best_rate,
        max_rate_difference=given.max_rate_difference,
        allow_unverified=given.allow_unverified,
        adaptive_shadow=given.adaptive_shadow,
        emergency_after=given.emergency_after,
        caps=caps(settings),
    )


def build_engine(
    settings: Settings | None = None, keys: KeyStore | None = None, ledger: SqlLedger | None = None
) -> Engine:
    """Wire everything for a process that works on conversions, on a given ledger or the configured one.

    Raises ConfigurationError.
    """
    settings = settings or load_settings()
    keys = keys or EnvironmentKeys(environment())
    policy = routing_policy(settings)
    ledger = ledger or open_ledger(settings.ledger)
    make = partial(service_of, settings, keys, counter=SqlCounter(ledger.engine))
    commons = build_commons(settings, policy.services)
    bulletin = commons.desk.bulletin
    services = {
        one.service_id: GuardedService(service, commons.breakers[one.service_id], commons.limiter, bulletin)
        for one in policy.services
        if (service := make(one.service_id)) is not None
    }
    engine = settings.engine
    timing = replace(
        Timing(),
        lease=engine.lease,
        quoting=engine.quoting,
        poll=engine.poll,
        poll_limit=engine.poll_limit,
        park_unprovable=engine.park_unprovable,
    )
    owner = f"{socket.gethostname()}:{os.getpid()}:{threading.get_native_id()}"
    desk = Desk(ledger, services, make_wallets(settings, keys), policy, owner, commons.desk, timing)
    with ledger.begin() as work:
        kept = work.memory.rates()
    commons.desk.rates.reload(kept, ledger.now())
    return Engine(settings, desk, ledger, commons, secret_values(settings, keys), build_posts(settings, keys))


def build_operating(settings: Settings) -> Operating:
    """What an operator may do to services and rates; needs no keys."""
    commons = build_commons(settings, routing_policy(settings).services)
    return Operating(open_ledger(settings.ledger, migrate=True), commons.breakers, commons.desk.rates)


def build_reviewing(settings: Settings, keys: KeyStore, owner: str) -> Reviewing:
    """What a person may do about conversions; `owner` names the person's claims."""
    return Reviewing(replace(build_engine(settings, keys).desk, owner=owner))


def build_surveying(settings: Settings, keys: KeyStore) -> Surveying:
    """Every configured service, for asking outside of a conversion."""

    def make(service_id: str) -> ConversionService:
        service = service_of(settings, keys, service_id)
        if service is None:
            raise ConfigurationError(f"services: {service_id} lacks a key or its baseUrl")
        return service

    return Surveying([_entry(settings, one, keys) for one in settings.services], make, SystemClock())


def _entry(settings: Settings, one: Service, keys: KeyStore) -> Entry:
    if one.id not in REGISTRY:
        return Entry(place_of(settings, one, {}), one.id, one.base_url, one.enabled, known=False)
    kind = service_class(one.id)
    sides = [(gives, gets) for gives in assets() for gets in assets() if gives.coin != gets.coin]
    return Entry(
        place=place_of(settings, one, kind.capabilities.minimum),
        title=kind.capabilities.title,
        base_url=one.base_url,
        enabled=one.enabled,
        known=True,
        needs_keys=bool(kind.capabilities.keys),
        missing=tuple(absent_keys(one, keys)),
        pairs=tuple(pair for pair in sides if kind.supports(*pair)),
    )
