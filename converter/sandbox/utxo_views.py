"""How a node shows transactions, outputs and blocks."""

from __future__ import annotations

from typing import Any

from converter.sandbox.utxo_chain import UtxoChain, coins
from converter.sandbox.utxo_coins import Coin, address_of, is_segwit
from converter.sandbox.utxo_tx import Output, RawTransaction


def decoded_view(coin: Coin, transaction: RawTransaction) -> dict[str, Any]:
    """A transaction as `decoderawtransaction` shows it."""
    return {
        "txid": transaction.txid,
        "hash": transaction.wtxid,
        "version": transaction.version,
        "size": len(transaction.serialize()),
        "vsize": transaction.vsize,
        "locktime": transaction.locktime,
        "vin": [
            {
                "txid": item.txid,
                "vout": item.vout,
                "scriptSig": {"asm": "", "hex": item.script.hex()},
                **({"txinwitness": [part.hex() for part in item.witness]} if item.witness else {}),
                "sequence": item.sequence,
            }
            for item in transaction.inputs
        ],
        "vout": [
            output_view(coin, output) | {"n": place} for place, output in enumerate(transaction.outputs)
        ],
    }  # fmt: skip


def output_view(coin: Coin, output: Output) -> dict[str, Any]:
    """Value and script of an output; old nodes list addresses, newer ones name the one there is."""
    script: dict[str, Any] = {"asm": "", "hex": output.script.hex(), "type": _kind(output)}
    if output.data is not None:
        script["asm"] = f"OP_RETURN {output.data.hex()}"
    address = address_of(coin, output.script)
    if address and coin.ticker == "BTC":
        script["address"] = address
    elif address:
        script |= {"reqSigs": 1, "addresses": [address]}
    return {"value": coins(output.value), "scriptPubKey": script}


def fee_of(chain: UtxoChain, transaction: RawTransaction) -> int | None:
    """What a transaction pays, in the smallest units; None when it spends something that nobody saw."""
    spent = [output.value for item in transaction.inputs if (output := chain.store.output(item.outpoint))]
    if len(spent) < len(transaction.inputs):
        return None
    return sum(spent) - sum(output.value for output in transaction.outputs)


def block_view(chain: UtxoChain, height: int) -> dict[str, Any]:
    """A block as `getblock` shows it."""
    block_hash, txids = chain.store.block(height)
    return {
        "hash": block_hash,
        "confirmations": chain.store.height - height + 1,
        "height": height,
        "time": chain.store.mined_at(height),
        "nTx": len(txids),
        "tx": txids,
        "previousblockhash": chain.store.block(height - 1)[0],
    }


def _kind(output: Output) -> str:
    if output.data is not None:
        return "nulldata"
    if is_segwit(output.script):
        if output.script[0]:
            return "witness_v1_taproot"
        return "witness_v0_keyhash" if output.script[1] == 20 else "witness_v0_scripthash"
    return "pubkeyhash" if output.script[:1] == b"\x76" else "scripthash"
