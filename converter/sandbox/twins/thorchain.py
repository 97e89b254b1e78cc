"""The THORChain twin: swaps by deposit and memo, as `services/thorchain.md` describes them.

There are no accounts and no orders: all HTTP is reading. The twin watches its vaults on the sandbox's UTXO chains
(memo in OP_RETURN) and on the EVM chain (memo in the calldata of a plain transfer). Facts per part are in the modules
beside this one. Not served: Midgard, the router contract, limit orders, THORNames, savers, RUNE itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.thorchain_network import Network
from converter.sandbox.twins.thorchain_pools import CHAINS, SERVICE_ID, Pools, asset_named
from converter.sandbox.twins.thorchain_quote import FAILED, Quotes, ThorError
from converter.sandbox.twins.thorchain_swaps import DONE, ENDINGS, Swaps
from converter.sandbox.twins.thorchain_views import status_view, tx_view

ERROR_SHAPES = ("grpc", "old")
_SWITCHES = ("global_paused", "frozen", "slow_outbound", "unseen")
_COUNTS = ("outbound_delay_ms", "old_vault_ms", "quote_seconds")
FIELDS = ("halted", "paused", "churn", "ending", "error_shape", *_SWITCHES, *_COUNTS)
_HASH = r"(?P<hash>(0x)?[0-9A-Fa-f]{64})"
"""Only the upper-case one without 0x is anybody's; any other is unknown."""


class ThorChainTwin:
    """A THORNode and the network behind it."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self._world, self._error_shape = world, "grpc"
        self._pools, self._network = Pools(world), Network(world)
        self._quotes = Quotes(world, self._pools, self._network)
        self._swaps = Swaps(world, self._pools, self._network)

    def routes(self) -> list[Route]:
        """Paths of a THORNode; all are GET, and none executes anything."""
        network = self._network
        table: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("ping", "info", lambda _request: {"ping": "pong"}),
            ("version", "info", lambda _request: {"current": "3.19.1", "next": "3.19.1", "querier": "3.19.1"}),
            ("lastblock", "info", lambda _request: network.last_blocks()),
            ("mimir", "info", lambda _request: network.mimir()),
            ("inbound_addresses", "info", lambda _request: network.inbound()),
            ("pools", "info", lambda _request: network.pools(self._pools)),
            (r"pool/(?P<asset>[^/]+)", "info", self._pool),
            ("quote/swap", "quote", self._quotes.answer),
            (f"tx/status/{_HASH}", "status", self._status),
            (f"tx/{_HASH}", "status", self._transaction),
        ]
        return [
            Route("GET", re.compile(f"^/thorchain/{path}$"), operation, self._guard(handle))
            for path, operation, handle in table
        ]

    def refusal(self, operation: str) -> Response:
        """A documented no; for a lookup one that says nothing about the swap."""
        if operation == "quote":
            return self._failure(ThorError("failed to simulate swap: trading is halted, can't process swap", FAILED))
        return self._failure(ThorError("the node is not ready", FAILED))

    def tick(self) -> None:
        """Look for deposits and move swaps along."""
        self._swaps.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """See docs/sandbox.md for the settings."""
        _check(settings)
        network, swaps = self._network, self._swaps
        network.halted = list(settings.get("halted", network.halted))
        network.paused = list(settings.get("paused", network.paused))
        network.global_paused = settings.get("global_paused", network.global_paused)
        network.frozen = settings.get("frozen", network.frozen)
        network.old_vault_ms = settings.get("old_vault_ms", network.old_vault_ms)
        swaps.ending = settings.get("ending", swaps.ending)
        swaps.slow_outbound = settings.get("slow_outbound", swaps.slow_outbound)
        swaps.unseen = settings.get("unseen", swaps.unseen)
        swaps.outbound_delay_ms = settings.get("outbound_delay_ms", swaps.outbound_delay_ms)
        self._quotes.seconds = settings.get("quote_seconds", self._quotes.seconds)
        self._error_shape = settings.get("error_shape", self._error_shape)
        if settings.get("churn"):
            network.churn()

    def describe(self) -> dict[str, Any]:
        """Switches, vaults and swaps on their way."""
        network, swaps = self._network, self._swaps
        return {
            "halted": network.halted,
            "paused": network.paused,
            "global_paused": network.global_paused,
            "frozen": network.frozen,
            "old_vault_ms": network.old_vault_ms,
            "ending": swaps.ending,
            "slow_outbound": swaps.slow_outbound,
            "unseen": swaps.unseen,
            "outbound_delay_ms": swaps.outbound_delay_ms,
            "quote_seconds": self._quotes.seconds,
            "error_shape": self._error_shape,
            "vaults": {chain: network.vault(chain) for chain in CHAINS},
            "swaps": len(swaps.all),
            "open_swaps": [swap.txid for swap in swaps.all.values() if swap.stage != DONE],
        }

    def _pool(self, request: Request) -> Any:
        asset = asset_named(request.params["asset"])
        if asset is None:
            raise ThorError("pool does not exist")
        return next(row for row in self._network.pools(self._pools) if row["asset"] == asset.name)

    def _status(self, request: Request) -> Any:
        swap = self._swaps.all.get(request.params["hash"])
        return status_view(swap, self._network.height, self._world.wrong_amount(SERVICE_ID))

    def _transaction(self, request: Request) -> Any:
        swap = self._swaps.all.get(request.params["hash"])
        if swap is None:
            raise ThorError(f"tx: {request.params['hash']} doesn't exist", (404, 5))
        done = swap.stage == DONE
        return {"observed_tx": {"tx": tx_view(swap), "status": "done" if done else "incomplete"}}

    def _guard(self, handle: Callable[[Request], Any]) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            try:
                return Response(200, handle(request))
            except ThorError as error:
                return self._failure(error)

        return guarded

    def _failure(self, error: ThorError) -> Response:
        if self._error_shape == "old":
            return Response(error.status, {"error": str(error)})
        return Response(error.status, {"code": error.code, "message": str(error), "details": []})


def _check(settings: Mapping[str, Any]) -> None:
    for name, given in settings.items():
        if name not in FIELDS:
            raise ValueError(f"{name}: unknown field; accepted: {', '.join(FIELDS)}")
        if name in ("halted", "paused"):
            if not isinstance(given, list) or not set(given) <= set(CHAINS):
                raise ValueError(f"{name}: {given!r}; accepted: a list of {', '.join(CHAINS)}")
        elif name in ("ending", "error_shape"):
            accepted = ENDINGS if name == "ending" else ERROR_SHAPES
            if given not in accepted:
                raise ValueError(f"{name}: unknown {given!r}; accepted: {', '.join(accepted)}")
        elif name in _COUNTS:
            if type(given) is not int or given < 0:
                raise ValueError(f"{name}: {given!r} is no duration; accepted: a whole number from 0")
        elif type(given) is not bool:
            raise ValueError(f"{name}: {given!r} is no switch; accepted: true or false")
