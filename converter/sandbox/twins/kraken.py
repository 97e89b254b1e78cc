"""The Kraken twin: spot trading and withdrawals to saved addresses, as `services/kraken.md` describes them.

Facts per part are in the modules beside this one: `kraken_auth` (requests, signatures, nonces, limits), `kraken_assets`
(names, pairs, prices), `kraken_public`, `kraken_orders` and `kraken_desk` (orders), `kraken_funding` (withdrawals).
Every refusal is HTTP 200 with its texts in `error`. Not served: the beta funding API, amending, batches, margin, OTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from converter.sandbox.credentials import KRAKEN_API_KEY, KRAKEN_PRIVATE_KEY
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.kraken_assets import SERVICE_ID, Book, pair_named
from converter.sandbox.twins.kraken_auth import Endpoint, Gate, KrakenError, Params
from converter.sandbox.twins.kraken_desk import TradingDesk
from converter.sandbox.twins.kraken_funding import Funding
from converter.sandbox.twins.kraken_public import Notice
from converter.sandbox.twins.kraken_settings import Puzzle, apply_settings
from converter.sandbox.twins.kraken_trades import TradeLists

_REFUSALS = {
    "order": "EOrder:Insufficient funds",
    "withdraw": "EFunding:No funding method",
    "cancel": "EOrder:Unknown order",
    "quote": "EQuery:Unknown asset pair",
}


class KrakenTwin:
    """Kraken's spot exchange over the sandbox's world."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self.gate = Gate(world, KRAKEN_API_KEY, KRAKEN_PRIVATE_KEY)
        book = Book(world)
        self.desk = TradingDesk(world, self.gate, book)
        self.notice = Notice(world, book, self.desk)
        self.funding = Funding(world, self.desk)
        self.puzzles: list[Puzzle] = []

    def routes(self) -> list[Route]:
        """Every path of `/0/public` and `/0/private` that the twin serves."""
        trades = TradeLists(self.desk.orders)
        parts = (self.notice, self.desk, trades, self.funding)
        return [
            Route(
                "POST" if endpoint.private else "GET",
                re.compile(f"^{re.escape(endpoint.path)}$"),
                endpoint.operation,
                self._guard(endpoint),
                endpoint.executes,
            )
            for part in parts
            for endpoint in part.endpoints()
        ]

    def refusal(self, operation: str) -> Response:
        """A documented no; for a lookup one that says nothing about the order."""
        return _failure(_REFUSALS.get(operation, "EGeneral:Permission denied"))

    def tick(self) -> None:
        """Move the withdrawals along; orders are done when they are answered."""
        self.funding.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """See docs/sandbox.md for the settings."""
        apply_settings(self, settings)

    def describe(self) -> dict[str, Any]:
        """Settings, balances, saved addresses, open orders and withdrawals."""
        switches, one = self.desk.switches, Decimal(1)
        return {
            "balances": {name: f"{amount:f}" for name, amount in self.desk.balances.items()},
            "withdraw_keys": {
                saved.name: {
                    "asset": saved.method.asset_id,
                    "method": saved.method.name,
                    "address": saved.address,
                    "verified": saved.verified,
                }
                for saved in self.funding.keys.values()
            },
            "withdraw_ending": self.funding.ending,
            "hide_withdrawals": self.funding.hidden_lookups,
            "hide_lookups": switches.hide_lookups,
            "pending_lookups": switches.pending_lookups,
            "engine_refuses": switches.engine_refuses,
            "surface_after_ms": switches.surface_after_ms,
            "fill_share": f"{switches.fill_share:f}",
            "fee": f"{switches.fee:f}",
            "status": self.notice.status,
            "pair_status": self.notice.pair_statuses,
            "nonce_window": self.gate.nonce_window,
            "tier": self.gate.tier,
            "ambiguous": [puzzle.describe() for puzzle in self.puzzles],
            "last_nonce": self.gate.last_nonce,
            "orders": len(self.desk.orders),
            "open_orders": [
                order.view(one, trades=True) for order in self.desk.orders.values() if order.status == "open"
            ],
            "open_withdrawals": self.funding.open_rows(),
        }

    def _guard(self, endpoint: Endpoint) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            try:
                params = Params.of(request)
                if endpoint.private:
                    self.gate.admit(endpoint, request, params)
                if endpoint.operation == "order":
                    self.notice.check_open(pair_named(params.need("pair")), params.need("ordertype"))
                return self._act(endpoint, params)
            except KrakenError as error:
                return _failure(str(error))

        return guarded

    def _act(self, endpoint: Endpoint, params: Params) -> Response:
        """Let the endpoint act, unless a puzzle is set: then its error hides whether it did."""
        puzzle = next((item for item in self.puzzles if item.operation == endpoint.operation), None)
        if puzzle is None:
            return Response(200, {"error": [], "result": endpoint.handle(params)})
        puzzle.count -= 1
        self.puzzles = [item for item in self.puzzles if item.count > 0]
        if puzzle.executed:
            endpoint.handle(params)
        return _failure(puzzle.error)


def _failure(text: str) -> Response:
    return Response(200, {"error": [text]})
