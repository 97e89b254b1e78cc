"""Rates over time, failovers, and an operator's word on a held rate, over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response

from converter import charting, failing_over
from converter.api import forms
from converter.api import operator_shapes as shapes
from converter.api.answering import Answering
from converter.api.services import require_redis
from converter.domain.conditions import pair_of
from converter.domain.money import parse_amount
from converter.operating import Operating
from converter.overview import Overview
from converter.ports import ViewedLedger

_DECIMALS = 40
"""A rate between the dearest and the cheapest coin still has figures that count."""


Rate = Annotated[
    str, forms.Form(r"[0-9]{1,20}(\.[0-9]{1,40})?", 'a positive plain decimal as text, such as "0.0607"', "0.0607")
]
Cursor = Annotated[str, forms.Form("[0-9]{1,18}", "`next` of the page before", "4711")]
Pair = Annotated[str, Path(json_schema_extra={"enum": charting.PAIRS}, description="A pair, such as ETH-BTC.")]


class Confirmed(forms.Body):
    """Where the market is: units of the second coin for one of the first. Without it, where the held quotes say."""

    rate: Rate | None = None


_RATE: Any = Body(openapi_examples={"a rate": {"value": {"rate": "0.0607"}}})


def rates_routes(ledger: ViewedLedger, overview: Overview, operating: Operating) -> APIRouter:
    """The routes of rates."""
    router = APIRouter(tags=["rates"])
    answering = Answering()

    @router.get("/rates", operation_id="rates", response_model=shapes.Rates)
    async def rates(
        pair: Annotated[str | None, Query(json_schema_extra={"enum": charting.PAIRS})] = None,
        minutes: Annotated[int, Query(ge=1, le=charting.MINUTES)] = 60,
        limit: Annotated[int, Query(ge=1, le=charting.LIMIT)] = 500,
    ) -> Response:
        """Tell what services offered for a pair, oldest first, and what was excluded and why."""
        asked = partial(charting.rate_history, ledger, pair, minutes, limit)
        return await answering.shared((pair, minutes, limit), asked)

    @router.post("/rates/{pair}/confirm", operation_id="confirmRate", response_model=shapes.Pair)
    async def confirm(pair: Pair, given: Annotated[Confirmed | None, _RATE] = None) -> Response:
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

    @router.get("/failovers", operation_id="failovers", response_model=shapes.Failovers)
    async def failovers(
        limit: Annotated[int, Query(ge=1, le=failing_over.LIMIT)] = 100,
        cursor: Annotated[Cursor | None, Query()] = None,
    ) -> Response:
        """Tell the failovers that were, newest first."""
        return await answering.shared((limit, cursor), partial(failing_over.failovers, ledger, limit, cursor))

    return router
