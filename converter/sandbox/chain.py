"""An EVM chain: balances, nonces, a pool of signed transactions, and a block every 0.4 seconds.

It runs no code: a transaction moves its value, or tokens of the one contract, and pays its gas. Rules and wordings of
refusals follow go-ethereum, the client whose errors wallets know best.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.evm_deposits import Block, DepositSide
from converter.sandbox.evm_networks import ETH, Network
from converter.sandbox.locking import serialised
from converter.sandbox.rawtx import (
    DYNAMIC_FEE,
    TOKEN_UNIT,
    WEI,
    RawTransactionError,
    Transaction,
    decode_transaction,
    hash_of,
    key,
    read_transfer,
)
from converter.sandbox.truth import TruthBook

BLOCK_GAS = 30_000_000
BLOCK_SECONDS = 0.4
FIRST_BLOCK = 1000
BUMP_PERCENT = 10  # by which both fees of a replacement must be higher
REJECTS = {"policy": "transaction underpriced", "pool_full": "txpool is full"}


class Refused(Exception):
    """A transaction that the chain does not take."""


@dataclass
class Policy:
    """What the control interface can change. `already_known`: the same bytes again are refused with these words;
    otherwise they are answered with their hash."""

    already_known: bool = True
    reject: str | None = None
    mining: bool = True


class EvmChain(DepositSide):
    """The chain itself: pool and blocks; its JSON-RPC side is in `rpc`."""

    def __init__(
        self,
        truth: TruthBook,
        now: Callable[[], float],
        network: Network = ETH,
        *,
        speed: float = 1.0,
        seed: int = 7,
    ) -> None:
        super().__init__(seed, network)
        self._truth, self._now = truth, now
        self._pause = BLOCK_SECONDS / speed
        self._started = now()
        self._pool: dict[str, dict[int, Transaction]] = defaultdict(dict)
        self._blocks: dict[int, Block] = {}
        self._forks: dict[int, int] = {}
        self._lost_blocks = 0
        self.policy = Policy()
        self.height = FIRST_BLOCK

    @serialised
    def send(self, raw: bytes) -> str:
        """Take a signed transaction into the pool; `Refused` says why not."""
        try:
            transaction = decode_transaction(raw, self.network.token)
        except RawTransactionError as error:
            raise Refused(str(error)) from error
        if self.find(transaction.txid) and not self.policy.already_known:
            return transaction.txid
        if transaction.txid in {item.txid for item in self._pool.get(key(transaction.sender), {}).values()}:
            raise Refused("already known")
        if self.policy.reject:
            raise Refused(REJECTS[self.policy.reject])
        self._check_form(transaction)
        self._check_place(transaction)
        self._pool[key(transaction.sender)][transaction.nonce] = transaction
        self._truth.executed(
            self.network.service_id,
            "send",
            txid=transaction.txid,
            to=transaction.to,
            amount=Decimal(transaction.value) / WEI,
            sender=transaction.sender,
            nonce=transaction.nonce,
            **_token_facts(transaction),
        )
        return transaction.txid

    @serialised
    def tick(self) -> None:
        """Mine the blocks that are due."""
        due = FIRST_BLOCK + int((self._now() - self._started) / self._pause) - self._lost_blocks
        if due <= self.height:
            return
        if not self.policy.mining:
            self._lost_blocks += due - self.height
            return
        self.height = due
        self._mine()

    @serialised
    def nonce(self, address: str, *, pending: bool) -> int:
        """Next nonce of an address; with `pending`, after everything in the pool that can be mined."""
        address = key(address)
        nonce = self.accounts.nonces.get(address, 0)
        while pending and nonce in self._pool.get(address, {}):
            nonce += 1
        return nonce

    @serialised
    def find(self, txid: str) -> tuple[Transaction, Block | None] | None:
        """A transaction and its block; None instead of the block while it waits."""
        if mined := self._mined.get(txid):
            return mined
        waiting = [*self._outside, *(item for queue in self._pool.values() for item in queue.values())]
        return next(((item, None) for item in waiting if item.txid == txid), None)

    @serialised
    def block(self, number: int) -> Block | None:
        """A block up to the present height."""
        if not 0 <= number <= self.height:
            return None
        timestamp = int(self._started + (number - FIRST_BLOCK + self._lost_blocks) * self._pause)
        return self._blocks.get(number) or Block(number, timestamp)

    @serialised
    def block_hash(self, number: int) -> str:
        """Hash of the block at a height; another one after each time that the block was dropped."""
        fork = self._forks.get(number, 0)
        return hash_of(f"{self.network.ticker} block {self._seed} {number} {fork}".encode())

    @serialised
    def reorganise(self, depth: int) -> None:
        """Drop the last blocks: their transactions wait again, and are mined in other blocks."""
        depth = min(depth, self.height - FIRST_BLOCK)
        self._forks |= {self.height - back: self._forks.get(self.height - back, 0) + 1 for back in range(depth)}
        self.height, self._lost_blocks = self.height - depth, self._lost_blocks + depth
        dropped = [self._blocks.pop(number) for number in sorted(self._blocks) if number > self.height]
        for transaction in (item for block in dropped for item in block.transactions):
            del self._mined[transaction.txid]
            if transaction.sender == self._treasury:
                self._outside.append(transaction)
            else:
                self._pool[key(transaction.sender)][transaction.nonce] = transaction
        self.accounts = self._start()
        for transaction, _ in self._mined.values():
            self.accounts.apply(transaction)

    def _check_form(self, transaction: Transaction) -> None:
        if transaction.chain_id is None:
            raise Refused("only replay-protected (EIP-155) transactions allowed over RPC")
        if transaction.kind == DYNAMIC_FEE and self.network.base_fee is None:
            raise Refused("transaction type not supported")
        if transaction.chain_id != self.network.chain_id:
            raise Refused(f"invalid chain id for signer: have {transaction.chain_id} want {self.network.chain_id}")
        if transaction.tip > transaction.max_fee:
            raise Refused("max priority fee per gas higher than max fee per gas")
        if transaction.gas > BLOCK_GAS:
            raise Refused("exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise Refused(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {transaction.intrinsic_gas}")

    def _check_place(self, transaction: Transaction) -> None:
        """Nonce and funds, given what is mined and what waits."""
        sender = key(transaction.sender)
        queue = self._pool.get(sender, {})
        following = self.accounts.nonces.get(sender, 0)
        if transaction.nonce < following:
            raise Refused(f"nonce too low: next nonce {following}, tx nonce {transaction.nonce}")
        replaced = queue.get(transaction.nonce)
        if replaced and not (_bumps(transaction.max_fee, replaced.max_fee) and _bumps(transaction.tip, replaced.tip)):
            raise Refused("replacement transaction underpriced")
        balance = self.accounts.balances.get(sender, 0)
        queued = sum(item.most for item in queue.values()) - (replaced.most if replaced else 0)
        if balance < transaction.most + queued:
            raise Refused(
                "insufficient funds for gas * price + value: "
                f"balance {balance}, queued cost {queued}, tx cost {transaction.most}"
            )

    def _mine(self) -> None:
        """One block with everything that can go: each sender's transactions in the order of their nonces."""
        block = Block(self.height, int(self._now()))
        block.transactions, self._outside = self._outside, []
        for transaction in block.transactions:
            self.accounts.apply(transaction)
        for sender, queue in self._pool.items():
            while (ready := queue.get(self.accounts.nonces[sender])) and ready.max_fee >= (self.network.base_fee or 0):
                del queue[ready.nonce]
                self.accounts.apply(ready)
                block.transactions.append(ready)
        self._mined |= {transaction.txid: (transaction, block) for transaction in block.transactions}
        if block.transactions:
            self._blocks[block.number] = block


def _token_facts(transaction: Transaction) -> dict[str, Any]:
    moves = read_transfer(transaction.data) if transaction.calls_token else None
    return {"token_to": moves[0], "token_amount": Decimal(moves[1]) / TOKEN_UNIT} if moves else {}


def _bumps(new: int, old: int) -> bool:
    return new * 100 >= old * (100 + BUMP_PERCENT)
