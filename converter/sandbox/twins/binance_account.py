"""The Binance twin's one account: balances and the answers about it.

Source: `services/binance.md` sections 2, 5.4 and 10. Inferred here: the start balances, and the shape of what the
account answer carries beside the fields that the sheet names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from converter.sandbox.twins.binance_auth import BinanceError, Endpoint, Params, ServerClock, flat
from converter.sandbox.twins.binance_book import Book, eight

COMMISSION = Decimal("0.001")
_START = {
    "BTC": "10000",
    "ETH": "100000",
    "LTC": "100000",
    "BCH": "100000",
    "DOGE": "1000000000",
    "RVN": "1000000000",
    "ETC": "1000000",
    "USDT": "100000000",
}


@dataclass
class Balance:
    """What the account has of one coin."""

    free: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)
    withdrawing: Decimal = Decimal(0)


@dataclass
class Account:
    """Balances per coin."""

    balances: dict[str, Balance] = field(
        default_factory=lambda: {coin: Balance(Decimal(amount)) for coin, amount in _START.items()}
    )

    def free(self, coin: str) -> Decimal:
        """What can be spent now."""
        return self.balances[coin].free

    def need(self, coin: str, amount: Decimal) -> None:
        """Refuse an order that the free balance does not cover."""
        if amount > self.balances[coin].free:
            raise BinanceError(-2010, "Account has insufficient balance for requested action.")

    def add(self, coin: str, amount: Decimal) -> None:
        """Book an amount, or with a minus sign take it."""
        self.balances[coin].free += amount

    def lock(self, coin: str, amount: Decimal) -> None:
        """Set aside for an open order, or with a minus sign give back."""
        self.balances[coin].free -= amount
        self.balances[coin].locked += amount

    def withdraw(self, coin: str, amount: Decimal) -> None:
        """Set aside for a withdrawal, or with a minus sign give back."""
        self.balances[coin].free -= amount
        self.balances[coin].withdrawing += amount

    def withdrawn(self, coin: str, amount: Decimal) -> None:
        """A withdrawal has left."""
        self.balances[coin].withdrawing -= amount

    def set_free(self, free: Mapping[str, Decimal]) -> None:
        """Put free balances to given amounts."""
        for coin, amount in free.items():
            self.balances[coin].free = amount


class AccountDesk:
    """The endpoints that only tell about the account."""

    def __init__(self, account: Account, book: Book, clock: ServerClock) -> None:
        self._account = account
        self._book = book
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """Account, fees, permissions."""
        one = flat(1)
        restrictions = "/sapi/v1/account/apiRestrictions"
        questionnaire = "/sapi/v1/localentity/questionnaire-requirements"
        return [
            Endpoint("GET", "/api/v3/account", "info", self._show, flat(20), signed=True),
            Endpoint("GET", "/sapi/v1/asset/tradeFee", "info", self._trade_fee, one, signed=True, counter="ip"),
            Endpoint("GET", restrictions, "info", self._restrictions, one, signed=True, counter="ip"),
            Endpoint("GET", questionnaire, "info", self._questionnaire, one, signed=True, counter="ip"),
        ]

    def _show(self, params: Params) -> dict[str, Any]:
        shown = [
            {"asset": coin, "free": eight(balance.free), "locked": eight(balance.locked)}
            for coin, balance in self._account.balances.items()
            if params.values.get("omitZeroBalances") != "true" or balance.free or balance.locked
        ]
        rate = eight(COMMISSION)
        none = eight(Decimal(0))
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": rate, "taker": rate, "buyer": none, "seller": none},
            "canTrade": True,
            "canWithdraw": True,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": self._clock.ms(),
            "accountType": "SPOT",
            "balances": shown,
            "permissions": ["SPOT"],
            "uid": 354937868,
        }

    def _trade_fee(self, params: Params) -> list[dict[str, str]]:
        wanted = params.text("symbol")
        symbols = [self._book.named(wanted)] if wanted else self._book.symbols
        rate = f"{COMMISSION:f}"
        return [{"symbol": symbol.name, "makerCommission": rate, "takerCommission": rate} for symbol in symbols]

    def _restrictions(self, params: Params) -> dict[str, Any]:  # noqa: ARG002
        return {
            "ipRestrict": True,
            "createTime": 1700000000000,
            "enableReading": True,
            "enableWithdrawals": True,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableSpotAndMarginTrading": True,
        }

    def _questionnaire(self, params: Params) -> dict[str, str]:  # noqa: ARG002
        return {"questionnaireCountryCode": "NIL"}
