"""Saved addresses and withdrawals of the Kraken twin. Source: `services/kraken.md` sections 5.4 and 7."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.twins.kraken_assets import Method

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


@dataclass(frozen=True)
class SavedAddress:
    """A withdrawal key: an address that the account's owner has saved."""

    name: str
    method: Method
    address: str
    verified: bool = True


@dataclass
class Withdrawal:
    """One withdrawal, accepted and on its way."""

    refid: str
    saved: SavedAddress
    gross: Decimal
    time: int
    due: float
    status: str = "Initial"
    prop: str | None = None
    txid: str = ""

    @property
    def net(self) -> Decimal:
        """What the receiver gets."""
        return self.gross - self.saved.method.fee

    def view(self) -> dict[str, Any]:
        """A row of WithdrawStatus."""
        method = self.saved.method
        row = {
            "method": method.name,
            "network": method.network,
            "aclass": "currency",
            "asset": method.asset_id,
            "refid": self.refid,
            "txid": self.txid,
            "info": self.saved.address,
            "amount": f"{self.net:.8f}",
            "fee": f"{method.fee:.8f}",
            "time": self.time,
            "status": self.status,
            "key": self.saved.name,
        }
        return row | ({"status-prop": self.prop} if self.prop else {})


def refid_of(text: str) -> str:
    """An id in the pattern of the service that depends on the text alone."""
    digest = hashlib.sha256(f"withdrawal {text}".encode()).digest()
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:28])
    return f"FT{letters[:5]}-{letters[5:]}"
