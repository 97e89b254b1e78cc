"""Outside conversion services: one service, one module, one word. See README.md for adding another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from converter.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from converter.ports import Clock, ConversionService
    from converter.services.callbacks import CallbackReader

REGISTRY = {
    "binance": "converter.services.binance:Binance",
    "btcpay_lightning": "converter.services.btcpay_lightning:BtcPayLightning",
    "changenow": "converter.services.changenow:ChangeNow",
    "coingate": "converter.services.coingate:CoinGate",
    "coinpayments": "converter.services.coinpayments:CoinPayments",
    "kraken": "converter.services.kraken:Kraken",
    "simpleswap": "converter.services.simpleswap:SimpleSwap",
    "thorchain": "converter.services.thorchain:ThorChain",
}
"""Service id -> class, imported when it is first used."""

CALLBACKS = {
    "btcpay_lightning": "converter.services.btcpay_lightning_callbacks:read",
    "coingate": "converter.services.coingate_callbacks:read",
    "coinpayments": "converter.services.coinpayments_callbacks:read",
    "simpleswap": "converter.services.simpleswap_callbacks:read",
}
"""Service id -> reader of its callbacks (`converter/services/callbacks.py`); the others send none."""


def service_class(service_id: str) -> Any:
    """The class of a service. Raises ConfigurationError naming those that exist."""
    if service_id not in REGISTRY:
        raise ConfigurationError(f"services: {service_id!r} is not available; accepted: {', '.join(sorted(REGISTRY))}")
    module, _, name = REGISTRY[service_id].partition(":")
    return getattr(import_module(module), name)


def make_service(service_id: str, settings: Any, clock: Clock) -> ConversionService:
    """A service, ready to use."""
    service: ConversionService = service_class(service_id)(settings, clock)
    return service


def callback_reader(service_id: str) -> CallbackReader:
    """The reader of a service's callbacks. KeyError for a service that sends none."""
    module, _, name = CALLBACKS[service_id].partition(":")
    reader: CallbackReader = getattr(import_module(module), name)
    return reader
