"""The JSON-RPC interface of the EVM chains below `/evm` and `/etc`, in the shape of the Ethereum execution API."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from inspect import signature
from typing import Any

from converter.sandbox.chain import REJECTS, EvmChain, Refused
from converter.sandbox.control import check_switches
from converter.sandbox.evm_networks import TIP
from converter.sandbox.evm_views import block_view, receipt_view, transaction_view
from converter.sandbox.jsonrpc import (
    BAD_PARAMS,
    INVALID_REQUEST,
    NO_METHOD,
    PARSE_ERROR,
    RpcError,
    calls_in,
    methods_in,
)
from converter.sandbox.rawtx import GAS_OF_CREATION, GAS_OF_TOKEN, TRANSFER, data_gas, key, read_transfer
from converter.sandbox.twin import Request, Response, Route

REFUSED, REVERTED = -32000, 3
FIELDS = ("already_known", "reject", "queue_full", "reorganise", "mining")
STATUS_METHODS = {"eth_getTransactionReceipt", "eth_getTransactionByHash", "eth_blockNumber"}
_ANYWHERE = re.compile(".*")
LATEST_TAGS = ("latest", "pending", "safe", "finalized")
MAX_HISTORY = 1024


class ChainMount:
    """Serves an `EvmChain`; faults address it as `evm` or `etc` with the operations `send`, `status` and `info`."""

    operations: Collection[str] = ("info", "send", "status")

    def __init__(self, chain: EvmChain) -> None:
        self._chain, self._network = chain, chain.network
        self._queue_full = 0
        self.tick = chain.tick
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(self._network.chain_id),
            "net_version": lambda: str(self._network.chain_id),
            "web3_clientVersion": lambda: f"Sandbox/v1/{self._network.service_id}",
            "eth_syncing": lambda: False,
            "eth_gasPrice": lambda: hex(self._network.gas_price),
            "eth_estimateGas": self._estimate,
            "eth_call": self._view,
            "eth_getTransactionCount": self._nonce,
            "eth_getBalance": self._balance,
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionByHash": self._transaction,
            "eth_blockNumber": lambda: hex(chain.height),
            "eth_getBlockByNumber": self._block,
        }
        if self._network.base_fee is not None:
            self._methods |= {"eth_maxPriorityFeePerGas": lambda: hex(TIP), "eth_feeHistory": self._fee_history}

    def find(self, request: Request) -> Route | None:
        """The operation follows from the JSON-RPC method; a batch counts as the weightiest of its calls."""
        methods = methods_in(request)
        if "eth_sendRawTransaction" in methods:
            return Route("POST", _ANYWHERE, "send", self.handle, executes=True)
        return Route("POST", _ANYWHERE, "status" if methods & STATUS_METHODS else "info", self.handle)

    def handle(self, request: Request) -> Response:
        """Answer a call or a batch of calls."""
        if request.method != "POST":
            return Response(405, {"error": "JSON-RPC calls are posted"})
        if self._queue_full:
            self._queue_full -= 1
            return Response(503, b"service unavailable")
        try:
            body = request.json()
        except ValueError:
            return Response(200, _failure(None, RpcError(PARSE_ERROR, "parse error")))
        with self._chain.lock:
            answer = [self._answer(call) for call in body] if isinstance(body, list) else self._answer(body)
        return Response(200, answer)

    def refuse(self, operation: str, request: Request) -> Response:
        """A definite no in the words of a chain node."""
        words = "insufficient funds for gas * price + value" if operation == "send" else "request refused"
        error = RpcError(REFUSED, words)
        calls = [_failure(call.get("id"), error) for call in calls_in(request)]
        return Response(200, calls if len(calls) > 1 else (calls or [_failure(None, error)])[0])

    def describe(self) -> dict[str, Any]:
        """Height of the chain, its id, and the switches."""
        policy = self._chain.policy
        return {
            "chain_id": self._network.chain_id,
            "height": self._chain.height,
            "already_known": policy.already_known,
            "reject": policy.reject,
            "queue_full": self._queue_full,
            "mining": policy.mining,
        }

    def configure(self, settings: Mapping[str, Any]) -> None:
        """`already_known` (false: the same bytes again are answered with their hash), `reject` (null or a way),
        `queue_full` (how many requests meet 503), `reorganise` (drop so many blocks now), `mining`."""
        check_switches(settings, FIELDS, counts=("queue_full", "reorganise"), rejects=tuple(REJECTS))
        policy = self._chain.policy
        policy.already_known = settings.get("already_known", policy.already_known)
        policy.reject = settings.get("reject", policy.reject)
        policy.mining = settings.get("mining", policy.mining)
        self._queue_full = settings.get("queue_full", self._queue_full)
        self._chain.reorganise(settings.get("reorganise", 0))

    def _answer(self, call: Any) -> dict[str, Any]:
        if not isinstance(call, Mapping) or not isinstance(call.get("method"), str):
            return _failure(None, RpcError(INVALID_REQUEST, "invalid request"))
        params = call.get("params", [])
        try:
            return {"jsonrpc": "2.0", "id": call.get("id"), "result": self._call(call["method"], params)}
        except RpcError as error:
            return _failure(call.get("id"), error)

    def _call(self, name: str, params: Any) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise RpcError(NO_METHOD, f"the method {name} does not exist/is not available")
        if not isinstance(params, list):
            raise RpcError(BAD_PARAMS, "non-array args")
        try:
            signature(method).bind(*params)
        except TypeError as error:
            raise RpcError(BAD_PARAMS, f"wrong number of arguments for {name}") from error
        return method(*params)

    def _send(self, raw: Any) -> str:
        try:
            return self._chain.send(_bytes(raw))
        except Refused as error:
            raise RpcError(REFUSED, str(error)) from error

    def _estimate(self, call: Any, _block: Any = "latest") -> str:
        """Gas of a transfer or of a token transfer; what would fail reverts, what nobody can pay is refused."""
        sender, to, data = _message(call)
        value = _quantity(call.get("value") or "0x0")
        if value > self._chain.accounts.balances.get(sender, 0):
            raise RpcError(REFUSED, "insufficient funds for transfer")
        gas = data_gas(data) + (0 if to else GAS_OF_CREATION)
        if to != self._token:
            return hex(gas)
        if value or not data.startswith(TRANSFER) or not self._moves(sender, data):
            raise RpcError(REVERTED, "execution reverted")
        return hex(gas + GAS_OF_TOKEN)

    def _view(self, call: Any, _block: Any = "latest") -> str:
        """What the token answers. A transfer that would go through answers nothing, as this token's contract does."""
        sender, to, data = _message(call)
        if to != self._token or self._moves(sender, data):
            return "0x"
        answer = self._chain.accounts.view(data)
        if answer is None:
            raise RpcError(REVERTED, "execution reverted")
        return f"0x{answer:064x}"

    @property
    def _token(self) -> str:
        return key(self._network.token or "no token")

    def _moves(self, sender: str, data: bytes) -> bool:
        """Whether a token transfer by this sender would go through."""
        moves = read_transfer(data)
        return moves is not None and moves[1] <= self._chain.accounts.tokens.get(sender, 0)

    def _balance(self, address: Any, _block: Any = "latest") -> str:
        return hex(self._chain.accounts.balances.get(key(_address(address)), 0))

    def _nonce(self, address: Any, block: Any = "latest") -> str:
        return hex(self._chain.nonce(_address(address), pending=block == "pending"))

    def _transaction(self, txid: Any) -> dict[str, Any] | None:
        found = self._chain.find(_hash(txid))
        return transaction_view(self._chain, *found) if found else None

    def _receipt(self, txid: Any) -> dict[str, Any] | None:
        transaction, block = self._chain.find(_hash(txid)) or (None, None)
        return receipt_view(self._chain, transaction, block) if transaction and block else None

    def _block(self, tag: Any, full: Any = False) -> dict[str, Any] | None:
        block = self._chain.block(self._number(tag))
        return block_view(self._chain, block, full=bool(full)) if block else None

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        blocks = min(count if isinstance(count, int) else _quantity(count), MAX_HISTORY)
        history = {
            "oldestBlock": hex(max(0, self._number(newest) - blocks + 1)),
            "baseFeePerGas": [hex(self._network.base_fee or 0)] * (blocks + 1),
            "gasUsedRatio": [Decimal("0.5")] * blocks,
        }
        return history | ({"reward": [[hex(TIP)] * len(percentiles)] * blocks} if percentiles else {})

    def _number(self, tag: Any) -> int:
        if tag in LATEST_TAGS:
            return self._chain.height
        return 0 if tag == "earliest" else _quantity(tag)


def _failure(call_id: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "error": {"code": error.code, "message": error.message}}


def _message(call: Any) -> tuple[str, str | None, bytes]:
    """Sender, receiver and calldata of a call that is only tried; addresses in lower case."""
    if not isinstance(call, Mapping):
        raise RpcError(BAD_PARAMS, "invalid argument 0: not an object")
    sender, to = call.get("from"), call.get("to")
    data = _bytes(call.get("data") or call.get("input") or "0x")
    return key(_address(sender)) if sender else "", key(_address(to)) if to else None, data


def _bytes(text: Any) -> bytes:
    try:
        if isinstance(text, str) and text.startswith("0x"):
            return bytes.fromhex(text[2:])
    except ValueError:
        pass
    raise RpcError(BAD_PARAMS, f"invalid argument: no 0x-prefixed hex: {text!r:.80}")


def _address(text: Any) -> str:
    if len(_bytes(text)) != 20:
        raise RpcError(BAD_PARAMS, "invalid argument: an address has 20 bytes")
    return str(text)


def _hash(text: Any) -> str:
    if len(_bytes(text)) != 32:
        raise RpcError(BAD_PARAMS, "invalid argument: a hash has 32 bytes")
    return str(text).lower()


def _quantity(text: Any) -> int:
    try:
        return int(text, 16)
    except (TypeError, ValueError) as error:
        raise RpcError(BAD_PARAMS, f"invalid argument: no quantity: {text!r:.80}") from error
