"""What the control interface can set at the CoinGate twin.

`balances` {symbol: amount}; `ending` of send requests (`in_progress` holds them); `draft_seconds`; `fees_inside` (fees
come out of the balance debit instead of on top); `requires_2fa`; `credit_back` (whether what failed comes back);
`callback_format` (`json` or `form`); `callback_numbers` (amounts of callbacks as JSON numbers); `rates_as_text` (the
rate of a single pair as bare text). The other switches of the sheet are faults of the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from converter.sandbox.twins.coingate_assets import COINS
from converter.sandbox.twins.coingate_sends import ENDINGS

if TYPE_CHECKING:
    from converter.sandbox.twins.coingate import CoinGateTwin

_SYMBOLS = [coin.symbol for coin in COINS]
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "ending": ENDINGS,
    "fees_inside": (True, False),
    "requires_2fa": (True, False),
    "credit_back": (True, False),
    "callback_format": ("json", "form"),
    "callback_numbers": (True, False),
    "rates_as_text": (True, False),
}
_FIELDS = (*_CHOICES, "balances", "draft_seconds")


def apply_settings(twin: CoinGateTwin, settings: Mapping[str, Any]) -> None:
    """Set what is given; ValueError names the bad field, and nothing has changed then."""
    _check(settings)
    sends, balances = twin.sends, settings.get("balances", {})
    for account in twin.ledger:
        account.balance = Decimal(balances.get(account.currency.symbol, account.balance))
    sends.ending = settings.get("ending", sends.ending)
    sends.draft_seconds = settings.get("draft_seconds", sends.draft_seconds)
    sends.fees_inside = settings.get("fees_inside", sends.fees_inside)
    sends.requires_2fa = settings.get("requires_2fa", sends.requires_2fa)
    sends.credit_back = settings.get("credit_back", sends.credit_back)
    twin.callback_format = settings.get("callback_format", twin.callback_format)
    twin.callback_numbers = settings.get("callback_numbers", twin.callback_numbers)
    twin.public.rates_as_text = settings.get("rates_as_text", twin.public.rates_as_text)


def _check(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _FIELDS:
            raise ValueError(f"{name}: unknown field; accepted: {', '.join(_FIELDS)}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name}: {value!r}; accepted: {', '.join(map(str, _CHOICES[name]))}")
    seconds = settings.get("draft_seconds", 0)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        raise ValueError("draft_seconds: accepted: whole seconds from 0")
    balances = settings.get("balances", {})
    if not isinstance(balances, Mapping):
        raise ValueError("balances: not an object; accepted: an object of amounts")  # noqa: TRY004 - answered with 400
    for symbol, amount in balances.items():
        if symbol not in _SYMBOLS:
            raise ValueError(f"balances.{symbol}: unknown coin; accepted: {', '.join(_SYMBOLS)}")
        if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
            raise ValueError(f"balances.{symbol}: {amount!r} is no amount; accepted: a decimal string")
