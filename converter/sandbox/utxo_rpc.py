"""A node's JSON-RPC below `/btc`, `/ltc`, `/doge`, `/bch`, `/rvn`: HTTP, envelope, and the switches of the sandbox.

Source: `research/exchange_libs_wallets.md` B1. Every answer has `result`, `error` and `id`. HTTP 401 without the right
basic authentication, 500 beside an error, 404 for an unknown method, 400 for what is no call, 503 for a full queue.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from inspect import signature
from typing import Any

from converter.sandbox.control import check_switches
from converter.sandbox.credentials import BITCOIND_PASSWORD, BITCOIND_USER
from converter.sandbox.jsonrpc import INVALID_REQUEST, NO_METHOD, PARSE_ERROR, RpcError, calls_in, methods_in
from converter.sandbox.twin import Request, Response, Route
from converter.sandbox.utxo_chain import REJECTS, Rejected, UtxoChain
from converter.sandbox.utxo_chains import UtxoChains
from converter.sandbox.utxo_node import NodeMethods
from converter.sandbox.utxo_purse import WALLET, PurseMethods
from converter.sandbox.utxo_wallet import Unfunded, Wallet

MISC, WARMING_UP = -1, -28
STATUS_METHODS = {
    "getblockcount", "getbestblockhash", "getrawtransaction", "gettransaction", "listtransactions", "gettxout",
    "getmempoolentry", "getrawmempool", "getblock", "getblockhash",
}  # fmt: skip
FIELDS = ("already_known", "reject", "queue_full", "reorganise", "mining", "txindex", "restart")
_ANYWHERE = re.compile(".*")
_LOGIN = "Basic " + base64.b64encode(f"{BITCOIND_USER}:{BITCOIND_PASSWORD}".encode()).decode()
_STATUSES = {INVALID_REQUEST: 400, NO_METHOD: 404}


class UtxoMount:
    """Serves a `UtxoChain`; faults address it by the coin in lower case: `send`, `status` and `info`."""

    operations: Collection[str] = ("info", "send", "status")

    def __init__(self, chains: UtxoChains, ticker: str) -> None:
        self._chains, self._ticker = chains, ticker
        self._queue_full = 0

    @cached_property
    def _chain(self) -> UtxoChain:
        return self._chains[self._ticker]

    @cached_property
    def _wallet(self) -> Wallet:
        return Wallet(self._chain)

    @cached_property
    def _methods(self) -> dict[str, Callable[..., Any]]:
        node, purse = NodeMethods(self._chain), PurseMethods(self._chain, self._wallet)
        return {**node.table(), **purse.table(), "help": self._help}

    def tick(self) -> None:
        """Let time pass."""
        self._chains.tick(self._ticker)

    def find(self, request: Request) -> Route | None:
        """The operation follows from the method; a batch counts as the weightiest of its calls."""
        methods = methods_in(request)
        if "sendrawtransaction" in methods:
            return Route("POST", _ANYWHERE, "send", self.handle, executes=True)
        return Route("POST", _ANYWHERE, "status" if methods & STATUS_METHODS else "info", self.handle)

    def handle(self, request: Request) -> Response:
        """Answer a call or a batch of calls."""
        if request.method != "POST":
            return Response(405, b"JSONRPC server handles only POST requests")
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), _LOGIN.encode()):
            return Response(401, b"", {"WWW-Authenticate": 'Basic realm="jsonrpc"'})
        if self._queue_full:
            self._queue_full -= 1
            return Response(503, b"Work queue depth exceeded")
        try:
            body = request.json()
        except ValueError:
            return _failure(None, RpcError(PARSE_ERROR, "Parse error"))
        with self._chain.lock:
            if isinstance(body, list):
                return Response(200, [self._answer(call).body for call in body])
            return self._answer(body)

    def refuse(self, operation: str, request: Request) -> Response:
        """A definite no in the words of a node."""
        error = RpcError(WARMING_UP, "Loading block index...")
        if operation == "send":
            rejection = self._chain.rejection("policy")
            error = RpcError(rejection.code, rejection.message)
        calls = [_failure(call.get("id"), error) for call in calls_in(request)]
        return Response(200, [call.body for call in calls]) if len(calls) > 1 else [*calls, _failure(None, error)][0]

    def describe(self) -> dict[str, Any]:
        """Height, what waits, and the switches."""
        policy = self._chain.policy
        return {
            "height": self._chain.store.height,
            "mempool": list(self._chain.store.mempool),
            "already_known": policy.already_known,
            "reject": policy.reject,
            "queue_full": self._queue_full,
            "mining": policy.mining,
            "txindex": policy.txindex,
        }

    def configure(self, settings: Mapping[str, Any]) -> None:
        """`already_known`, `mining`, `txindex` (true or false), `reject` (null or a way), `queue_full` (how many
        requests meet a full queue), `reorganise` (drop so many blocks now), `restart` (true: forget the locks now)."""
        check_switches(settings, FIELDS, counts=("queue_full", "reorganise"), rejects=tuple(REJECTS))
        policy = self._chain.policy
        policy.already_known = settings.get("already_known", policy.already_known)
        policy.mining = settings.get("mining", policy.mining)
        policy.txindex = settings.get("txindex", policy.txindex)
        policy.reject = settings.get("reject", policy.reject)
        self._queue_full = settings.get("queue_full", self._queue_full)
        with self._chain.lock:
            self._chain.store.reorganise(settings.get("reorganise", 0))
            if settings.get("restart"):
                self._wallet.locked.clear()

    def _answer(self, call: Any) -> Response:
        if not isinstance(call, Mapping) or not isinstance(call.get("method"), str):
            return _failure(None, RpcError(INVALID_REQUEST, "Invalid Request object"))
        call_id = call.get("id")
        try:
            result = self._call(call["method"], call.get("params") or [])
        except RpcError as error:
            return _failure(call_id, error)
        except Rejected as error:
            return _failure(call_id, RpcError(error.code, error.message))
        except Unfunded as error:
            return _failure(call_id, RpcError(WALLET, str(error)))
        return Response(200, {"result": result, "error": None, "id": call_id})

    def _call(self, name: str, params: Any) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise RpcError(NO_METHOD, "Method not found")
        if not isinstance(params, list | dict):
            raise RpcError(INVALID_REQUEST, "Params must be an array or object")
        named: dict[str, Any] = params if isinstance(params, dict) else {}
        placed: list[Any] = params if isinstance(params, list) else []
        try:
            signature(method).bind(*placed, **named)
        except TypeError as error:
            raise RpcError(MISC, self._help(name)) from error
        return method(*placed, **named)

    def _help(self, command: str | None = None) -> str:
        if command is None:
            return "\n".join(f"{name} {_usage(method)}".rstrip() for name, method in sorted(self._methods.items()))
        if command not in self._methods:
            return f"help: unknown command: {command}"
        return f"{command} {_usage(self._methods[command])}".rstrip()


def _usage(method: Callable[..., Any]) -> str:
    words = signature(method).parameters.values()
    return " ".join(word.name if word.default is word.empty else f"( {word.name} )" for word in words)


def _failure(call_id: Any, error: RpcError) -> Response:
    body = {"result": None, "error": {"code": error.code, "message": error.message}, "id": call_id}
    return Response(_STATUSES.get(error.code, 500), body)
