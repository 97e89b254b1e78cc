"""A request at the door: every field is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from converter.domain.addresses import check_address
from converter.domain.coins import asset
from converter.domain.conversions import ConversionRequest, check_idempotency_key
from converter.domain.errors import InvalidRequest
from converter.domain.money import parse_amount, plain

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def read_request(fields: Mapping[str, object]) -> ConversionRequest:
    """Read `from_coin`, `to_coin`, `amount`, `address` and optionally `from_network`, `to_network`, `idempotency_key`.

    Raises InvalidRequest that names the field, its problem and the accepted form.
    """
    from_asset = asset(fields.get("from_coin"), fields.get("from_network"), "from_coin")
    to_asset = asset(fields.get("to_coin"), fields.get("to_network"), "to_coin")
    if from_asset.coin == to_asset.coin:
        raise InvalidRequest("to_coin", f"is the from_coin, {from_asset.coin}", "two different coins")
    return ConversionRequest(
        from_asset=from_asset,
        to_asset=to_asset,
        amount=parse_amount(fields.get("amount"), from_asset.decimals),
        address=check_address(to_asset, fields.get("address")),
        idempotency_key=check_idempotency_key(fields.get("idempotency_key")),
    )


def check_services(request: ConversionRequest, minimums: Mapping[str, Decimal | None]) -> None:
    """Refuse a pair that no service converts, and an amount below every service's minimum.

    `minimums`: floor per service that converts the pair, None where it declares none.
    """
    if not minimums:
        raise InvalidRequest(
            "to_coin", f"no enabled service converts {request.from_asset} to {request.to_asset}", "another pair"
        )
    floors = [floor for floor in minimums.values() if floor is not None]
    if len(floors) == len(minimums) and request.amount < min(floors):
        raise InvalidRequest(
            "amount",
            f"{plain(request.amount)} is below every service's minimum",
            f"at least {plain(min(floors))} {request.from_asset.coin}",
        )


def conversion_id(milliseconds: int, chance: bytes) -> str:
    """A new id: `cv_` and 26 characters that sort by time (48 bits of time, 80 bits of `chance`)."""
    number = milliseconds << 80 | int.from_bytes(chance[:10], "big")
    return "cv_" + "".join(_CROCKFORD[number >> 5 * (25 - index) & 31] for index in range(26))
