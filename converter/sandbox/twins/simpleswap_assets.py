"""What the SimpleSwap twin lists and what it asks for it: assets, address shapes, prices, limits, errors.

Source: `services/simpleswap.md` sections 1 to 3 and 7. There is no fee field: margin and network fees are inside the
estimate. Inferred here: the address shapes (prefix, alphabet and length only, no checksum), the network fees, a margin
of 0.5 % for a floating rate and 0.9 % more for a fixed one, a floating minimum worth 0.0142 ETH, a fixed flow between
twice that and 500 ETH, amounts kept to eight decimals at most, a flag that is left out counts as false, and amounts are
taken as text or as JSON numbers. The list holds the coins that the sandbox's market knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from http import HTTPStatus
from typing import Any

from converter.sandbox.carriers import Carrier, carrier_of
from converter.sandbox.twin import World

SERVICE_ID = "simpleswap"
SPREAD = Decimal("0.005")
FIXED_SPREAD = Decimal("0.009")
WOBBLE = Decimal("0.004")
MINIMUM_IN_ETH = Decimal("0.0142")
FIXED_MINIMUM_FACTOR = 2
FIXED_MAXIMUM_IN_ETH = Decimal(500)
_MOST_DECIMALS = 8

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_BECH = "[02-9ac-hj-np-z]"
_PLAIN_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,30})?")
_ADDRESS = {
    "btc": rf"^(bc1{_BECH}{{11,71}}|[13]{_B58}{{25,34}})$",
    "ltc": rf"^(ltc1{_BECH}{{11,71}}|[LM3]{_B58}{{25,34}})$",
    "doge": rf"^[DA9]{_B58}{{25,34}}$",
    "bch": rf"^((bitcoincash:)?[qp]{_BECH}{{41}}|[13]{_B58}{{25,34}})$",
    "rvn": rf"^R{_B58}{{25,34}}$",
    "eth": r"^(0x)[0-9A-Fa-f]{40}$",
    "etc": r"^(0x)[0-9A-Fa-f]{40}$",
    "trx": rf"^T{_B58}{{33}}$",
}


class ApiError(Exception):
    """A no in the service's wording: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def body(self, trace_id: str) -> dict[str, Any]:
        """The error's JSON; both text fields carry the same message."""
        message = str(self)
        head = {"code": self.status, "error": HTTPStatus(self.status).phrase}
        return head | {"message": message, "description": message, "traceId": trace_id}


@dataclass(frozen=True)
class Asset:
    """A ticker on a network, both lower case."""

    ticker: str
    network: str
    name: str
    precision: int
    network_fee: Decimal
    contract: str | None = None

    @property
    def coin(self) -> str:
        """The ticker as the market and the sandbox's truth write it."""
        return self.ticker.upper()

    @property
    def key(self) -> str:
        """The asset as the pairs list writes it."""
        return f"{self.ticker}:{self.network}"

    @property
    def unit(self) -> Decimal:
        """The smallest step of an amount."""
        return Decimal(1).scaleb(-min(self.precision, _MOST_DECIMALS))

    def accepts(self, address: str) -> bool:
        """Whether an address has the shape of this network."""
        return re.fullmatch(_ADDRESS[self.network], address) is not None

    def carrier(self, world: World) -> Carrier | None:
        """The sandbox's chain that really carries the asset, if there is one."""
        return carrier_of(world, self.network.upper(), self.contract)

    def listing(self) -> dict[str, Any]:
        """One row of the currencies list."""
        return {
            "name": self.name,
            "ticker": self.ticker,
            "network": self.network,
            "contractAddress": self.contract,
            "hasExtraId": False,
            "extraId": None,
            "image": f"https://static.simpleswap.io/images/currencies-logo/{self.ticker}.svg",
            "warningsFrom": [],
            "warningsTo": [],
            "validationAddress": _ADDRESS[self.network],
            "validationExtra": None,
            "addressExplorer": None,
            "txExplorer": None,
            "confirmationsFrom": "",
            "isFiat": False,
            "precision": self.precision,
        }


ASSETS = (
    Asset("btc", "btc", "Bitcoin", 8, Decimal("0.00006")),
    Asset("eth", "eth", "Ethereum", 18, Decimal("0.0008")),
    Asset("ltc", "ltc", "Litecoin", 8, Decimal("0.001")),
    Asset("doge", "doge", "Dogecoin", 8, Decimal(4)),
    Asset("bch", "bch", "Bitcoin Cash", 8, Decimal("0.0005")),
    Asset("rvn", "rvn", "Ravencoin", 8, Decimal(1)),
    Asset("etc", "etc", "Ethereum Classic", 18, Decimal("0.01")),
    Asset("usdt", "eth", "Tether USD", 6, Decimal(4), "0xdac17f958d2ee523a2206206994597c13d831ec7"),
    Asset("usdt", "trx", "Tether USD", 6, Decimal(2), "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
)
_BY_KEY = {asset.key: asset for asset in ASSETS}


def asset_of(ticker: object, network: object) -> Asset:
    """The listed asset; ApiError 404 when the service has none, 400 when a part is missing."""
    if not isinstance(ticker, str) or not isinstance(network, str) or not ticker or not network:
        raise ApiError(400, "Ticker and network are required")
    asset = _BY_KEY.get(f"{ticker}:{network}")
    if asset is None:
        raise ApiError(404, f"Currency {ticker} on network {network} not found")
    return asset


@dataclass(frozen=True)
class Wish:
    """What is asked for: the pair, fixed or floating, and which side the amount is of."""

    sender: Asset
    receiver: Asset
    fixed: bool
    reverse: bool

    def pair(self) -> dict[str, str]:
        """The pair as answers carry it."""
        return {
            "tickerFrom": self.sender.ticker,
            "networkFrom": self.sender.network,
            "tickerTo": self.receiver.ticker,
            "networkTo": self.receiver.network,
        }


def wish_of(values: Mapping[str, Any]) -> Wish:
    """The pair and the flow out of a query or a body."""
    sender = asset_of(values.get("tickerFrom"), values.get("networkFrom"))
    receiver = asset_of(values.get("tickerTo"), values.get("networkTo"))
    if sender == receiver:
        raise ApiError(422, "Pair is unavailable")
    return Wish(sender, receiver, flag_of(values, "fixed"), flag_of(values, "reverse"))


def flag_of(values: Mapping[str, Any], name: str) -> bool:
    """A truth value, as JSON or as the text of a query."""
    value = values.get(name)
    if value in (None, "", "false", False):
        return False
    if value in ("true", True):
        return True
    raise ApiError(400, f"{name} must be a boolean")


def amount_of(value: object, unit: Decimal) -> Decimal:
    """An amount as a plain decimal, cut to what the asset can carry; exponents are refused."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = f"{value:f}"
    if not isinstance(value, str) or not _PLAIN_NUMBER.fullmatch(value):
        raise ApiError(400, "amount must be a number string")
    return Decimal(value).quantize(unit, ROUND_FLOOR)


def text_of(amount: Decimal | None) -> str | None:
    """An amount as the service writes it: a plain decimal without trailing zeros."""
    if amount is None:
        return None
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass
class Prices:
    """The service's prices and limits. `minimum_factor` is how far the real minimum lies above the published one."""

    world: World
    minimums: dict[str, Decimal] = field(default_factory=dict)
    minimum_factor: Decimal = Decimal(1)

    def unit_rate(self, wish: Wish) -> Decimal:
        """What one unit brings before the network fee."""
        margin = SPREAD + (FIXED_SPREAD if wish.fixed else 0)
        drift = self.world.market.wobble(SERVICE_ID, WOBBLE) * self.world.wrong_rate(SERVICE_ID)
        return self._market(wish.sender.coin, wish.receiver.coin) * (1 - margin) * drift

    def received(self, wish: Wish, amount: Decimal) -> Decimal:
        """What reaches the address."""
        gross = self.unit_rate(wish) * amount
        return max(Decimal(0), gross - wish.receiver.network_fee).quantize(wish.receiver.unit, ROUND_FLOOR)

    def needed(self, wish: Wish, amount: Decimal) -> Decimal:
        """What must be sent so that `amount` reaches the address."""
        needed = (amount + wish.receiver.network_fee) / self.unit_rate(wish)
        return needed.quantize(wish.sender.unit, ROUND_CEILING)

    def limits(self, wish: Wish) -> tuple[Decimal, Decimal | None]:
        """The published least and most, in the coin that is sent; no most for a floating rate."""
        per_eth = self._market("ETH", wish.sender.coin)
        least = self.minimums.get(wish.sender.coin, MINIMUM_IN_ETH * per_eth)
        if not wish.fixed:
            return least.quantize(wish.sender.unit, ROUND_CEILING), None
        most = (FIXED_MAXIMUM_IN_ETH * per_eth).quantize(wish.sender.unit, ROUND_FLOOR)
        return (least * FIXED_MINIMUM_FACTOR).quantize(wish.sender.unit, ROUND_CEILING), most

    def _market(self, from_coin: str, to_coin: str) -> Decimal:
        return Decimal(1) if from_coin == to_coin else self.world.market.rate(from_coin, to_coin)
