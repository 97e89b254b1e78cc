"""Rates over time, failovers, and an operator's word on a held rate, over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from converter import charting, failing_over
from converter.api.answering import Answering
from converter.api.services import require_redis
from converter.domain.conditions import pair_of
from converter.domain.money import parse_amount
from converter.operating import Operating
from converter.overview import Overview
from converter.ports import ViewedLedger

_DECIMALS = 40
"""A rate between the dearest and the cheapest coin still has figures that count."""


class Confirmed(BaseModel):
    """Where the market is: units of the second coin for one of the first. Without it, where the held quotes say."""

    model_config = ConfigDict(extra="forbid")

    rate: Annotated[str, Field(max_length=100, examples=["0.0607"])] | None = None


def rates_routes(ledger: ViewedLedger, overview: Overview, operating: Operating) -> APIRouter:
    """The routes of rates."""
    router = APIRouter(tags=["rates"])
    answering = Answering()

    @router.get("/rates")
    async def rates(
        pair: Annotated[str | None, Query(max_length=60, examples=["ETH-BTC"])] = None,
        minutes: Annotated[int, Query(ge=1, le=charting.MINUTES)] = 60,
        limit: Annotated[int, Query(ge=1, le=charting.LIMIT)] = 500,
    ) -> Response:
        """Tell what services offered for a pair, oldest first, and what was excluded and why."""
        asked = partial(charting.rate_history, ledger, pair, minutes, limit)
        return await answering.shared((pair, minutes, limit), asked)

    @router.post("/rates/{pair}/confirm")
    async def confirm(pair: str, given: Annotated[Confirmed | None, Body()] = None) -> Response:
        """Confirm where the market of a pair is: ends its hold."""
        return await answering.now(partial(_confirmed, pair, given))

    def _confirmed(pair: str, given: Confirmed | None) -> dict[str, Any]:
        name = pair_of(*charting.sides_of(pair))
        named = None if given is None else given.rate
        rate = None if named is None else parse_amount(named, _DECIMALS, "rate")
        require_redis(overview)
        return charting.pair_facts(name, operating.confirm(name, rate), ledger.now())

    return router


def failovers_routes(ledger: ViewedLedger) -> APIRouter:
    """The routes of failovers."""
    router = APIRouter(tags=["failovers"])
    answering = Answering()

    @router.get("/failovers")
    async def failovers(
        limit: Annotated[int, Query(ge=1, le=failing_over.LIMIT)] = 100,
        cursor: Annotated[str | None, Query(max_length=18, pattern=r"^\d+$")] = None,
    ) -> Response:
        """Tell the failovers that were, newest first."""
        return await answering.shared((limit, cursor), partial(failing_over.failovers, ledger, limit, cursor))

    return router
