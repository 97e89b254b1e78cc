"""How a node of an EVM chain shows transactions, receipts and blocks."""

from __future__ import annotations

from typing import Any

from converter.sandbox.chain import BLOCK_GAS, EvmChain
from converter.sandbox.evm_deposits import Block
from converter.sandbox.rawtx import DYNAMIC_FEE, Transaction, hash_of, key

TRANSFER_EVENT = hash_of(b"Transfer(address,address,uint256)")
NO_LOGS = "0x" + "00" * 256


def transaction_view(chain: EvmChain, transaction: Transaction, block: Block | None) -> dict[str, Any]:
    """A transaction, mined or waiting."""
    v, r, s = transaction.signature
    fees = {"gasPrice": hex(transaction.price if block else transaction.max_fee)}
    if transaction.kind == DYNAMIC_FEE:
        fees |= {"maxFeePerGas": hex(transaction.max_fee), "maxPriorityFeePerGas": hex(transaction.tip)}
        fees |= {"yParity": hex(v)}
    return fees | {
        "blockHash": chain.block_hash(block.number) if block else None,
        "blockNumber": hex(block.number) if block else None,
        "chainId": hex(chain.network.chain_id),
        "from": key(transaction.sender),
        "gas": hex(transaction.gas),
        "hash": transaction.txid,
        "input": "0x" + transaction.data.hex(),
        "nonce": hex(transaction.nonce),
        "r": hex(r),
        "s": hex(s),
        "to": transaction.to and key(transaction.to),
        "transactionIndex": hex(block.transactions.index(transaction)) if block else None,
        "type": hex(transaction.kind),
        "v": hex(v),
        "value": hex(transaction.value),
    }


def receipt_view(chain: EvmChain, transaction: Transaction, block: Block) -> dict[str, Any]:
    """What became of a mined transaction."""
    index = block.transactions.index(transaction)
    outcome = chain.accounts.outcomes[transaction.txid]
    return {
        "blockHash": chain.block_hash(block.number),
        "blockNumber": hex(block.number),
        "contractAddress": None,
        "cumulativeGasUsed": hex(_gas_used(chain, block.transactions[: index + 1])),
        "effectiveGasPrice": hex(transaction.price),
        "from": key(transaction.sender),
        "gasUsed": hex(outcome.gas_used),
        "logs": _logs(chain, transaction, block),
        "logsBloom": NO_LOGS,
        "status": hex(outcome.went_through),
        "to": transaction.to and key(transaction.to),
        "transactionHash": transaction.txid,
        "transactionIndex": hex(index),
        "type": hex(transaction.kind),
    }


def block_view(chain: EvmChain, block: Block, *, full: bool) -> dict[str, Any]:
    """A block, with its transactions whole or as ids."""
    base_fee = chain.network.base_fee
    return ({} if base_fee is None else {"baseFeePerGas": hex(base_fee)}) | {
        "gasLimit": hex(BLOCK_GAS),
        "gasUsed": hex(_gas_used(chain, block.transactions)),
        "hash": chain.block_hash(block.number),
        "logsBloom": NO_LOGS,
        "number": hex(block.number),
        "parentHash": chain.block_hash(block.number - 1),
        "timestamp": hex(block.timestamp),
        "transactions": [transaction_view(chain, item, block) if full else item.txid for item in block.transactions],
        "uncles": [],
    }


def _gas_used(chain: EvmChain, transactions: list[Transaction]) -> int:
    return sum(chain.accounts.outcomes[item.txid].gas_used for item in transactions)


def _logs(chain: EvmChain, transaction: Transaction, block: Block) -> list[dict[str, Any]]:
    """The Transfer event of a token transfer; its index counts through the block."""
    moves = chain.accounts.outcomes[transaction.txid].token_moves
    if moves is None or transaction.token is None:
        return []
    index = block.transactions.index(transaction)
    before = sum(chain.accounts.outcomes[item.txid].token_moves is not None for item in block.transactions[:index])
    ends = [f"0x{'0' * 24}{key(address)[2:]}" for address in (transaction.sender, moves[0])]
    log = {"address": key(transaction.token), "topics": [TRANSFER_EVENT, *ends], "data": f"0x{moves[1]:064x}"}
    place = {
        "blockNumber": hex(block.number),
        "blockHash": chain.block_hash(block.number),
        "transactionHash": transaction.txid,
        "transactionIndex": hex(index),
        "logIndex": hex(before),
    }
    return [log | place | {"removed": False}]
