"""Wallets of the CoinPayments twin: balances, deposit addresses, how they are shown.

Source: `services/coinpayments.md` section B4. One wallet of every currency exists from the start, as if this
integration had made it long ago, filled by `configure`. Inferred here: `value` and `valueAsDecimal` of a balance as the
sheet reads them; a new wallet starts empty; deposits are seen once they are mined, and confirmed at once. The BTC
wallet has the id of the sheet's examples.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from converter.sandbox.carriers import made_up_address
from converter.sandbox.twin import World
from converter.sandbox.twins.coinpayments_assets import CURRENCIES, Currency, plain
from converter.sandbox.twins.coinpayments_auth import SERVICE_ID, Problem

BALANCE = Decimal(1_000_000)
BTC_WALLET_ID = "0a54b29f-51cb-44a8-9bed-111c5cb1b335"
OWNER_ID = "5a1f8b1e-6c1b-4a53-8f0e-2f6a6f3d9c01"


@dataclass
class Wallet:
    """One wallet of one currency."""

    wallet_id: str
    currency: Currency
    address: str
    balance: Decimal
    label: str = ""
    webhook_url: str | None = None
    locked: bool = False
    seen: set[str] = field(default_factory=set)

    def view(self) -> dict[str, Any]:
        """The wallet's JSON."""
        confirmed, none = self._amount(self.balance), self._amount(Decimal(0))
        return {
            "walletId": self.wallet_id,
            "walletType": "singleSigCryptoWallet",
            "currencyId": self.currency.number,
            "isActive": True,
            "isLocked": self.locked,
            "label": self.label,
            "depositAddress": self.address,
            "confirmedBalance": confirmed,
            "unconfirmedBalance": none,
            "confirmedNativeBalance": none | {"currencyId": "5057"},
            "unconfirmedNativeBalance": none | {"currencyId": "5057"},
            "confirmedTokens": [],
            "unconfirmedTokens": [],
            "canCreateAddress": True,
            "isVaultLocked": False,
            "vaultLockoutEndDateTime": None,
            "contractAddress": self.currency.contract,
            "hasActiveAddress": True,
        }

    def _amount(self, amount: Decimal) -> dict[str, str]:
        return {
            "displayValue": f"{plain(amount)} {self.currency.symbol}",
            "value": str(int(amount / self.currency.unit)),
            "currencyId": self.currency.currency_id,
            "valueAsDecimal": plain(amount),
        }


class Wallets:
    """All wallets of the integration."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seed = f"{SERVICE_ID}:{world.now()}"
        self._count = 0
        self._all: dict[str, Wallet] = {}
        for currency in CURRENCIES:
            wallet = self.add(currency, BALANCE)
            if currency.symbol == "BTC":
                del self._all[wallet.wallet_id]
                wallet.wallet_id = BTC_WALLET_ID
                self._all[BTC_WALLET_ID] = wallet

    def __iter__(self) -> Iterator[Wallet]:
        return iter(self._all.values())

    def digest(self) -> int:
        """A number that no other call of any run has given."""
        self._count += 1
        return int.from_bytes(hashlib.sha256(f"{self._seed}:{self._count}".encode()).digest())

    def new_uuid(self) -> str:
        """A fresh id."""
        return str(uuid.UUID(int=self.digest() % 2**128, version=4))

    def add(self, currency: Currency, balance: Decimal = Decimal(0)) -> Wallet:
        """Make a wallet with a deposit address."""
        wallet = Wallet(self.new_uuid(), currency, self._new_address(currency), balance)
        self._all[wallet.wallet_id] = wallet
        return wallet

    def get(self, wallet_id: str) -> Wallet:
        """The wallet of an id; Problem 404 when there is none."""
        wallet = self._all.get(wallet_id.lower())
        if wallet is None:
            raise Problem(404, "walletNotFound", "The wallet does not exist")
        return wallet

    def deposits(self) -> Iterator[tuple[Wallet, str, Decimal]]:
        """Deposits that arrived since the last call, already credited."""
        for wallet in self:
            chain = wallet.currency.carrier(self._world)
            for txid, amount in chain.received(wallet.address) if chain else []:
                if txid not in wallet.seen:
                    wallet.seen.add(txid)
                    wallet.balance += amount
                    yield wallet, txid, amount

    def _new_address(self, currency: Currency) -> str:
        chain = currency.carrier(self._world)
        return chain.new_address(SERVICE_ID) if chain else made_up_address(currency.network, self.digest())
