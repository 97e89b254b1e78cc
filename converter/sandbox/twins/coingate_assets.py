"""What CoinGate lists: currencies, platforms, pairs and rates; and the errors of its API.

Source: `services/coingate.md` sections 2, 3 and 10. From the sheet: the live ids of BTC, ETH, LTC, USDT and of the
platforms bitcoin, ethereum and arbitrum; EUR has the id that the sheet shows for the service's own sandbox. Inferred
here: all other ids; the pairs beside those of the sample; the address shapes (prefix, alphabet and length only); a
spread of 0.3 % inside the rate; eight decimals for every coin but USDT, which has six; a euro at 1.08 dollars. RVN is
not among the coins that the sheet knows and is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.carriers import Carrier, carrier_of
from converter.sandbox.twin import World

SERVICE_ID = "coingate"
SPREAD = Decimal("0.003")
WOBBLE = Decimal("0.004")
DOLLARS_PER_EURO = Decimal("1.08")
_RATE_DIGITS = 12

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_BECH = "[02-9ac-hj-np-z]"
_ADDRESS = {
    "BTC": rf"bc1{_BECH}{{11,71}}|[13]{_B58}{{25,34}}",
    "LTC": rf"ltc1{_BECH}{{11,71}}|[LM3]{_B58}{{25,34}}",
    "DOGE": rf"[DA9]{_B58}{{25,34}}",
    "BCH": rf"(bitcoincash:)?[qp]{_BECH}{{41}}|[13]{_B58}{{25,34}}",
    "ETH": r"0x[0-9a-fA-F]{40}",
    "ARB": r"0x[0-9a-fA-F]{40}",
    "TRX": rf"T{_B58}{{33}}",
}


class ApiError(Exception):
    """A no in the service's wording: HTTP status, `reason`, and a list or a map of errors."""

    def __init__(self, status: int, reason: str, errors: Any = None, message: str = "") -> None:
        super().__init__(reason)
        self.status = status
        words = re.sub(r"(?<!^)([A-Z])", r" \1", reason).capitalize()
        self.body: dict[str, Any] = {"message": message or words, "reason": reason}
        if errors is not None:
            self.body["errors"] = errors


@dataclass(frozen=True)
class Platform:
    """A chain, as the service names it."""

    platform_id: int
    id_name: str
    title: str
    network: str

    def show(self) -> dict[str, Any]:
        """The platform's JSON."""
        return {"id": self.platform_id, "id_name": self.id_name, "title": self.title, "enabled": True}

    def accepts(self, address: str) -> bool:
        """Whether an address has the shape of this chain."""
        return re.fullmatch(_ADDRESS[self.network], address) is not None


@dataclass(frozen=True)
class Currency:
    """A coin on one or several platforms, or a state's money on none."""

    currency_id: int
    symbol: str
    title: str
    platforms: tuple[Platform, ...]
    kind: str = "crypto"

    def show(self) -> dict[str, Any]:
        """The currency as other objects carry it."""
        return {
            "id": self.currency_id,
            "title": self.title,
            "kind": self.kind,
            "symbol": self.symbol,
            "enabled": True,
            "disabled_message": None,
        }

    @property
    def unit(self) -> Decimal:
        """The smallest step of an amount."""
        return Decimal("0.000001" if self.symbol == "USDT" else "0.00000001")

    def show_with_platforms(self) -> dict[str, Any]:
        """The currency as the lists of supported currencies carry it."""
        return self.show() | {"platforms": [platform.show() for platform in self.platforms]}

    def carrier(self, world: World, platform: Platform) -> Carrier | None:
        """The sandbox's chain that really carries the coin on this platform, if there is one."""
        return carrier_of(world, platform.network, "a token" if self.symbol == "USDT" else None)


_ETHEREUM = Platform(1, "ethereum", "Ethereum", "ETH")
_BITCOIN = Platform(5, "bitcoin", "Bitcoin", "BTC")
_LITECOIN = Platform(6, "litecoin", "Litecoin", "LTC")
_DOGECOIN = Platform(9, "dogecoin", "Dogecoin", "DOGE")
_BITCOIN_CASH = Platform(10, "bitcoin_cash", "Bitcoin Cash", "BCH")
_TRON = Platform(12, "tron", "TRON", "TRX")
_ARBITRUM = Platform(40, "arbitrum", "Arbitrum", "ARB")
PLATFORMS = (_ETHEREUM, _BITCOIN, _LITECOIN, _DOGECOIN, _BITCOIN_CASH, _TRON, _ARBITRUM)

COINS = (
    Currency(8, "BTC", "Bitcoin", (_BITCOIN,)),
    Currency(50, "ETH", "Ethereum", (_ETHEREUM, _ARBITRUM)),
    Currency(49, "LTC", "Litecoin", (_LITECOIN,)),
    Currency(52, "DOGE", "Dogecoin", (_DOGECOIN,)),
    Currency(53, "BCH", "Bitcoin Cash", (_BITCOIN_CASH,)),
    Currency(97, "USDT", "Tether", (_ETHEREUM, _TRON)),
)
EURO = Currency(2, "EUR", "Euro", (), "fiat")
CURRENCIES = (*COINS, EURO)
_PAIRS = {
    "BTC": ("ETH", "LTC", "DOGE", "BCH", "USDT", "EUR"),
    "ETH": ("BTC", "LTC", "USDT", "EUR"),
    "LTC": ("BTC", "ETH", "USDT", "EUR"),
    "DOGE": ("BTC", "USDT", "EUR"),
    "BCH": ("BTC", "USDT", "EUR"),
    "USDT": ("BTC", "ETH", "LTC", "EUR"),
}


def currency_of(value: object, among: tuple[Currency, ...] = CURRENCIES) -> Currency | None:
    """The currency of an id, which may come as a number or as text."""
    return next((item for item in among if str(value) == str(item.currency_id)), None)


def plain(amount: Decimal) -> str:
    """A decimal text without trailing zeros, but with a point, as the service writes amounts."""
    text = f"{amount:f}"
    text = text.rstrip("0") if "." in text else f"{text}."
    return f"{text}0" if text.endswith(".") else text


class Rates:
    """The service's rates; a pair that it does not offer is None."""

    def __init__(self, world: World) -> None:
        self._world = world

    def mid(self, base: Currency, quote: Currency) -> Decimal:
        """The market's rate, in which a euro is 1.08 USDT."""
        return self._in_dollars(base) / self._in_dollars(quote)

    def rate(self, base: Currency, quote: Currency) -> Decimal | None:
        """Units of the quote currency for one of the base, before fees."""
        if base == quote:
            return Decimal(1)
        if quote.symbol not in _PAIRS.get(base.symbol, ()):
            return None
        drift = self._world.market.wobble(SERVICE_ID, WOBBLE) * self._world.wrong_rate(SERVICE_ID)
        rate = self.mid(base, quote) * (1 - SPREAD) * drift
        return rate.quantize(Decimal(1).scaleb(rate.adjusted() - _RATE_DIGITS))

    def needed(self, base: Currency, quote: Currency) -> Decimal:
        """The rate of a pair that must exist; ApiError 422 says that it does not."""
        rate = self.rate(base, quote)
        if rate is None:
            text = f"The {base.symbol}/{quote.symbol} conversion pair is not supported on CoinGate."
            raise ApiError(422, "LedgerConversionIsNotValid", [text])
        return rate

    def table(self) -> dict[str, dict[str, str]]:
        """All pairs."""
        rows: dict[str, dict[str, str]] = {}
        for base in COINS:
            for quote in CURRENCIES:
                rate = self.rate(base, quote) if base != quote else None
                if rate is not None:
                    rows.setdefault(base.symbol, {})[quote.symbol] = plain(rate)
        return rows

    def _in_dollars(self, currency: Currency) -> Decimal:
        if currency == EURO:
            return DOLLARS_PER_EURO
        return Decimal(1) if currency.symbol == "USDT" else self._world.market.rate(currency.symbol, "USDT")
