"""What twins use of an EVM chain: deposit addresses, what arrived at them, and payments from outside."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from decimal import Decimal

from eth_utils.address import to_checksum_address

from converter.sandbox.credentials import EVM_WALLET_ADDRESS
from converter.sandbox.evm_networks import ETH, TIP, Network
from converter.sandbox.locking import serialised
from converter.sandbox.rawtx import (
    DYNAMIC_FEE,
    GAS_OF_TRANSFER,
    TOKEN_UNIT,
    WEI,
    Accounts,
    Transaction,
    address_of,
    hash_of,
    key,
    transfer_call,
)

WALLET_COINS = 1_000_000
WALLET_USDT = 1_000_000_000
GAS_OF_PAYMENT = 100_000


@dataclass
class Block:
    """A mined block; empty ones are not kept."""

    number: int
    timestamp: int
    transactions: list[Transaction] = field(default_factory=list)


class DepositSide:
    """What twins use of the chain; see `twin.AccountChain`. Payments from outside come from a deep treasury."""

    def __init__(self, seed: int, network: Network = ETH) -> None:
        self.network = network
        self.lock = threading.RLock()
        self._seed = seed
        self._name = f"{seed}" if network is ETH else f"{network.ticker} {seed}"
        self._treasury = address_of(f"treasury of sandbox {self._name}".encode())
        self._addresses = self._payments = 0
        self._outside: list[Transaction] = []
        self._mined: dict[str, tuple[Transaction, Block]] = {}
        self.accounts = self._start()

    @serialised
    def new_address(self, owner: str) -> str:
        """A fresh, checksummed deposit address, the same on every run with the same seed."""
        self._addresses += 1
        return address_of(f"{self._name}:{self._addresses}:{owner}".encode())

    def received(self, address: str) -> list[tuple[str, Decimal]]:
        """Mined transfers to an address: transaction id and amount in whole coins."""
        return [(txid, amount) for txid, amount, _ in self.received_with_data(address)]

    @serialised
    def received_with_data(self, address: str) -> list[tuple[str, Decimal, bytes]]:
        """Like `received`, with each transfer's calldata."""
        return list(self.accounts.received.get(key(address), ()))

    @serialised
    def received_token(self, address: str) -> list[tuple[str, Decimal]]:
        """Mined USDT transfers to an address: transaction id and amount in whole dollars."""
        return list(self.accounts.received_tokens.get(key(address), ()))

    def pay(self, address: str, amount: Decimal) -> str:
        """Pay from outside, in the next block; the payer's pockets are deep. ValueError: no such address."""
        return self._pay(checked_address(address), int(amount * WEI), b"")

    def pay_token(self, address: str, amount: Decimal) -> str:
        """Pay USDT from outside, in the next block. ValueError: no such address, or a chain without the token."""
        if self.network.token is None:
            raise ValueError(f"{self.network.ticker}: this chain has no token")
        return self._pay(self.network.token, 0, transfer_call(checked_address(address), int(amount * TOKEN_UNIT)))

    @serialised
    def sender(self, txid: str) -> str | None:
        """Who sent a mined transaction."""
        found = self._mined.get(txid)
        return found[0].sender if found else None

    def _start(self) -> Accounts:
        wallet, token = key(EVM_WALLET_ADDRESS), self.network.token
        tokens = {wallet: WALLET_USDT * TOKEN_UNIT} if token else {}
        return Accounts({wallet: WALLET_COINS * 10**18}, tokens, key(self._treasury))

    @serialised
    def _pay(self, to: str, value: int, data: bytes) -> str:
        self._payments += 1
        network, nonce = self.network, self._payments - 1
        payment = Transaction(
            txid=hash_of(f"{self._name}:payment {self._payments}".encode()),
            kind=DYNAMIC_FEE,
            sender=self._treasury,
            to=to,
            value=value,
            nonce=nonce,
            gas=GAS_OF_TRANSFER if not data else GAS_OF_PAYMENT,
            max_fee=network.gas_price,
            tip=TIP,
            data=data,
            chain_id=network.chain_id,
            signature=(0, 1, 1),
            token=network.token,
        )
        if network.base_fee is None:
            payment = replace(payment, kind=0, tip=network.gas_price, signature=(35 + 2 * network.chain_id, 1, 1))
        self._outside.append(payment)
        return payment.txid


def checked_address(text: str) -> str:
    """The checksummed spelling; ValueError when it is no address."""
    return str(to_checksum_address(text))
