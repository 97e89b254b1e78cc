"""The chain's JSON-RPC interface below `/evm`, in the shape of the Ethereum execution API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from inspect import signature
from typing import Any

from converter.sandbox.chain import BASE_FEE, BLOCK_GAS, TIP, Block, EvmChain, Refused, price_of
from converter.sandbox.credentials import EVM_CHAIN_ID
from converter.sandbox.rawtx import DYNAMIC_FEE, Transaction, hash_of
from converter.sandbox.twin import Request, Response, Route

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, BAD_PARAMS, REFUSED = -32700, -32600, -32601, -32602, -32000
STATUS_METHODS = {"eth_getTransactionReceipt", "eth_getTransactionByHash", "eth_blockNumber"}
NO_LOGS = "0x" + "00" * 256
_ANYWHERE = re.compile(".*")
LATEST_TAGS = {"latest", "pending", "safe", "finalized"}
MAX_HISTORY = 1024


class RpcError(Exception):
    """An error object of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class ChainMount:
    """Serves an `EvmChain`; faults address it as `evm` with the operations `send`, `status` and `info`."""

    operations: Collection[str] = ("info", "send", "status")

    def __init__(self, chain: EvmChain) -> None:
        self._chain = chain
        self.tick = chain.tick
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(EVM_CHAIN_ID),
            "net_version": lambda: str(EVM_CHAIN_ID),
            "web3_clientVersion": lambda: "Sandbox/v1/evm",
            "eth_syncing": lambda: False,
            "eth_gasPrice": lambda: hex(BASE_FEE + TIP),
            "eth_maxPriorityFeePerGas": lambda: hex(TIP),
            "eth_feeHistory": self._fee_history,
            "eth_estimateGas": lambda _call, _block="latest": hex(21_000),
            "eth_getTransactionCount": self._nonce,
            "eth_getBalance": lambda address, _block="latest": hex(chain.balance(_address(address))),
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionByHash": self._transaction,
            "eth_blockNumber": lambda: hex(chain.height),
            "eth_getBlockByNumber": self._block,
        }

    def find(self, request: Request) -> Route | None:
        """The operation follows from the JSON-RPC method; a batch counts as the weightiest of its calls."""
        methods = {call.get("method") for call in _calls(request) if isinstance(call, Mapping)}
        if "eth_sendRawTransaction" in methods:
            return Route("POST", _ANYWHERE, "send", self.handle, executes=True)
        return Route("POST", _ANYWHERE, "status" if methods & STATUS_METHODS else "info", self.handle)

    def handle(self, request: Request) -> Response:
        """Answer a call or a batch of calls."""
        if request.method != "POST":
            return Response(405, {"error": "JSON-RPC calls are posted"})
        try:
            body = request.json()
        except ValueError:
            return Response(200, _failure(None, RpcError(PARSE_ERROR, "parse error")))
        if isinstance(body, list):
            return Response(200, [self._answer(call) for call in body])
        return Response(200, self._answer(body))

    def refuse(self, operation: str, request: Request) -> Response:
        """A definite no in the words of a chain node."""
        words = "insufficient funds for gas * price + value" if operation == "send" else "request refused"
        error = RpcError(REFUSED, words)
        calls = [_failure(call.get("id"), error) for call in _calls(request) if isinstance(call, Mapping)]
        return Response(200, calls if len(calls) > 1 else (calls or [_failure(None, error)])[0])

    def describe(self) -> dict[str, Any]:
        """Height of the chain and its id."""
        return {"chain_id": EVM_CHAIN_ID, "height": self._chain.height}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """The chain has nothing to set."""
        for name in settings:
            raise ValueError(f"{name}: unknown field; accepted: none")

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

    def _nonce(self, address: Any, block: Any = "latest") -> str:
        return hex(self._chain.nonce(_address(address), pending=block == "pending"))

    def _transaction(self, txid: Any) -> dict[str, Any] | None:
        found = self._chain.find(_hash(txid))
        return _transaction(*found) if found else None

    def _receipt(self, txid: Any) -> dict[str, Any] | None:
        transaction, block = self._chain.find(_hash(txid)) or (None, None)
        if transaction is None or block is None:
            return None
        index = block.transactions.index(transaction)
        gas = sum(item.intrinsic_gas for item in block.transactions[: index + 1])
        return {
            "blockHash": _block_hash(block.number),
            "blockNumber": hex(block.number),
            "contractAddress": None,
            "cumulativeGasUsed": hex(gas),
            "effectiveGasPrice": hex(price_of(transaction)),
            "from": transaction.sender.lower(),
            "gasUsed": hex(transaction.intrinsic_gas),
            "logs": [],
            "logsBloom": NO_LOGS,
            "status": "0x1",
            "to": transaction.to and transaction.to.lower(),
            "transactionHash": transaction.txid,
            "transactionIndex": hex(index),
            "type": hex(transaction.kind),
        }

    def _block(self, tag: Any, full: Any = False) -> dict[str, Any] | None:
        block = self._chain.block(self._number(tag))
        if block is None:
            return None
        shown = [_transaction(item, block) if full else item.txid for item in block.transactions]
        return {
            "baseFeePerGas": hex(BASE_FEE),
            "gasLimit": hex(BLOCK_GAS),
            "gasUsed": hex(sum(item.intrinsic_gas for item in block.transactions)),
            "hash": _block_hash(block.number),
            "logsBloom": NO_LOGS,
            "number": hex(block.number),
            "parentHash": _block_hash(block.number - 1),
            "timestamp": hex(block.timestamp),
            "transactions": shown,
            "uncles": [],
        }

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        blocks = min(count if isinstance(count, int) else _quantity(count), MAX_HISTORY)
        history = {
            "oldestBlock": hex(max(0, self._number(newest) - blocks + 1)),
            "baseFeePerGas": [hex(BASE_FEE)] * (blocks + 1),
            "gasUsedRatio": [Decimal("0.5")] * blocks,
        }
        return history | ({"reward": [[hex(TIP)] * len(percentiles)] * blocks} if percentiles else {})

    def _number(self, tag: Any) -> int:
        if tag in LATEST_TAGS:
            return self._chain.height
        return 0 if tag == "earliest" else _quantity(tag)


def _calls(request: Request) -> list[Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        return []
    return body if isinstance(body, list) else [body]


def _failure(call_id: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "error": {"code": error.code, "message": error.message}}


def _transaction(transaction: Transaction, block: Block | None) -> dict[str, Any]:
    v, r, s = transaction.signature
    fees = {"gasPrice": hex(price_of(transaction) if block else transaction.max_fee)}
    if transaction.kind == DYNAMIC_FEE:
        fees |= {"maxFeePerGas": hex(transaction.max_fee), "maxPriorityFeePerGas": hex(transaction.tip)}
        fees |= {"yParity": hex(v)}
    return fees | {
        "blockHash": _block_hash(block.number) if block else None,
        "blockNumber": hex(block.number) if block else None,
        "chainId": hex(EVM_CHAIN_ID),
        "from": transaction.sender.lower(),
        "gas": hex(transaction.gas),
        "hash": transaction.txid,
        "input": "0x" + transaction.data.hex(),
        "nonce": hex(transaction.nonce),
        "r": hex(r),
        "s": hex(s),
        "to": transaction.to and transaction.to.lower(),
        "transactionIndex": hex(block.transactions.index(transaction)) if block else None,
        "type": hex(transaction.kind),
        "v": hex(v),
        "value": hex(transaction.value),
    }


def _block_hash(number: int) -> str:
    return hash_of(f"block {number}".encode())


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
