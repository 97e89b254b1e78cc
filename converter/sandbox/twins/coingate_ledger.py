"""The merchant's ledger at CoinGate: accounts, what is reserved, and the entries of all movements.

Source: `services/coingate.md` section 4: money in stands in `debited_amount`, money out in `credited_amount`, and
`closing_balance` is to be trusted. Inferred here: the words of `purpose`, `type` and `source_type`; the balance shown
is before reservations; entries are newest first. The BTC account has the id of the sheet's examples. Deposits arrive at
the addresses that `describe` shows, which stand for those of the service's dashboard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from converter.sandbox.twin import Request, World
from converter.sandbox.twins.coingate_assets import COINS, SERVICE_ID, ApiError, Currency, plain
from converter.sandbox.twins.coingate_input import page_of

BALANCE = Decimal(1_000_000)
_BTC_ACCOUNT = "01HZX3V3T4K7Q8M2N5P6R9S0AB"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def iso(moment: float) -> str:
    """Unix seconds as the service's ISO 8601 text."""
    return datetime.fromtimestamp(int(moment), UTC).isoformat()


@dataclass
class Account:
    """One balance. `reserved` is what pending conversions hold."""

    account_id: str
    currency: Currency
    balance: Decimal
    address: str | None
    reserved: Decimal = Decimal(0)
    seen: set[str] = field(default_factory=set)

    @property
    def free(self) -> Decimal:
        """What can be spent."""
        return self.balance - self.reserved

    def show(self) -> dict[str, Any]:
        """The account's JSON."""
        return {
            "id": self.account_id,
            "balance": plain(self.balance),
            "status": "active",
            "account_type": "main",
            "title": self.currency.symbol,
            "currency": self.currency.show(),
        }


class Ledger:
    """One account of every coin, and the entries."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seed = f"{SERVICE_ID}:{world.now()}"
        self._count = 0
        self._entries: list[dict[str, Any]] = []
        self._accounts: dict[str, Account] = {}
        for coin in COINS:
            carrier = coin.carrier(world, coin.platforms[0])
            address = carrier.new_address(SERVICE_ID) if carrier else None
            account_id = _BTC_ACCOUNT if coin.symbol == "BTC" else self.new_ulid()
            self._accounts[account_id] = Account(account_id, coin, BALANCE, address)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def digest(self) -> int:
        """A number that no other call of any run has given."""
        self._count += 1
        return int.from_bytes(hashlib.sha256(f"{self._seed}:{self._count}".encode()).digest())

    def new_ulid(self) -> str:
        """A fresh id of the ledger's objects."""
        head, digest = int(self._world.now() * 1000), self.digest()
        number = head << 80 | digest % 2**80
        return "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(26)))

    def get(self, account_id: object) -> Account:
        """The account of an id; ApiError 404 when there is none."""
        account = self._accounts.get(str(account_id))
        if account is None:
            raise ApiError(404, "LedgerAccountNotFound")
        return account

    def of(self, currency: Currency) -> Account:
        """The account of a coin."""
        return next(account for account in self if account.currency == currency)

    def move(self, account: Account, amount: Decimal, source: tuple[str, Any], purpose: str) -> None:
        """Book an amount, in or (below 0) out; `source` is the kind and the id of what caused it."""
        if not amount:
            return
        account.balance += amount
        entry = {
            "id": self.new_ulid(),
            "created_at": iso(self._world.now()),
            "purpose": purpose,
            "type": "debit" if amount > 0 else "credit",
            "source_type": source[0],
            "source_id": source[1],
            "account": {"id": account.account_id, "title": account.currency.symbol},
            "currency": account.currency.show(),
            "credited_amount": plain(max(-amount, Decimal(0))),
            "debited_amount": plain(max(amount, Decimal(0))),
            "closing_balance": plain(account.balance),
        }
        self._entries.append(entry)

    def tick(self) -> None:
        """See deposits."""
        for account in self:
            carrier = account.currency.carrier(self._world, account.currency.platforms[0])
            for txid, amount in carrier.received(account.address) if carrier and account.address else []:
                if txid not in account.seen:
                    account.seen.add(txid)
                    self.move(account, amount, ("deposit", txid), "deposit")

    def show_accounts(self, request: Request) -> dict[str, Any]:
        """The list of accounts."""
        return page_of(request, "accounts", [account.show() for account in self], "total_accounts")

    def show_entries(self, request: Request) -> dict[str, Any]:
        """The list of entries, narrowed by `currency`, `source_type` and `source_id`."""
        rows = self._entries if request.one("sort") == "created_at_asc" else self._entries[::-1]
        for name in ("source_type", "source_id"):
            if wanted := request.one(name):
                rows = [row for row in rows if str(row[name]) == wanted]
        if symbol := request.one("currency"):
            rows = [row for row in rows if row["currency"]["symbol"] == symbol]
        return page_of(request, "transactions", rows)
