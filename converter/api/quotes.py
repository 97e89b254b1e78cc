"""`POST /quotes`: what the services would give now, side by side. Creates and stores nothing, moves nothing."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse

from converter.api import forms, shapes
from converter.api.lanes import Lane
from converter.domain.coins import asset
from converter.domain.errors import InvalidRequest
from converter.domain.money import parse_amount, plain
from converter.domain.quotes import QuoteRequest
from converter.surveying import Declined, Offered, Surveying

AT_ONCE = 3
ASKED_FOR = 4.5
TURN_WITHIN = 1.0
"""Seconds: waiting for a turn, and then for the services. Together below the 6 s in which the answer is there."""


class Wanted(forms.Body):
    """What to price. Networks are the coins' own unless they are named."""

    from_coin: forms.Coin
    to_coin: forms.ToCoin
    amount: forms.Amount
    from_network: forms.Network | None = None
    to_network: forms.ToNetwork | None = None

    def request(self) -> QuoteRequest:
        """Raises InvalidRequest."""
        from_asset = asset(self.from_coin, self.from_network, "from_coin")
        to_asset = asset(self.to_coin, self.to_network, "to_coin")
        if from_asset.coin == to_asset.coin:
            raise InvalidRequest("to_coin", f"is the from_coin, {from_asset.coin}", "two different coins")
        return QuoteRequest(from_asset, to_asset, parse_amount(self.amount, from_asset.decimals))


_EXAMPLES: Any = {"ETH to BTC": {"value": {"fromCoin": "ETH", "toCoin": "BTC", "amount": "1.5"}}}


def quote_routes(surveying: Surveying) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/api/v1", tags=["quotes"])
    lane = Lane(AT_ONCE, TURN_WITHIN)

    @router.post("/quotes", operation_id="compareQuotes", response_model=shapes.Quotes)
    async def compare(body: Annotated[Wanted, Body(openapi_examples=_EXAMPLES)]) -> Any:
        """Ask every enabled service for its offer, and compare. Keeps to breakers and limits, and executes nothing."""
        return JSONResponse(await lane.run(partial(_compared, surveying, body.request())))

    return router


def _compared(surveying: Surveying, request: QuoteRequest) -> dict[str, Any]:
    asked = [one.service_id for one in surveying.entries if one.enabled]
    offered, declined = surveying.quotes(request, asked, ASKED_FOR)
    best = offered[0].entry.service_id if offered else None
    return {
        "fromCoin": request.from_asset.coin,
        "fromNetwork": request.from_asset.network,
        "toCoin": request.to_asset.coin,
        "toNetwork": request.to_asset.network,
        "amount": plain(request.amount),
        "quotes": [
            *(_offer(one, best=one.entry.service_id == best) for one in offered),
            *(_refusal(one) for one in declined),
        ],
    }


def _offer(offered: Offered, *, best: bool) -> dict[str, Any]:
    quote = offered.quote
    return {
        "service": offered.entry.service_id,
        "tier": offered.entry.place.tier,
        "net": plain(quote.net),
        "gross": plain(quote.gross),
        "fees": [{"kind": fee.kind, "amount": plain(fee.amount)} for fee in quote.fees],
        "rate": plain(offered.rate),
        "firm": quote.firm,
        "expiresIn": offered.expires_in,
        "ms": offered.ms,
        "error": None,
        "best": best,
    }


def _refusal(declined: Declined) -> dict[str, Any]:
    unknown = dict.fromkeys(("net", "gross", "rate", "firm", "expiresIn"))
    place = {"service": declined.entry.service_id, "tier": declined.entry.place.tier}
    return {**place, **unknown, "fees": [], "ms": declined.ms, "error": declined.reason, "best": False}
