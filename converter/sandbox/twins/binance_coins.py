"""Coins, networks and withdrawal limits of the Binance twin.

Source: `services/binance.md` section 3 (config/getall) and 5.4. Inferred here: the figures of every network except
those of the sheet's Tron example, and address expressions that check prefix, alphabet and length only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.twins.binance_account import Account, Balance

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_BECH = "[02-9ac-hj-np-z]"
_B58_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class Network:
    """A chain on which a coin can be withdrawn."""

    coin: str
    code: str
    name: str
    fee: Decimal
    minimum: Decimal
    maximum: Decimal
    multiple: Decimal
    address_regex: str
    prefix: str  # of a made-up deposit address
    default: bool = True
    contract: str = ""

    @property
    def on_account_chain(self) -> bool:
        """Whether the sandbox's chain can really carry it: only the chain's own coin."""
        return self.coin == "ETH" and self.code == "ETH"

    def deposit_address(self) -> str:
        """A plausible address, the same every time; nobody watches it."""
        digest = hashlib.sha256(f"deposit {self.coin} {self.code}".encode()).hexdigest()
        if self.prefix == "0x":
            return "0x" + digest[:40]
        number = int(digest, 16)
        return self.prefix + "".join(_B58_LETTERS[number // 58**i % 58] for i in range(34 - len(self.prefix)))

    def listing(self, *, enabled: bool) -> dict[str, Any]:
        """One row of a coin's network list."""
        return {
            "network": self.code,
            "coin": self.coin,
            "name": self.name,
            "isDefault": self.default,
            "depositEnable": True,
            "withdrawEnable": enabled,
            "depositDesc": "",
            "withdrawDesc": "" if enabled else "Wallet maintenance, withdrawals suspended",
            "specialTips": "",
            "withdrawFee": plain(self.fee),
            "withdrawMin": plain(self.minimum),
            "withdrawMax": plain(self.maximum),
            "withdrawInternalMin": plain(self.multiple),
            "withdrawIntegerMultiple": plain(self.multiple),
            "minConfirm": 1,
            "unLockConfirm": 0,
            "addressRegex": self.address_regex,
            "memoRegex": "",
            "withdrawTag": False,
            "sameAddress": False,
            "estimatedArrivalTime": 1,
            "busy": False,
            "depositDust": plain(self.multiple),
            "contractAddress": self.contract,
            "denomination": 1,
        }


def plain(amount: Decimal) -> str:
    """An amount as the wallet paths write it: text without trailing zeros."""
    return f"{amount.normalize():f}" if amount else "0"


def _network(coin: str, name: str, limits: str, address_regex: str, prefix: str) -> Network:
    fee, minimum, maximum, multiple = map(Decimal, limits.split())
    return Network(coin, coin, name, fee, minimum, maximum, multiple, f"^({address_regex})$", prefix)


_EVM = "0x[0-9A-Fa-f]{40}"
_LIMITS = {  # fee, minimum, maximum, multiple
    "BTC": "0.0001 0.0005 7500 0.00000001",
    "ETH": "0.0008 0.005 100000 0.00000001",
    "LTC": "0.001 0.002 100000 0.00000001",
    "BCH": "0.001 0.002 100000 0.00000001",
    "DOGE": "4 8 100000000 0.00000001",
    "RVN": "1 2 100000000 0.00000001",
    "ETC": "0.01 0.02 1000000 0.00000001",
}
NETWORKS = (
    _network("BTC", "Bitcoin", _LIMITS["BTC"], rf"bc1{_BECH}{{11,71}}|[13]{_B58}{{25,34}}", "1"),
    _network("ETH", "Ethereum (ERC20)", _LIMITS["ETH"], _EVM, "0x"),
    _network("LTC", "Litecoin", _LIMITS["LTC"], rf"ltc1{_BECH}{{11,71}}|[LM3]{_B58}{{25,34}}", "L"),
    _network("BCH", "Bitcoin Cash", _LIMITS["BCH"], rf"(bitcoincash:)?[qp]{_BECH}{{41}}|[13]{_B58}{{25,34}}", "1"),
    _network("DOGE", "Dogecoin", _LIMITS["DOGE"], rf"[DA9]{_B58}{{25,34}}", "D"),
    _network("RVN", "Ravencoin", _LIMITS["RVN"], rf"R{_B58}{{25,34}}", "R"),
    _network("ETC", "Ethereum Classic", _LIMITS["ETC"], _EVM, "0x"),
    Network(
        coin="USDT",
        code="ETH",
        name="Ethereum (ERC20)",
        fee=Decimal(4),
        minimum=Decimal(10),
        maximum=Decimal(9999999),
        multiple=Decimal("0.000001"),
        address_regex=f"^({_EVM})$",
        prefix="0x",
        contract="0xdac17f958d2ee523a2206206994597c13d831ec7",
    ),
    Network(
        coin="USDT",
        code="TRX",
        name="Tron (TRC20)",
        fee=Decimal(1),
        minimum=Decimal(10),
        maximum=Decimal(9999999),
        multiple=Decimal("0.000001"),
        address_regex=f"^T{_B58}{{33}}$",
        prefix="T",
        default=False,
        contract="TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    ),
)
_NAMES = {network.coin: network.name for network in reversed(NETWORKS)} | {"USDT": "TetherUS", "ETH": "Ethereum"}


def network_of(coin: str, code: str | None) -> Network | None:
    """The network of a coin, its default one when none is named; None when there is none."""
    rows = [network for network in NETWORKS if network.coin == coin]
    return next((row for row in rows if (row.default if code is None else row.code == code)), None)


def coin_listings(account: Account, closed: Collection[str]) -> list[dict[str, Any]]:
    """All coins with balances and networks, as config/getall answers; `closed` coins cannot be withdrawn."""
    return [_coin_listing(coin, balance, coin not in closed) for coin, balance in account.balances.items()]


def _coin_listing(coin: str, balance: Balance, enabled: bool) -> dict[str, Any]:
    return {
        "coin": coin,
        "name": _NAMES[coin],
        "depositAllEnable": True,
        "withdrawAllEnable": enabled,
        "free": plain(balance.free),
        "locked": plain(balance.locked),
        "freeze": "0",
        "withdrawing": plain(balance.withdrawing),
        "ipoing": "0",
        "ipoable": "0",
        "storage": "0",
        "trading": True,
        "isLegalMoney": False,
        "networkList": [network.listing(enabled=enabled) for network in NETWORKS if network.coin == coin],
    }
