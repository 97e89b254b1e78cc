"""The methods of a node that need no wallet: blocks, fees, raw transactions.

Source: `research/exchange_libs_wallets.md` B1. Which method a fork lacks is inferred: the old ones (`Coin.old`) know no
`testmempoolaccept` and take outputs as one object only, and have `estimatefee` beside `estimatesmartfee`; the Bitcoin
Cash node has `estimatefee` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from converter.sandbox.jsonrpc import RpcError
from converter.sandbox.utxo_chain import MISSING, Rejected, UtxoChain, coins
from converter.sandbox.utxo_coins import is_segwit, script_of
from converter.sandbox.utxo_tx import (
    MAX_MONEY,
    UNIT,
    DecodeError,
    Input,
    Output,
    RawTransaction,
    data_script,
    decode,
)
from converter.sandbox.utxo_views import block_view, decoded_view, fee_of, output_view

BAD_TYPE, NO_ADDRESS, BAD_PARAM = -3, -5, -8
DEFAULT_MAX_FEE_RATE = UNIT // 10  # 0.10 coins per 1000 bytes
_PLAIN_SEQUENCE, _REPLACEABLE_SEQUENCE = 0xFFFFFFFF, 0xFFFFFFFD


class NodeMethods:
    """See `table`."""

    def __init__(self, chain: UtxoChain) -> None:
        self._chain, self._store, self._coin = chain, chain.store, chain.coin

    def table(self) -> dict[str, Callable[..., Any]]:
        """Method name -> what answers it."""
        methods: dict[str, Callable[..., Any]] = {
            "getblockchaininfo": self._chain_info,
            "getnetworkinfo": self._network_info,
            "getblockcount": lambda: self._store.height,
            "getbestblockhash": lambda: self._store.block(self._store.height)[0],
            "getblockhash": self._block_hash,
            "getblock": self._block,
            "getrawmempool": lambda: list(self._store.mempool),
            "getmempoolentry": self._mempool_entry,
            "gettxout": self._output,
            "validateaddress": self._validate,
            "createrawtransaction": self._create,
            "decoderawtransaction": lambda hexstring: decoded_view(self._coin, read_transaction(hexstring)),
            "sendrawtransaction": self._send,
            "getrawtransaction": self._raw_transaction,
        }
        if self._coin.cash:
            methods["estimatefee"] = lambda: coins(self._coin.fee)
        else:
            methods["estimatesmartfee"] = self._estimate
        if self._coin.old:
            methods["estimatefee"] = lambda nblocks: self._estimate(nblocks)["feerate"]
        else:
            methods["testmempoolaccept"] = self._test
        return methods

    def _chain_info(self) -> dict[str, Any]:
        height = self._store.height
        return {
            "chain": "main",
            "blocks": height,
            "headers": height,
            "bestblockhash": self._store.block(height)[0],
            "difficulty": Decimal(1),
            "mediantime": int(self._chain.now()),
            "verificationprogress": Decimal(1),
            "initialblockdownload": False,
            "pruned": False,
            "warnings": "",
        }

    def _network_info(self) -> dict[str, Any]:
        return {
            "version": self._coin.version,
            "subversion": self._coin.subversion,
            "protocolversion": 70016,
            "connections": 8,
            "networkactive": True,
            "relayfee": coins(self._coin.relay_fee),
            "incrementalfee": coins(self._coin.relay_fee),
            "warnings": "",
        }

    def _block_hash(self, height: Any) -> str:
        if type(height) is not int or not 0 <= height <= self._store.height:
            raise RpcError(BAD_PARAM, "Block height out of range")
        return self._store.block(height)[0]

    def _block(self, blockhash: Any, verbosity: Any = 1) -> dict[str, Any]:  # noqa: ARG002
        for height in range(self._store.height, max(0, self._store.height - 1000), -1):
            if self._store.block(height)[0] == blockhash:
                return block_view(self._chain, height)
        raise RpcError(NO_ADDRESS, "Block not found")

    def _mempool_entry(self, txid: Any) -> dict[str, Any]:
        transaction = self._store.mempool.get(read_txid(txid))
        if transaction is None:
            raise RpcError(NO_ADDRESS, "Transaction not in mempool")
        parents = sorted({item.txid for item in transaction.inputs} & self._store.mempool.keys())
        head: dict[str, Any] = {
            "size" if self._coin.old else "vsize": transaction.vsize,
            "time": self._store.seen[transaction.txid],
        }
        if (paid := fee_of(self._chain, transaction)) is not None:
            fee = coins(paid)
            head |= {"fee": fee} if self._coin.old else {"fees": {"base": fee, "modified": fee}}
        return head | {"height": self._store.height, "depends": parents}

    def _output(self, txid: Any, n: Any, include_mempool: Any = True) -> dict[str, Any] | None:
        if type(n) is not int or n < 0:
            raise RpcError(BAD_TYPE, "JSON value is not an integer as expected")
        outpoint = (read_txid(txid), n)
        output, spender = self._store.output(outpoint), self._store.spender(outpoint)
        count = self._store.confirmations(txid)
        if spender is not None and not include_mempool and spender in self._store.mempool:
            spender = None
        if output is None or spender is not None or not (count or include_mempool):
            return None
        best = self._store.block(self._store.height)[0]
        return {"bestblock": best, "confirmations": count, "coinbase": False} | output_view(self._coin, output)

    def _validate(self, address: Any) -> dict[str, Any]:
        try:
            script = script_of(self._coin, address if isinstance(address, str) else "")
        except (ValueError, IndexError):
            return {"isvalid": False} | ({} if self._coin.old else {"error": "Invalid or unsupported address"})
        witness = {"isscript": script[:1] == b"\xa9", "iswitness": is_segwit(script)}
        if self._coin.old:  # newer nodes tell it by `getaddressinfo`
            witness = {"ismine": self._chain.is_mine(script), "iswatchonly": False, "isscript": script[:1] == b"\xa9"}
        return {"isvalid": True, "address": address, "scriptPubKey": script.hex()} | witness

    def _estimate(self, conf_target: Any, estimate_mode: Any = None) -> dict[str, Any]:  # noqa: ARG002
        if type(conf_target) is not int or not 1 <= conf_target <= 1008:
            raise RpcError(BAD_PARAM, "Invalid conf_target, must be between 1 and 1008")
        return {"feerate": coins(self._coin.fee), "blocks": conf_target}

    def _create(self, inputs: Any, outputs: Any, locktime: Any = 0, replaceable: Any = True) -> str:
        if not isinstance(inputs, list) or type(locktime) is not int or not 0 <= locktime < 2**32:
            raise RpcError(BAD_PARAM, "Invalid parameter, inputs or locktime")
        sequence = _REPLACEABLE_SEQUENCE if replaceable and not self._coin.old else _PLAIN_SEQUENCE
        spent = tuple(_read_input(item, sequence) for item in inputs)
        transaction = RawTransaction(spent, tuple(self._read_outputs(outputs)), 2, locktime)
        return transaction.serialize().hex()

    def _read_outputs(self, outputs: Any) -> list[Output]:
        rows = [outputs] if isinstance(outputs, Mapping) else outputs
        if isinstance(outputs, list) and self._coin.old:
            raise RpcError(BAD_TYPE, "Expected type object, got array")
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise RpcError(BAD_PARAM, "Invalid parameter, outputs must be objects")
        found: list[Output] = []
        seen: set[str] = set()
        for address, given in ((name, given) for row in rows for name, given in row.items()):
            if address in seen:
                raise RpcError(BAD_PARAM, f"Invalid parameter, duplicated address: {address}")
            seen.add(address)
            if address == "data":
                found.append(Output(0, data_script(read_hex(given, "Data"))))
                continue
            found.append(Output(read_amount(given), read_address(self._chain, address)))
        return found

    def _test(self, rawtxs: Any, maxfeerate: Any = None) -> list[dict[str, Any]]:
        if not isinstance(rawtxs, list) or len(rawtxs) != 1:
            raise RpcError(BAD_PARAM, "Array must contain exactly one raw transaction")
        transaction = read_transaction(rawtxs[0])
        head = {"txid": transaction.txid, "wtxid": transaction.wtxid}
        if transaction.txid in self._store.mempool:
            return [head | {"allowed": False, "reject-reason": "txn-already-in-mempool"}]
        if self._store.confirmations(transaction.txid):
            return [head | {"allowed": False, "reject-reason": "txn-already-known"}]
        try:
            fee = self._chain.check(transaction, self._max_rate(maxfeerate))
        except Rejected as error:
            missing = "max-fee-exceeded" if "maxfeerate" in error.message else "missing-inputs"
            reason = missing if error.code == MISSING else error.message
            return [head | {"allowed": False, "reject-reason": reason}]
        return [head | {"allowed": True, "vsize": transaction.vsize, "fees": {"base": coins(fee)}}]

    def _send(self, hexstring: Any, maxfeerate: Any = None) -> str:
        raw = _bytes(hexstring)
        return self._chain.send(raw or b"", self._max_rate(maxfeerate))

    def _max_rate(self, given: Any) -> int:
        if self._coin.old or (self._coin.cash and isinstance(given, bool)):  # they take `allowhighfees` in its place
            return 0
        return DEFAULT_MAX_FEE_RATE if given is None else read_amount(given)

    def _raw_transaction(self, txid: Any, verbose: Any = False, blockhash: Any = None) -> Any:
        transaction, height = self._store.find(read_txid(txid))
        if blockhash is not None:
            if transaction is None or height is None or blockhash != self._store.block(height)[0]:
                tail = "Use gettransaction for wallet transactions."
                raise RpcError(NO_ADDRESS, f"No such transaction found in the provided block. {tail}")
        elif transaction is None or (height is not None and not self._chain.policy.txindex):
            known = (
                "or blockchain transaction" if self._chain.policy.txindex else "transaction. Use -txindex or provide"
            )
            tail = "" if self._chain.policy.txindex else " a block hash to enable blockchain transaction queries"
            raise RpcError(NO_ADDRESS, f"No such mempool {known}{tail}. Use gettransaction for wallet transactions.")
        raw = transaction.serialize().hex()
        if not verbose:
            return raw
        view = decoded_view(self._coin, transaction) | {"hex": raw}
        if height is not None:
            moment = self._store.mined_at(height)
            view |= {"blockhash": self._store.block(height)[0], "time": moment, "blocktime": moment}
            view["confirmations"] = self._store.confirmations(transaction.txid)
        return view


def read_transaction(hexstring: Any) -> RawTransaction:
    """A transaction argument; the node's refusal otherwise."""
    try:
        return decode(_bytes(hexstring) or b"")
    except DecodeError as error:
        raise RpcError(-22, "TX decode failed") from error


def read_amount(given: Any, decimals: int = 8) -> int:
    """An amount argument, a number or text with so many decimals, in the smallest of them."""
    if isinstance(given, bool) or not isinstance(given, int | Decimal | str):
        raise RpcError(BAD_TYPE, "Amount is not a number or string")
    try:
        value = Decimal(given) * 10**decimals
    except ArithmeticError as error:  # no number, or one far beyond all bounds
        raise RpcError(BAD_TYPE, "Invalid amount") from error
    if not value.is_finite() or value != value.to_integral_value():
        raise RpcError(BAD_TYPE, "Invalid amount")
    if not 0 <= value <= MAX_MONEY:
        raise RpcError(BAD_TYPE, "Amount out of range")
    return int(value)


def read_txid(given: Any) -> str:
    """A transaction id argument."""
    if not isinstance(given, str) or len(given) != 64 or _bytes(given) is None:
        raise RpcError(BAD_PARAM, f"txid must be of length 64 (not {len(str(given))}, for '{given}')")
    return given.lower()


def read_address(chain: UtxoChain, address: Any) -> bytes:
    """The script of an address argument."""
    try:
        return script_of(chain.coin, address)
    except (ValueError, IndexError, AttributeError) as error:
        raise RpcError(NO_ADDRESS, f"Invalid {chain.coin.name} address: {address}") from error


def read_hex(given: Any, name: str) -> bytes:
    """A hex argument."""
    found = _bytes(given)
    if found is None:
        raise RpcError(BAD_PARAM, f"{name} must be hexadecimal string (not '{given}')")
    return found


def _bytes(given: Any) -> bytes | None:
    try:
        return bytes.fromhex(given)
    except (TypeError, ValueError):
        return None


def _read_input(item: Any, sequence: int) -> Input:
    if not isinstance(item, Mapping) or len(read_hex(item.get("txid"), "txid")) != 32:
        raise RpcError(BAD_PARAM, "Invalid parameter, txid must be of length 64")
    vout, given = item.get("vout"), item.get("sequence", sequence)
    if type(vout) is not int or vout < 0:
        raise RpcError(BAD_PARAM, "Invalid parameter, missing vout key")
    if type(given) is not int or not 0 <= given < 2**32:
        raise RpcError(BAD_PARAM, "Invalid parameter, sequence number is out of range")
    return Input(item["txid"].lower(), vout, sequence=given)
