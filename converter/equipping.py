"""The part of bootstrap that makes services and wallets: settings and keys in, wired adapters out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from converter.domain.coins import Asset
from converter.domain.errors import ConfigurationError
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.ports import ConversionService, Counter, KeyStore, Wallet
from converter.security.keys import variable
from converter.services import REGISTRY, make_service, service_class
from converter.services.base import ServiceSettings
from converter.settings import Service, Settings, WalletSettings
from converter.wallets.bitcoind import BitcoindWallet
from converter.wallets.manual import ManualWallet


class SystemClock:
    """The host's wall clock."""

    def now(self) -> datetime:
        """Aware UTC time."""
        return datetime.now(UTC)


def place_of(settings: Settings, one: Service, minimum: Mapping[str, Decimal]) -> ServicePolicy:
    """Where a service stands in the policy; `minimum` is what its module declares."""
    return ServicePolicy(
        service_id=one.id,
        tier=one.priority,
        weight=one.weight,
        max_failures=one.max_failures or settings.multi_service.max_service_failures,
        recovery_time=one.recovery_time or settings.multi_service.service_recovery_time,
        minimum={**minimum, **one.min_amount},
    )


def service_of(
    settings: Settings, keys: KeyStore, service_id: str, counter: Counter | None = None
) -> ConversionService | None:
    """The service, or None while a key or its address is missing."""
    entry: Service = next(one for one in settings.services if one.id == service_id)
    if absent_keys(entry, keys):
        return None
    names = _key_names(service_id)
    given = {name: key for name in names if (key := keys.get(service_id, name)) is not None}
    try:
        place = ServiceSettings(entry.base_url, given, entry.options, counter)
        return make_service(service_id, place, SystemClock())
    except ValueError as error:
        raise ConfigurationError(f"services[{service_id}]: {error}") from None


def missing_keys(settings: Settings, keys: KeyStore) -> dict[str, list[str]]:
    """Variables of missing keys, by enabled service; a service with one is not asked."""
    return {one.id: absent for one in settings.enabled_services if (absent := absent_keys(one, keys))}


def absent_keys(one: Service, keys: KeyStore) -> list[str]:
    """What one service lacks to be asked: variables of keys, its address."""
    names = service_class(one.id).capabilities.keys
    absent = [variable(one.id, name) for name in names if keys.get(one.id, name) is None]
    return absent + ([] if one.base_url else [f"services[{one.id}].baseUrl"])


def known_minimum(service_id: str) -> Mapping[str, Decimal]:
    """The least amounts, by from_coin, that its module declares."""
    known: Mapping[str, Decimal] = service_class(service_id).capabilities.minimum
    return known


def supporting(settings: Settings, from_asset: Asset, to_asset: Asset) -> list[str]:
    """Enabled services that convert a pair."""
    return [one.id for one in settings.enabled_services if service_class(one.id).supports(from_asset, to_asset)]


def minimums(settings: Settings, policy: RoutingPolicy) -> Callable[[Asset, Asset], dict[str, Decimal | None]]:
    """Who of a policy converts a pair, and from which amount of the from_coin on."""

    def of(from_asset: Asset, to_asset: Asset) -> dict[str, Decimal | None]:
        converting = supporting(settings, from_asset, to_asset)
        places = [place for place in policy.services if place.service_id in converting]
        return {place.service_id: place.minimum.get(from_asset.coin) for place in places}

    return of


def addressed(settings: Settings) -> list[str]:
    """Enabled services that this version has and that have an address."""
    return [one.id for one in settings.enabled_services if one.id in REGISTRY and one.base_url]


_OF_RECEIVERS = ("secret", "previous_secret", "url", "password")


def secret_values(settings: Settings, keys: KeyStore) -> tuple[str, ...]:
    """Values of all keys that are there."""
    names = [(one.id, name) for one in settings.services if one.id in REGISTRY for name in _key_names(one.id)]
    names += [("wallet", network) for network in settings.wallets]
    names += [(f"webhook_{one.id}", name) for one in settings.webhooks for name in _OF_RECEIVERS]
    names += [(f"alert_{one.id}", name) for one in settings.alerts.sinks for name in _OF_RECEIVERS]
    return tuple(key for service_id, name in names if (key := keys.get(service_id, name)) is not None)


def _key_names(service_id: str) -> tuple[str, ...]:
    known = service_class(service_id).capabilities
    return (*known.keys, *known.optional_keys)


def make_wallets(settings: Settings, keys: KeyStore) -> dict[str, Wallet]:
    """The wallets that have what they need, by network."""
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
