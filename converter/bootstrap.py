"""The only place that names implementations: settings in, wired use-cases out."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property

from converter.desk import Desk, Timing
from converter.domain.coins import Asset
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.execution import Execution
from converter.guard import GuardedService
from converter.ledger.repository import SqlLedger, open_ledger
from converter.planning import Planning
from converter.ports import Clock, ConversionService, KeyStore, Wallet
from converter.quoting import Quoting
from converter.reconciliation import Reconciliation
from converter.security.keys import EnvironmentKeys, variable
from converter.selecting import Selecting
from converter.sending import Sending
from converter.services import make_service, service_class
from converter.services.base import ServiceSettings
from converter.settings import Service, Settings, WalletSettings, environment, load_settings
from converter.settlement import Settlement
from converter.sweeping import Sweeping
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

    @cached_property
    def planning(self) -> Planning:
        """Which services to ask."""
        return Planning(self.desk)

    @cached_property
    def quoting(self) -> Quoting:
        """Ask one service."""
        return Quoting(self.desk)

    @cached_property
    def selecting(self) -> Selecting:
        """Quotes -> the chosen one."""
        return Selecting(self.desk)

    @cached_property
    def sweeping(self) -> Sweeping:
        """What stands still."""
        return Sweeping(self.desk)

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
        services=tuple(
            ServicePolicy(
                service_id=one.id,
                tier=one.priority,
                weight=one.weight,
                max_failures=one.max_failures or given.max_service_failures,
                recovery_time=one.recovery_time or given.service_recovery_time,
                minimum={**_known_minimum(one.id), **one.min_amount},
            )
            for one in settings.enabled_services
        ),
        parallel_queries=given.parallel_queries,
        max_parallel_requests=given.max_parallel_requests,
        request_timeout=given.request_timeout,
        load_balancing=given.load_balancing,
        auto_failover=given.auto_failover,
        always_use_best_rate=given.always_use_best_rate,
        max_rate_difference=given.max_rate_difference,
    )


def build_engine(settings: Settings | None = None, keys: KeyStore | None = None) -> Engine:
    """Wire everything for a process that works on conversions. Raises ConfigurationError."""
    settings = settings or load_settings()
    keys = keys or EnvironmentKeys(environment())
    policy = routing_policy(settings)
    ledger = open_ledger(settings.ledger)
    services = {
        one.service_id: GuardedService(service, one.max_failures, one.recovery_time)
        for one in policy.services
        if (service := _service(settings, keys, one.service_id, SystemClock())) is not None
    }
    engine = settings.engine
    timing = replace(
        Timing(), lease=engine.lease, quoting=engine.quoting, poll=engine.poll, poll_limit=engine.poll_limit
    )
    owner = f"{socket.gethostname()}:{os.getpid()}:{threading.get_native_id()}"
    desk = Desk(ledger, services, _wallets(settings, keys), policy, owner, timing)
    return Engine(settings, desk, ledger)


def missing_keys(settings: Settings, keys: KeyStore) -> dict[str, list[str]]:
    """Variables of missing keys, by enabled service; a service with one is not asked."""
    missing: dict[str, list[str]] = {}
    for one in settings.enabled_services:
        names = service_class(one.id).capabilities.keys
        absent = [variable(one.id, name) for name in names if keys.get(one.id, name) is None]
        if absent or not one.base_url:
            missing[one.id] = absent + ([] if one.base_url else [f"services[{one.id}].baseUrl"])
    return missing


def _known_minimum(service_id: str) -> Mapping[str, Decimal]:
    known: Mapping[str, Decimal] = service_class(service_id).capabilities.minimum
    return known


def supporting(settings: Settings, from_asset: Asset, to_asset: Asset) -> list[str]:
    """Enabled services that convert a pair."""
    return [one.id for one in settings.enabled_services if service_class(one.id).supports(from_asset, to_asset)]


def _service(settings: Settings, keys: KeyStore, service_id: str, clock: Clock) -> ConversionService | None:
    """The service, or None while a key or its address is missing."""
    entry: Service = next(one for one in settings.services if one.id == service_id)
    if service_id in missing_keys(settings, keys):
        return None
    known = service_class(service_id).capabilities
    names = (*known.keys, *known.optional_keys)
    given = {name: key for name in names if (key := keys.get(service_id, name)) is not None}
    return make_service(service_id, ServiceSettings(entry.base_url, given, entry.options), clock)


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
    from converter.wallets.evm import EvmWallet  # noqa: PLC0415  eth-account takes half a second to import

    return EvmWallet(given.rpc_url, key, given.chain_id, given.confirmations)
