"""What the control interface can set at the CoinPayments twin.

`balances` {symbol: amount} (all wallets of that symbol); `locked`, a list of symbols whose wallets are locked;
`minimum` {symbol: amount}; `ending` of transactions; `preview_seconds`; `floating` (a confirmation takes the price of
its moment); `final_factor`, by which a payout differs from its preview; `exponent_numbers` (version 1 writes 5E-1);
`amount_unit` of transactions (`decimal` or `smallest`); `no_match`, the answer when no transaction is found (`404` or
`empty`); `callback_url`; `public_url`, the address that clients sign instead of the one they call, without the API's
path. The other switches of the sheet are faults of the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from converter.sandbox.twins.coinpayments_assets import CURRENCIES
from converter.sandbox.twins.coinpayments_spends import ENDINGS

if TYPE_CHECKING:
    from converter.sandbox.twins.coinpayments import CoinPaymentsTwin

SYMBOLS = sorted({currency.symbol for currency in CURRENCIES})
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "ending": ENDINGS,
    "floating": (True, False),
    "exponent_numbers": (True, False),
    "amount_unit": ("decimal", "smallest"),
    "no_match": ("404", "empty"),
}
_AMOUNTS = ("balances", "minimum")
_URLS = ("callback_url", "public_url")
_FIELDS = (*_CHOICES, *_AMOUNTS, *_URLS, "locked", "preview_seconds", "final_factor")


def apply_settings(twin: CoinPaymentsTwin, settings: Mapping[str, Any]) -> None:
    """Set what is given; ValueError names the bad field, and nothing has changed then."""
    _check(settings)
    balances, minimums = (
        {symbol: Decimal(amount) for symbol, amount in settings.get(name, {}).items()} for name in _AMOUNTS
    )
    locked = settings.get("locked")
    for wallet in twin.wallets:
        symbol = wallet.currency.symbol
        wallet.balance = balances.get(symbol, wallet.balance)
        wallet.locked = wallet.locked if locked is None else symbol in locked
    twin.prices.minimums.update(minimums)
    twin.spends.ending = settings.get("ending", twin.spends.ending)
    twin.spends.floating = settings.get("floating", twin.spends.floating)
    twin.spends.preview_seconds = settings.get("preview_seconds", twin.spends.preview_seconds)
    twin.spends.final_factor = Decimal(settings.get("final_factor", twin.spends.final_factor))
    twin.exponent_numbers = settings.get("exponent_numbers", twin.exponent_numbers)
    twin.amount_unit = settings.get("amount_unit", twin.amount_unit)
    twin.no_match = settings.get("no_match", twin.no_match)
    twin.callback_url = settings.get("callback_url", twin.callback_url)
    twin.public_url = settings.get("public_url", twin.public_url)


def _check(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _FIELDS:
            raise ValueError(f"{name}: unknown field; accepted: {', '.join(_FIELDS)}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name}: {value!r}; accepted: {', '.join(map(str, _CHOICES[name]))}")
        if name in _AMOUNTS:
            _check_amounts(name, value)
        if name in _URLS and value is not None and (not isinstance(value, str) or not value.startswith("http")):
            raise ValueError(f"{name}: accepted: an http address or null")
    locked = settings.get("locked", [])
    if not isinstance(locked, list) or any(symbol not in SYMBOLS for symbol in locked):
        raise ValueError(f"locked: accepted: a list of {', '.join(SYMBOLS)}")
    seconds = settings.get("preview_seconds", 1)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        raise ValueError("preview_seconds: accepted: whole seconds from 0")
    factor = settings.get("final_factor", "1")
    if not isinstance(factor, str) or not _AMOUNT.fullmatch(factor) or not Decimal(factor):
        raise ValueError("final_factor: accepted: a decimal string above 0")


def _check_amounts(name: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: not an object; accepted: an object of amounts")  # noqa: TRY004 - answered with 400
    for symbol, amount in given.items():
        if symbol not in SYMBOLS:
            raise ValueError(f"{name}.{symbol}: unknown coin; accepted: {', '.join(SYMBOLS)}")
        if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
            raise ValueError(f"{name}.{symbol}: {amount!r} is no amount; accepted: a decimal string")
