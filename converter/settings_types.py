"""Kinds of settings: a section, durations in whole milliseconds, caps by coin and by pair."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from converter.domain.coins import assets, coins
from converter.domain.conditions import pair_of


class Section(BaseModel):
    """A part of the configuration, in either spelling; an unknown key is an error."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )


def _from_milliseconds(value: Any) -> Any:
    if isinstance(value, timedelta) and value > timedelta(0):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError("a positive whole number of milliseconds is accepted, such as 5000")
    return timedelta(milliseconds=value)


Milliseconds = Annotated[timedelta, BeforeValidator(_from_milliseconds)]


def _from_milliseconds_or_none(value: Any) -> Any:
    return timedelta(0) if value in (0, "0", timedelta(0)) and value is not False else _from_milliseconds(value)


MillisecondsOrNone = Annotated[timedelta, BeforeValidator(_from_milliseconds_or_none)]


def _known_coins(caps: dict[str, Decimal]) -> dict[str, Decimal]:
    """Caps by coin. A coin that does not exist would be a cap that never holds."""
    for coin in caps:
        if coin not in coins():
            raise ValueError(f"{coin!r} is no coin; accepted: one of {', '.join(coins())}")
    return caps


def _known_pairs(caps: dict[str, Decimal]) -> dict[str, Decimal]:
    known = {pair_of(gives, gets) for gives in assets() for gets in assets() if gives.coin != gets.coin}
    for pair in caps:
        if pair not in known:
            raise ValueError(f"{pair!r} is no pair; accepted: such as ETH-BTC, USDT.TRX-BTC or ETH-BTC.LIGHTNING")
    return caps


Positive = Annotated[Decimal, Field(gt=0)]
CapsByCoin = Annotated[dict[str, Positive], AfterValidator(_known_coins)]
CapsByPair = Annotated[dict[str, Positive], AfterValidator(_known_pairs)]
