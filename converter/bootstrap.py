"""The only place that names implementations: settings in, wired use-cases out."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial

from converter.asking import Asking
from converter.auditing import Auditing
from converter.checking import Checking
from converter.comparing import Comparing
from converter.desk import Desk, Timing
from converter.domain.coins import Asset, assets
from converter.domain.errors import ConfigurationError
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.execution import Execution
from converter.guard import GuardedService
from converter.ledger.counters import SqlCounter
from converter.ledger.repository import SqlLedger, open_ledger
from converter.operating import Operating
from converter.planning import Planning
from converter.ports import ConversionService, Counter, KeyStore, Wallet
from converter.quoting import Quoting
from converter.reconciliation import Reconciliation
from converter.reviewing import Reviewing
from converter.security.keys import EnvironmentKeys, variable
from converter.selecting import Selecting
from converter.sending import Sending
from converter.services import REGISTRY, make_service, service_class
from converter.services.base import ServiceSettings
from converter.settings import Service, Settings, WalletSettings, environment, load_settings
from converter.settlement import Settlement
from converter.shadowing import Shadowing
from converter.sharing import Commons, build_commons, caps
from converter.surveying import Entry, Surveying
from converter.sweeping import Sweeping
from converter.wallets.bitcoind import BitcoindWallet
from converter.wallets.manual import ManualWallet


class SystemClock:
    """The host's wall clock."""

    def now(self) -> datetime:
        """Aware UTC time."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class Engine:
    """The wired use-cases of one process."""

    settings: Settings
    desk: Desk
    ledger: SqlLedger
    commons: Commons
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values of the keys: what no stored text may hold."""

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
        services=tuple(_place(settings, one, _known_minimum(one.id)) for one in settings.enabled_services),
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


def _place(settings: Settings, one: Service, minimum: Mapping[str, Decimal]) -> ServicePolicy:
    return ServicePolicy(
        service_id=one.id,
        tier=one.priority,
        weight=one.weight,
        max_failures=one.max_failures or settings.multi_service.max_service_failures,
        recovery_time=one.recovery_time or settings.multi_service.service_recovery_time,
        minimum={**minimum, **one.min_amount},
    )


def build_engine(settings: Settings | None = None, keys: KeyStore | None = None) -> Engine:
    """Wire everything for a process that works on conversions. Raises ConfigurationError."""
    settings = settings or load_settings()
    keys = keys or EnvironmentKeys(environment())
    policy = routing_policy(settings)
    ledger = open_ledger(settings.ledger)
    make = partial(_service, settings, keys, counter=SqlCounter(ledger.engine))
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
    desk = Desk(ledger, services, _wallets(settings, keys), policy, owner, commons.desk, timing)
    with ledger.begin() as work:
        kept = work.memory.rates()
    commons.desk.rates.reload(kept, ledger.now())
    return Engine(settings, desk, ledger, commons, _secrets(settings, keys))


def _secrets(settings: Settings, keys: KeyStore) -> tuple[str, ...]:
    """Values of all keys that are there."""
    names = [(one.id, name) for one in settings.services if one.id in REGISTRY for name in _key_names(one.id)]
    names += [("wallet", network) for network in settings.wallets]
    return tuple(key for service_id, name in names if (key := keys.get(service_id, name)) is not None)


def _key_names(service_id: str) -> tuple[str, ...]:
    known = service_class(service_id).capabilities
    return (*known.keys, *known.optional_keys)


def build_operating(settings: Settings) -> Operating:
    """What an operator may do to services and rates; needs no keys."""
    commons = build_commons(settings, routing_policy(settings).services)
    return Operating(open_ledger(settings.ledger, migrate=True), commons.breakers, commons.desk.rates)


def build_reviewing(settings: Settings, keys: KeyStore, owner: str) -> Reviewing:
    """What a person may do about conversions; `owner` names the person's claims."""
    return Reviewing(replace(build_engine(settings, keys).desk, owner=owner))


def missing_keys(settings: Settings, keys: KeyStore) -> dict[str, list[str]]:
    """Variables of missing keys, by enabled service; a service with one is not asked."""
    return {one.id: absent for one in settings.enabled_services if (absent := _absent(one, keys))}


def _absent(one: Service, keys: KeyStore) -> list[str]:
    names = service_class(one.id).capabilities.keys
    absent = [variable(one.id, name) for name in names if keys.get(one.id, name) is None]
    return absent + ([] if one.base_url else [f"services[{one.id}].baseUrl"])


def _known_minimum(service_id: str) -> Mapping[str, Decimal]:
    known: Mapping[str, Decimal] = service_class(service_id).capabilities.minimum
    return known


def supporting(settings: Settings, from_asset: Asset, to_asset: Asset) -> list[str]:
    """Enabled services that convert a pair."""
    return [one.id for one in settings.enabled_services if service_class(one.id).supports(from_asset, to_asset)]


def addressed(settings: Settings) -> list[str]:
    """Enabled services that this version has and that have an address."""
    return [one.id for one in settings.enabled_services if one.id in REGISTRY and one.base_url]


def build_surveying(settings: Settings, keys: KeyStore) -> Surveying:
    """Every configured service, for asking outside of a conversion."""

    def make(service_id: str) -> ConversionService:
        service = _service(settings, keys, service_id)
        if service is None:
            raise ConfigurationError(f"services: {service_id} lacks a key or its baseUrl")
        return service

    return Surveying([_entry(settings, one, keys) for one in settings.services], make, SystemClock())


def _entry(settings: Settings, one: Service, keys: KeyStore) -> Entry:
    if one.id not in REGISTRY:
        return Entry(_place(settings, one, {}), one.id, one.base_url, one.enabled, known=False)
    kind = service_class(one.id)
    sides = [(gives, gets) for gives in assets() for gets in assets() if gives.coin != gets.coin]
    return Entry(
        place=_place(settings, one, kind.capabilities.minimum),
        title=kind.capabilities.title,
        base_url=one.base_url,
        enabled=one.enabled,
        known=True,
        needs_keys=bool(kind.capabilities.keys),
        missing=tuple(_absent(one, keys)),
        pairs=tuple(pair for pair in sides if kind.supports(*pair)),
    )


def _service(
    settings: Settings, keys: KeyStore, service_id: str, counter: Counter | None = None
) -> ConversionService | None:
    """The service, or None while a key or its address is missing."""
    entry: Service = next(one for one in settings.services if one.id == service_id)
    if _absent(entry, keys):
        return None
    names = _key_names(service_id)
    given = {name: key for name in names if (key := keys.get(service_id, name)) is not None}
    try:
        place = ServiceSettings(entry.base_url, given, entry.options, counter)
        return make_service(service_id, place, SystemClock())
    except ValueError as error:
        raise ConfigurationError(f"services[{service_id}]: {error}") from None


def _wallets(settings: Settings, keys: KeyStore) -> dict[str, Wallet]:
    wallets: dict[str, Wallet] = {}
    for network, given in settings.wallets.items():
        wallet = _wallet(network, given, keys)
        if wallet is not None:
            wallets[network] = wallet
    return wallets


def _wallet(network: str, given: WalletSettings, keys: KeyStore) -> Wallet | None:
    if given.kind == "manual":
        return ManualWallet(network)
    key = keys.get("wallet", network)
    if key is None or not given.rpc_url:
        return None
    if given.kind == "bitcoind":
        return BitcoindWallet(given.rpc_url, key, network, given.confirmations, given.max_fee)
    from converter.wallets.evm import EvmNetwork, EvmWallet  # noqa: PLC0415  eth-account takes half a second to import

    return EvmWallet(given.rpc_url, key, EvmNetwork(network, given.chain_id, given.confirmations, given.tokens))
