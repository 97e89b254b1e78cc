"""What CoinPayments lists: currencies with their ids, decimals and address shapes, and the prices between them.

Source: `services/coinpayments.md` sections B3, B5 and B11. From the sheet: ids 1 (BTC), 4 (ETH, tokens as `4:0x…`),
1002 (LTCT), 5057 (USD). Inferred here: all other ids, the network fees except 0.0024 ETH, the address shapes (prefix,
alphabet and length only), a spread of 0.3 % inside the rate, limits worth 0.005 to 2000 ETH in smallest units, that a
token is one asset with its network's fee in its own coin, and that LTCT converts to nothing. The service fee is 0.5 %
of what is sent, for conversions alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.carriers import Carrier, carrier_of
from converter.sandbox.twin import World
from converter.sandbox.twins.coinpayments_auth import SERVICE_ID, Problem

FEE = Decimal("0.005")
SPREAD = Decimal("0.003")
WOBBLE = Decimal("0.004")
USD_ID = "5057"
_LIMITS_IN_ETH = (Decimal("0.005"), Decimal(2000))
_RATE_DIGITS = 12

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_BECH = "[02-9ac-hj-np-z]"
_ADDRESS = {
    "BTC": rf"bc1{_BECH}{{11,71}}|[13]{_B58}{{25,34}}",
    "LTC": rf"ltc1{_BECH}{{11,71}}|[LM3]{_B58}{{25,34}}",
    "DOGE": rf"[DA9]{_B58}{{25,34}}",
    "BCH": rf"(bitcoincash:)?[qp]{_BECH}{{41}}|[13]{_B58}{{25,34}}",
    "RVN": rf"R{_B58}{{25,34}}",
    "ETH": r"0x[0-9a-fA-F]{40}",
    "ETC": r"0x[0-9a-fA-F]{40}",
    "TRX": rf"T{_B58}{{33}}",
    "LTCT": rf"tltc1{_BECH}{{11,71}}|[mn2Q]{_B58}{{25,34}}",
}


@dataclass(frozen=True)
class Currency:
    """A coin, or a token of a network. `number` is the id of its network's coin."""

    number: str
    symbol: str
    name: str
    network: str
    decimals: int
    confirmations: int
    network_fee: Decimal
    contract: str | None = None

    @property
    def currency_id(self) -> str:
        """The id under which version 2 and the public lists know it."""
        return f"{self.number}:{self.contract}" if self.contract else self.number

    @property
    def unit(self) -> Decimal:
        """The smallest unit in whole coins."""
        return Decimal(1).scaleb(-self.decimals)

    @property
    def step(self) -> Decimal:
        """The step to which amounts are computed: eight decimals, or fewer where the coin has fewer."""
        return Decimal(1).scaleb(-min(8, self.decimals))

    def accepts(self, address: str) -> bool:
        """Whether an address has the shape of this network."""
        return re.fullmatch(_ADDRESS[self.network], address) is not None

    def carrier(self, world: World) -> Carrier | None:
        """The sandbox's chain that really carries the coin, if there is one."""
        return carrier_of(world, self.network, self.contract)

    def listing(self, rank: int) -> dict[str, Any]:
        """One row of the currencies list."""
        abilities = ["payments", "singleSigAccounts", *([] if self.symbol == "LTCT" else ["swap"])]
        return {
            "id": self.currency_id,
            "type": "token" if self.contract else "crypto",
            "symbol": self.symbol,
            "name": self.name,
            "logo": {"vectorUrl": f"https://images.coinpayments.com/{self.symbol.lower()}.svg"},
            "decimalPlaces": self.decimals,
            "rank": rank,
            "status": "active",
            "capabilities": abilities,
            "urls": {"websites": [], "explorers": []},
            "requiredConfirmations": self.confirmations,
            "isEnabledForPayment": True,
        }


CURRENCIES = (
    Currency("1", "BTC", "Bitcoin", "BTC", 8, 2, Decimal("0.00008")),
    Currency("4", "ETH", "Ethereum", "ETH", 18, 12, Decimal("0.0024")),
    Currency("2", "LTC", "Litecoin", "LTC", 8, 6, Decimal("0.001")),
    Currency("3", "DOGE", "Dogecoin", "DOGE", 8, 20, Decimal(3)),
    Currency("6", "BCH", "Bitcoin Cash", "BCH", 8, 6, Decimal("0.0004")),
    Currency("61", "RVN", "Ravencoin", "RVN", 8, 30, Decimal(1)),
    Currency("8", "ETC", "Ethereum Classic", "ETC", 18, 120, Decimal("0.01")),
    Currency("4", "USDT", "Tether USD", "ETH", 6, 12, Decimal(4), "0xdac17f958d2ee523a2206206994597c13d831ec7"),
    Currency("9", "USDT", "Tether USD", "TRX", 6, 20, Decimal(2), "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
    Currency("1002", "LTCT", "Litecoin Testnet", "LTCT", 8, 0, Decimal("0.001")),
)
_BY_ID = {currency.currency_id.lower(): currency for currency in CURRENCIES}


def currency_of(currency_id: object, contract: object = None) -> Currency:
    """The currency of an id, given as text or number, the token's contract in it or beside it."""
    text = str(currency_id) if isinstance(currency_id, (str, int)) and not isinstance(currency_id, bool) else ""
    if contract:
        text = f"{text}:{contract}"
    currency = _BY_ID.get(text.lower())
    if currency is None:
        raise Problem(404, "currencyNotFound", f"The currency {text!r} does not exist")
    return currency


def plain(amount: Decimal) -> str:
    """A decimal text without trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass
class Prices:
    """Rates and limits; `minimums` by symbol replace the limits' lower end."""

    world: World
    minimums: dict[str, Decimal] = field(default_factory=dict)

    def mid(self, sender: str, receiver: str) -> Decimal:
        """The market's rate between two symbols; the market's dollar is USDT."""
        one, other = ("USDT" if symbol == "USD" else symbol for symbol in (sender, receiver))
        return Decimal(1) if one == other else self.world.market.rate(one, other)

    def rate(self, sender: Currency, receiver: Currency) -> Decimal:
        """Units received for one unit sent, before fees; a pair without a market is refused."""
        if sender == receiver:
            return Decimal(1)
        try:
            mid = self.mid(sender.symbol, receiver.symbol)
        except KeyError:
            raise Problem(400, "conversionPairDoesNotExist", "This pair can not be converted") from None
        drift = self.world.market.wobble(SERVICE_ID, WOBBLE) * self.world.wrong_rate(SERVICE_ID)
        rate = mid * (1 - SPREAD) * drift
        return rate.quantize(Decimal(1).scaleb(rate.adjusted() - _RATE_DIGITS))

    def limits(self, sender: Currency) -> tuple[Decimal, Decimal]:
        """The least and the most that a conversion may send."""
        per_eth = self.mid("ETH", sender.symbol)
        least, most = (worth * per_eth for worth in _LIMITS_IN_ETH)
        least = self.minimums.get(sender.symbol, least)
        return least.quantize(sender.step, ROUND_CEILING), most.quantize(sender.step, ROUND_FLOOR)
