"""An EVM chain: balances, nonces, a pool of signed transactions, and a block every 0.4 seconds.

It runs no code: a transaction moves its value and pays its intrinsic gas. Rules and wordings of refusals follow
go-ethereum, the client whose errors wallets know best.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from eth_account import Account

from converter.sandbox.credentials import EVM_CHAIN_ID, EVM_WALLET_KEY
from converter.sandbox.rawtx import (
    DYNAMIC_FEE,
    GAS_OF_TRANSFER,
    RawTransactionError,
    Transaction,
    address_of,
    decode_transaction,
    hash_of,
)
from converter.sandbox.truth import TruthBook

SERVICE_ID = "evm"
WEI = Decimal(10) ** 18
GWEI = 10**9
BASE_FEE = 8 * GWEI
TIP = 1 * GWEI
BLOCK_GAS = 30_000_000
BLOCK_SECONDS = 0.4
FIRST_BLOCK = 1000
WALLET_ETH = 1_000_000
BUMP_PERCENT = 10  # by which both fees of a replacement must be higher


class Refused(Exception):
    """A transaction that the chain does not take."""


@dataclass
class Block:
    """A mined block; empty ones are not kept."""

    number: int
    timestamp: int
    transactions: list[Transaction] = field(default_factory=list)


class EvmChain:
    """See `twin.Chain` for what twins use of it; the JSON-RPC side is in `rpc`."""

    def __init__(self, truth: TruthBook, now: Callable[[], float], *, speed: float = 1.0, seed: int = 7) -> None:
        self._truth, self._now, self._seed = truth, now, seed
        self._pause = BLOCK_SECONDS / speed
        self._started = now()
        self._treasury = address_of(f"treasury of sandbox {seed}".encode())
        self._owners: dict[str, str] = {}
        self._payments = 0
        self._balances: dict[str, int] = defaultdict(int)
        self._balances[_key(Account.from_key(EVM_WALLET_KEY).address)] = WALLET_ETH * 10**18
        self._nonces: dict[str, int] = defaultdict(int)
        self._pool: dict[str, dict[int, Transaction]] = defaultdict(dict)
        self._outside: list[Transaction] = []
        self._received: dict[str, list[tuple[str, Decimal]]] = defaultdict(list)
        self._mined: dict[str, tuple[Transaction, Block]] = {}
        self._blocks: dict[int, Block] = {}
        self.height = FIRST_BLOCK

    def new_address(self, owner: str) -> str:
        """A fresh, checksummed deposit address, the same on every run with the same seed."""
        address = address_of(f"{self._seed}:{len(self._owners)}:{owner}".encode())
        self._owners[address] = owner
        return address

    def received(self, address: str) -> list[tuple[str, Decimal]]:
        """Mined transfers to an address: transaction id and amount in ETH."""
        return list(self._received.get(_key(address), ()))

    def pay(self, address: str, amount: Decimal) -> str:
        """Pay from outside, in the next block; the payer's pockets are deep."""
        self._payments += 1
        txid = hash_of(f"{self._seed}:payment {self._payments}".encode())
        self._outside.append(
            Transaction(
                txid=txid,
                kind=DYNAMIC_FEE,
                sender=self._treasury,
                to=address,
                value=int(amount * WEI),
                nonce=self._payments - 1,
                gas=GAS_OF_TRANSFER,
                max_fee=BASE_FEE + TIP,
                tip=TIP,
                data=b"",
                chain_id=EVM_CHAIN_ID,
                signature=(0, 1, 1),
            )
        )
        return txid

    def send(self, raw: bytes) -> str:
        """Take a signed transaction into the pool; `Refused` says why not."""
        try:
            transaction = decode_transaction(raw)
        except RawTransactionError as error:
            raise Refused(str(error)) from error
        self._check_form(transaction)
        self._check_place(transaction)
        self._pool[_key(transaction.sender)][transaction.nonce] = transaction
        self._truth.executed(
            SERVICE_ID,
            "send",
            txid=transaction.txid,
            to=transaction.to,
            amount=Decimal(transaction.value) / WEI,
            sender=transaction.sender,
            nonce=transaction.nonce,
        )
        return transaction.txid

    def tick(self) -> None:
        """Mine the blocks that are due."""
        due = FIRST_BLOCK + int((self._now() - self._started) / self._pause)
        if due > self.height:
            self.height = due
            self._mine()

    def balance(self, address: str) -> int:
        """Mined balance in wei."""
        return self._balances.get(_key(address), 0)

    def nonce(self, address: str, *, pending: bool) -> int:
        """Next nonce of an address; with `pending`, after everything in the pool that can be mined."""
        address = _key(address)
        nonce = self._nonces.get(address, 0)
        while pending and nonce in self._pool.get(address, {}):
            nonce += 1
        return nonce

    def find(self, txid: str) -> tuple[Transaction, Block | None] | None:
        """A transaction and its block; None instead of the block while it waits."""
        if mined := self._mined.get(txid):
            return mined
        waiting = [*self._outside, *(item for queue in self._pool.values() for item in queue.values())]
        return next(((item, None) for item in waiting if item.txid == txid), None)

    def block(self, number: int) -> Block | None:
        """A block up to the present height."""
        if not 0 <= number <= self.height:
            return None
        timestamp = int(self._started + (number - FIRST_BLOCK) * self._pause)
        return self._blocks.get(number) or Block(number, timestamp)

    def _check_form(self, transaction: Transaction) -> None:
        if transaction.chain_id is None:
            raise Refused("only replay-protected (EIP-155) transactions allowed over RPC")
        if transaction.chain_id != EVM_CHAIN_ID:
            raise Refused(f"invalid chain id for signer: have {transaction.chain_id} want {EVM_CHAIN_ID}")
        if transaction.tip > transaction.max_fee:
            raise Refused("max priority fee per gas higher than max fee per gas")
        if transaction.gas > BLOCK_GAS:
            raise Refused("exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise Refused(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {transaction.intrinsic_gas}")

    def _check_place(self, transaction: Transaction) -> None:
        """Nonce and funds, given what is mined and what waits."""
        sender = _key(transaction.sender)
        queue = self._pool[sender]
        if any(item.txid == transaction.txid for item in queue.values()):
            raise Refused("already known")
        following = self._nonces[sender]
        if transaction.nonce < following:
            raise Refused(f"nonce too low: next nonce {following}, tx nonce {transaction.nonce}")
        replaced = queue.get(transaction.nonce)
        if replaced and not (_bumps(transaction.max_fee, replaced.max_fee) and _bumps(transaction.tip, replaced.tip)):
            raise Refused("replacement transaction underpriced")
        balance = self.balance(transaction.sender)
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
        for sender, queue in self._pool.items():
            while (ready := queue.get(self._nonces[sender])) and ready.max_fee >= BASE_FEE:
                del queue[ready.nonce]
                self._nonces[sender] += 1
                self._balances[sender] -= ready.value + ready.intrinsic_gas * price_of(ready)
                block.transactions.append(ready)
        for transaction in block.transactions:
            self._mined[transaction.txid] = (transaction, block)
            if transaction.to:
                receiver = _key(transaction.to)
                self._balances[receiver] += transaction.value
                self._received[receiver].append((transaction.txid, Decimal(transaction.value) / WEI))
        if block.transactions:
            self._blocks[block.number] = block


def price_of(transaction: Transaction) -> int:
    """What a unit of gas costs the sender, in wei."""
    return min(transaction.max_fee, BASE_FEE + transaction.tip)


def _bumps(new: int, old: int) -> bool:
    return new * 100 >= old * (100 + BUMP_PERCENT)


def _key(address: str) -> str:
    """Addresses are kept in lower case: the checksum is in the letters' case and not all clients write it."""
    return address.lower()
