"""Conversions over HTTP: take one in, show one, list them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from converter.accepting import Accepted, Accepting
from converter.api import forms, shapes
from converter.api.backlog import Backlog
from converter.api.forms import ConversionId
from converter.api.idempotency import REPLAYED, IdempotencyKey, InHand
from converter.api.lanes import Lane
from converter.api.problems import Problem
from converter.domain.conversions import Sought, State
from converter.facts import conversion_facts
from converter.ports import ViewedLedger

PLACE = "/api/v1/conversions"
WRITING, READING = 4, 4
"""How many take in, and how many read, at the same time."""

_FULL_FOR = "5"


class NewConversion(forms.Body):
    """What to convert. Networks are the coins' own unless they are named."""

    from_coin: forms.Coin
    to_coin: forms.ToCoin
    amount: forms.Amount
    address: forms.Address
    from_network: forms.Network | None = None
    to_network: forms.ToNetwork | None = None


class Search(forms.Body):
    """Conditions of a list; all of them hold for what is listed."""

    state: list[State] = Field(default_factory=list)
    service: forms.Service | None = None
    from_coin: forms.Coin | None = None
    to_coin: forms.ToCoin | None = None
    address: forms.Address | None = None
    id: forms.IdPrefix | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: forms.Cursor | None = None


_EXAMPLES: Any = {
    "ETH to BTC": {
        "value": {
            "fromCoin": "ETH",
            "toCoin": "BTC",
            "amount": "1.5",
            "address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
        }
    }
}
_REPLAY: Any = {
    "model": shapes.Conversion,
    "description": "The key was known: the conversion as it is now. Nothing was written.",
    "headers": {REPLAYED: {"schema": {"type": "string", "enum": ["true"]}, "required": True}},
}
_LOCATION: Any = {"headers": {"Location": {"schema": {"type": "string"}, "required": True}}}


def conversion_routes(ledger: ViewedLedger, accepting: Accepting, max_queued: int) -> APIRouter:
    """The routes of conversions, but those that change one."""
    router = APIRouter(prefix=PLACE, tags=["conversions"])
    taking = Taking(accepting, Backlog(ledger, max_queued))
    writing, reading, in_hand = Lane(WRITING), Lane(READING), InHand()

    @router.post(
        "",
        status_code=201,
        operation_id="convert",
        response_model=shapes.Conversion,
        responses={200: _REPLAY, 201: _LOCATION},
    )
    async def convert(body: Annotated[NewConversion, Body(openapi_examples=_EXAMPLES)], key: IdempotencyKey) -> Any:
        """Convert an amount, delivered to an address. Moves money, once for each key, however often it is asked for.

        The conversion is in the ledger when this answers, and will be made whether or not a worker is there now.
        """
        with in_hand.only(key):
            accepted = await writing.run(partial(taking.take, body, key))
        return _answer(accepted)

    @router.get("", operation_id="listConversions", response_model=shapes.ConversionPage)
    async def listed(search: Annotated[Search, Query()]) -> JSONResponse:
        """List conversions, newest first; `next` goes on behind the last one, whatever is new meanwhile."""
        return JSONResponse(await reading.run(partial(_page, ledger, search)))

    @router.get("/{conversion_id}", operation_id="getConversion", response_model=shapes.Conversion)
    async def shown(conversion_id: ConversionId) -> JSONResponse:
        """Show one conversion."""
        return JSONResponse(await reading.run(partial(read_conversion, ledger, conversion_id)))

    return router


class Taking:
    """Takes conversions in while not too many wait; one that is known is answered in any case."""

    def __init__(self, accepting: Accepting, backlog: Backlog) -> None:
        self._accepting = accepting
        self._backlog = backlog

    def take(self, body: NewConversion, key: str) -> Accepted:
        """Raises InvalidRequest, and Problem (503) when too many wait."""
        fields = {**body.model_dump(), "idempotency_key": key}
        if self._backlog.is_full():
            known = self._accepting.known(fields)
            if known is None:
                detail = "too many conversions wait to be begun; nothing was promised"
                raise Problem(503, "QueueFull", detail, {"Retry-After": _FULL_FOR})
            return known
        accepted = self._accepting.accept(fields)
        if accepted.created:
            self._backlog.note_accepted()
        return accepted


def read_conversion(ledger: ViewedLedger, conversion_id: str) -> dict[str, Any]:
    """The facts of one. Raises ConversionNotFound."""
    with ledger.view() as work:
        return conversion_facts(work.conversions.get(conversion_id))


def _answer(accepted: Accepted) -> Response:
    place = {"Location": f"{PLACE}/{accepted.conversion.id}"}
    facts = conversion_facts(accepted.conversion)
    if accepted.created:
        return JSONResponse(facts, 201, place)
    return JSONResponse(facts, 200, {**place, REPLAYED: "true"})


def _page(ledger: ViewedLedger, search: Search) -> dict[str, Any]:
    sought = Sought(
        service_id=search.service or "",
        from_coin=search.from_coin or "",
        to_coin=search.to_coin or "",
        address=search.address or "",
        id_prefix=search.id or "",
    )
    with ledger.view() as work:
        found = work.conversions.page(states=search.state, limit=search.limit + 1, before=search.cursor, sought=sought)
    page = found[: search.limit]
    following = page[-1].id if len(found) > search.limit else None
    return {"conversions": [conversion_facts(one) for one in page], "next": following}
