"""The methods of a node's wallet: balances, outputs, locks, funding, signing, its own transactions.

Source: `research/exchange_libs_wallets.md` B1. `sendtoaddress` and `sendmany` are left out on purpose: a repeat would
pay twice, and no client of this project may use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from converter.sandbox.jsonrpc import RpcError
from converter.sandbox.utxo_chain import UtxoChain, coins
from converter.sandbox.utxo_coins import address_of, is_segwit
from converter.sandbox.utxo_node import (
    BAD_PARAM,
    BAD_TYPE,
    NO_ADDRESS,
    read_address,
    read_amount,
    read_transaction,
    read_txid,
)
from converter.sandbox.utxo_tx import Outpoint
from converter.sandbox.utxo_wallet import Wallet

WALLET = -4
_OPTIONS = {"changeAddress", "changePosition", "lockUnspents", "feeRate", "includeWatching"}
_SEGWIT_OPTIONS = {
    "change_address", "change_position", "lock_unspents", "fee_rate", "include_unsafe", "replaceable",
}  # fmt: skip


class PurseMethods:
    """See `table`."""

    def __init__(self, chain: UtxoChain, wallet: Wallet) -> None:
        self._chain, self._store, self._wallet = chain, chain.store, wallet

    def table(self) -> dict[str, Callable[..., Any]]:
        """Method name -> what answers it."""
        methods: dict[str, Callable[..., Any]] = {
            "getbalance": self._balance,
            "listunspent": self._unspent,
            "lockunspent": self._lock,
            "listlockunspent": lambda: [{"txid": txid, "vout": vout} for txid, vout in self._wallet.locks()],
            "getnewaddress": lambda label="", address_type=None: self._chain.new_address("wallet"),  # noqa: ARG005
            "getrawchangeaddress": lambda address_type=None: self._chain.new_address("wallet"),  # noqa: ARG005
            "fundrawtransaction": self._fund,
            "gettransaction": self._transaction,
            "listtransactions": self._list,
        }
        if self._chain.coin.old:
            methods["signrawtransaction"] = self._sign
        else:
            methods |= {"signrawtransactionwithwallet": self._sign, "getbalances": self._balances}
            methods["getaddressinfo"] = self._address_info
        return methods

    def _sums(self, depth: int = 0) -> tuple[int, int]:
        """Spendable at a depth, and what comes from outside and is not mined yet."""
        trusted = pending = 0
        for (txid, _), (output, count) in self._wallet.own().items():
            if count >= depth and (count or self._wallet.trusts(txid)):
                trusted += output.value
            elif not count:
                pending += output.value
        return trusted, pending

    def _balance(self, dummy: Any = "*", minconf: Any = 0, include_watchonly: Any = False) -> Decimal:  # noqa: ARG002
        if type(minconf) is not int:
            raise RpcError(BAD_TYPE, "JSON value is not an integer as expected")
        return coins(self._sums(minconf)[0])

    def _address_info(self, address: Any) -> dict[str, Any]:
        script = read_address(self._chain, address)
        mine = self._chain.is_mine(script)
        head = {"address": address, "scriptPubKey": script.hex(), "ismine": mine, "solvable": mine}
        return head | {"iswatchonly": False, "isscript": script[:1] == b"\xa9", "iswitness": is_segwit(script)}

    def _balances(self) -> dict[str, Any]:
        trusted, pending = self._sums()
        return {"mine": {"trusted": coins(trusted), "untrusted_pending": coins(pending), "immature": coins(0)}}

    def _unspent(
        self, minconf: Any = 1, maxconf: Any = 9999999, addresses: Any = None, include_unsafe: Any = True
    ) -> list[dict[str, Any]]:
        if type(minconf) is not int or type(maxconf) is not int:
            raise RpcError(BAD_TYPE, "JSON value is not an integer as expected")
        rows = []
        for (txid, vout), (output, count) in self._wallet.own().items():
            address = address_of(self._chain.coin, output.script)
            safe = bool(count) or self._wallet.trusts(txid)
            if (txid, vout) in self._wallet.locked or not minconf <= count <= maxconf:
                continue
            if (addresses and address not in addresses) or not (safe or include_unsafe):
                continue
            head = {"txid": txid, "vout": vout, "address": address, "scriptPubKey": output.script.hex()}
            tail = {"confirmations": count, "spendable": True, "solvable": True, "safe": safe}
            rows.append(head | {"amount": coins(output.value)} | tail)
        return rows

    def _lock(self, unlock: Any, transactions: Any = None, persistent: Any = False) -> bool:  # noqa: ARG002
        if type(unlock) is not bool or not isinstance(transactions, list | None):
            raise RpcError(BAD_TYPE, "JSON value is not of the expected type")
        if transactions is None:
            if unlock:
                self._wallet.locked.clear()
            return True
        outpoints = [self._outpoint(row) for row in transactions]
        for outpoint in outpoints:
            if unlock != (outpoint in self._wallet.locked):
                text = "expected locked output" if unlock else "output already locked"
                raise RpcError(BAD_PARAM, f"Invalid parameter, {text}")
        for outpoint in outpoints:
            (self._wallet.locked.discard if unlock else self._wallet.locked.add)(outpoint)
        return True

    def _outpoint(self, row: Any) -> Outpoint:
        found: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
        vout = found.get("vout")
        if type(vout) is not int or vout < 0:
            raise RpcError(BAD_PARAM, "Invalid parameter, vout cannot be negative")
        outpoint: Outpoint = (read_txid(found.get("txid")), vout)
        if outpoint[0] not in self._store.known:
            raise RpcError(BAD_PARAM, "Invalid parameter, unknown transaction")
        if self._store.output(outpoint) is None:
            raise RpcError(BAD_PARAM, "Invalid parameter, vout index out of bounds")
        if self._store.spender(outpoint):
            raise RpcError(BAD_PARAM, "Invalid parameter, expected unspent output")
        return outpoint

    def _fund(self, hexstring: Any, options: Any = None, iswitness: Any = None) -> dict[str, Any]:  # noqa: ARG002
        options = {} if options is None else options
        if not isinstance(options, dict):
            raise RpcError(BAD_TYPE, "JSON value is not of expected type object")
        if strange := options.keys() - (_OPTIONS | _SEGWIT_OPTIONS if self._chain.coin.hrp else _OPTIONS):
            raise RpcError(BAD_TYPE, f"Unexpected key {min(strange)}")
        transaction = read_transaction(hexstring)
        position = options.get("changePosition", options.get("change_position"))
        if position is not None and (type(position) is not int or not 0 <= position <= len(transaction.outputs)):
            raise RpcError(BAD_PARAM, "changePosition out of bounds")
        change = options.get("changeAddress", options.get("change_address"))
        if change is not None:
            read_address(self._chain, change)
        funded = self._wallet.fund(transaction, self._rate(options), change, position)
        if options.get("lockUnspents", options.get("lock_unspents", False)):
            self._wallet.locked |= {item.outpoint for item in funded.transaction.inputs}
        return {"hex": funded.transaction.serialize().hex(), "fee": coins(funded.fee), "changepos": funded.change}

    def _rate(self, options: Mapping[str, Any]) -> int:
        """`feeRate` is in coins per 1000 bytes, `fee_rate` in smallest units per byte."""
        rate = self._chain.coin.fee
        if {"feeRate", "fee_rate"} <= options.keys():
            raise RpcError(BAD_PARAM, "Cannot specify both fee_rate (sat/vB) and feeRate (BTC/kvB)")
        if "feeRate" in options:
            rate = read_amount(options["feeRate"])
        elif "fee_rate" in options:
            rate = read_amount(options["fee_rate"], decimals=3)
        if rate < self._chain.coin.relay_fee:
            raise RpcError(WALLET, f"Fee rate ({coins(rate)}) is lower than the minimum fee rate setting")
        return rate

    def _sign(self, hexstring: Any, prevtxs: Any = None, *more: Any) -> dict[str, Any]:  # noqa: ARG002
        transaction, problems = self._wallet.sign(read_transaction(hexstring))
        answer: dict[str, Any] = {"hex": transaction.serialize().hex(), "complete": not problems}
        if problems:
            answer["errors"] = [
                {
                    "txid": transaction.inputs[place].txid,
                    "vout": transaction.inputs[place].vout,
                    "scriptSig": transaction.inputs[place].script.hex(),
                    "sequence": transaction.inputs[place].sequence,
                    "error": problem,
                }
                for place, problem in problems.items()
            ]
        return answer

    def _transaction(self, txid: Any, include_watchonly: Any = False, verbose: Any = False) -> dict[str, Any]:  # noqa: ARG002
        txid = read_txid(txid)
        transaction, _ = self._store.find(txid)
        spent, got = self._wallet.amounts(txid)
        if transaction is None or not (spent or got):
            raise RpcError(NO_ADDRESS, "Invalid or non-wallet transaction id")
        rows = [row for row in self._rows(txid) if "category" in row]
        fee = sum(output.value for output in transaction.outputs) - spent if spent else 0
        amount = coins(got - spent - fee)
        head: dict[str, Any] = {"amount": amount} | ({"fee": coins(fee)} if spent else {})
        return head | self._place(txid) | {"details": rows, "hex": transaction.serialize().hex()}

    def _list(
        self, label: Any = "*", count: Any = 10, skip: Any = 0, include_watchonly: Any = False
    ) -> list[dict[str, Any]]:
        del label, include_watchonly  # one wallet without labels
        if type(count) is not int or type(skip) is not int or count < 0 or skip < 0:
            raise RpcError(BAD_PARAM, "Negative count" if type(count) is int else "count and from are whole numbers")
        rows = [row | self._place(txid) for txid in self._store.known for row in self._rows(txid)]
        end = len(rows) - skip
        return rows[max(0, end - count) : max(0, end)]

    def _rows(self, txid: str) -> list[dict[str, Any]]:
        """One row for each output that the wallet paid to somebody or got."""
        transaction, _ = self._store.find(txid)
        if transaction is None:
            return []
        spent, _ = self._wallet.amounts(txid)
        fee = sum(output.value for output in transaction.outputs) - spent
        rows: list[dict[str, Any]] = []
        for place, output in enumerate(transaction.outputs):
            mine = self._chain.is_mine(output.script)
            head = {"address": address_of(self._chain.coin, output.script), "vout": place}
            if output.data is not None:
                head = {"vout": place}
            if spent and not mine:
                rows.append(head | {"category": "send", "amount": coins(-output.value), "fee": coins(fee)})
            elif mine and not spent:
                rows.append(head | {"category": "receive", "amount": coins(output.value)})
        return rows

    def _place(self, txid: str) -> dict[str, Any]:
        _, height = self._store.find(txid)
        moment = self._store.seen[txid]
        place: dict[str, Any] = {"confirmations": self._store.confirmations(txid)}
        if height is not None:
            block_hash, txids = self._store.block(height)
            place |= {"blockhash": block_hash, "blockheight": height, "blockindex": txids.index(txid) + 1}
            place["blocktime"] = self._store.mined_at(height)
        else:
            place["trusted"] = self._wallet.trusts(txid)
        return place | {"txid": txid, "walletconflicts": [], "time": moment, "timereceived": moment}
