"""What the control interface can set at the SimpleSwap twin.

`ending` of exchanges; `final_factor`, by which a payout differs from what was promised, against a fixed rate too;
`minimum` {coin: amount}; `minimum_factor`, how far the real minimum lies above the published one; `fixed_available`;
`refuses_extra_id`; `tells_refund`; `id_field` (`id` or `publicId`); `wrapped`; `callback_url` (or null);
`signature_field`, the name of a webhook's signature; `deposits` {exchange id: amount}. The other switches of the sheet
are faults of the sandbox: an answer after the client's timeout (`timeout_after_execute`) and an HTML page (`rubbish`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from converter.sandbox.twins.simpleswap_assets import ApiError, amount_of
from converter.sandbox.twins.simpleswap_orders import ENDINGS

if TYPE_CHECKING:
    from converter.sandbox.twins.simpleswap import SimpleSwapTwin

_UNIT = Decimal("1e-18")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "ending": ENDINGS,
    "fixed_available": (True, False),
    "refuses_extra_id": (True, False),
    "tells_refund": (True, False),
    "id_field": ("id", "publicId"),
    "wrapped": (True, False),
}
_FACTORS = ("final_factor", "minimum_factor")
_AMOUNTS = ("minimum", "deposits")
_FIELDS = (*_CHOICES, *_FACTORS, *_AMOUNTS, "callback_url", "signature_field")


def apply_settings(twin: SimpleSwapTwin, settings: Mapping[str, Any]) -> None:
    """Set what is given; ValueError names the bad field, and nothing has changed then."""
    for name, value in settings.items():
        if name not in _FIELDS:
            raise ValueError(f"{name}: unknown field; accepted: {', '.join(_FIELDS)}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name}: {value!r}; accepted: {', '.join(map(str, _CHOICES[name]))}")
    url = settings.get("callback_url", twin.callback_url)
    if url is not None and (not isinstance(url, str) or not url.startswith("http")):
        raise ValueError("callback_url: accepted: an http address or null")
    signature_field = settings.get("signature_field", twin.signature_field)
    if not isinstance(signature_field, str) or not signature_field.isidentifier():
        raise ValueError("signature_field: accepted: the name of a field")
    factors = {name: _amount(name, settings[name]) for name in _FACTORS if name in settings}
    minimums, deposits = (_amounts(name, settings.get(name, {})) for name in _AMOUNTS)
    known = {order.order_id: order for order in twin.orders}
    if strange := deposits.keys() - known.keys():
        raise ValueError(f"deposits: no exchange {min(strange)}")
    twin.callback_url, twin.signature_field = url, signature_field
    twin.id_field = settings.get("id_field", twin.id_field)
    twin.wrapped = settings.get("wrapped", twin.wrapped)
    twin.orders.ending = settings.get("ending", twin.orders.ending)
    twin.orders.tells_refund = settings.get("tells_refund", twin.orders.tells_refund)
    twin.orders.final_factor = factors.get("final_factor", twin.orders.final_factor)
    twin.prices.minimum_factor = factors.get("minimum_factor", twin.prices.minimum_factor)
    twin.prices.minimums.update({coin.upper(): amount for coin, amount in minimums.items()})
    twin.offers.fixed_available = settings.get("fixed_available", twin.offers.fixed_available)
    twin.offers.refuses_extra_id = settings.get("refuses_extra_id", twin.offers.refuses_extra_id)
    for order_id, amount in deposits.items():
        twin.orders.deposit(known[order_id], f"{twin.orders.digest():064x}", amount)


def _amounts(name: str, given: Any) -> dict[str, Decimal]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: not an object; accepted: an object of amounts")  # noqa: TRY004 - answered with 400
    return {str(key): _amount(f"{name}.{key}", value) for key, value in given.items()}


def _amount(name: str, value: Any) -> Decimal:
    try:
        amount = amount_of(value, _UNIT)
    except ApiError:
        amount = Decimal(0)
    if amount <= 0 or not isinstance(value, str):
        raise ValueError(f"{name}: {value!r} is no amount; accepted: a decimal string above 0")
    return Decimal(value)
