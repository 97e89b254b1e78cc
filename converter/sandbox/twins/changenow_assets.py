"""What the ChangeNOW twin lists and what it asks for it: assets, address shapes, prices, minimums.

Source: `services/changenow.md` sections 2 and 3. Inferred here: the address shapes (prefix, alphabet and length only,
no checksum), the network fees except the two of the sheet's example (0.00042 ETH to take in, 0.00008 BTC to pay out),
the rule that every minimum is worth 0.01 ETH, and that amounts are kept to 8 decimals (6 for a payout of
tokens). The list holds the coins that the sandbox's market knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.carriers import Carrier, carrier_of
from converter.sandbox.twin import World

SERVICE_ID = "changenow"
SPREAD = Decimal("0.004")
WOBBLE = Decimal("0.004")
UNIT = Decimal("0.00000001")
_MINIMUM_IN_ETH = Decimal("0.01")

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_BECH = "[02-9ac-hj-np-z]"
_PLAIN_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,30})?")

_ADDRESS = {
    "btc": rf"bc1{_BECH}{{11,71}}|[13]{_B58}{{25,34}}",
    "ltc": rf"ltc1{_BECH}{{11,71}}|[LM3]{_B58}{{25,34}}",
    "doge": rf"[DA9]{_B58}{{25,34}}",
    "bch": rf"(bitcoincash:)?[qp]{_BECH}{{41}}|[13]{_B58}{{25,34}}",
    "rvn": rf"R{_B58}{{25,34}}",
    "eth": r"0x[0-9a-fA-F]{40}",
    "etc": r"0x[0-9a-fA-F]{40}",
    "trx": rf"T{_B58}{{33}}",
}


class ApiError(Exception):
    """A refusal in the service's wording: HTTP status, `error` code, message and further fields of the body."""

    def __init__(self, status: int, error: str, message: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"error": error, "message": message, **(extra or {})}


@dataclass(frozen=True)
class Asset:
    """A ticker on a network, both lower case, as the service lists it."""

    ticker: str
    network: str
    name: str
    legacy: str
    deposit_fee: Decimal
    withdrawal_fee: Decimal
    contract: str | None = None

    @property
    def coin(self) -> str:
        """The ticker as the market and the sandbox's truth write it."""
        return self.ticker.upper()

    @property
    def unit(self) -> Decimal:
        """The smallest step of an amount that is paid out."""
        return Decimal("0.000001") if self.contract else UNIT

    def carrier(self, world: World) -> Carrier | None:
        """The sandbox's chain that really carries the asset, if there is one."""
        return carrier_of(world, self.network.upper(), self.contract)

    def accepts(self, address: str) -> bool:
        """Whether an address has the shape of this network."""
        return re.fullmatch(_ADDRESS[self.network], address) is not None

    def listing(self) -> dict[str, Any]:
        """One row of the currencies list."""
        return {
            "ticker": self.ticker,
            "name": self.name,
            "image": f"https://content-api.changenow.io/uploads/{self.legacy}.svg",
            "hasExternalId": False,
            "isExtraIdSupported": False,
            "isFiat": False,
            "featured": self.contract is None,
            "isStable": self.ticker in {"usdt", "usdc"},
            "supportsFixedRate": True,
            "network": self.network,
            "tokenContract": self.contract,
            "buy": True,
            "sell": True,
            "legacyTicker": self.legacy,
        }


def _coin(ticker: str, name: str, deposit_fee: str, withdrawal_fee: str) -> Asset:
    return Asset(ticker, ticker, name, ticker, Decimal(deposit_fee), Decimal(withdrawal_fee))


def _tether(network: str, standard: str, withdrawal_fee: str, contract: str) -> Asset:
    legacy = f"usdt{standard.lower()}"
    return Asset("usdt", network, f"Tether ({standard})", legacy, Decimal(1), Decimal(withdrawal_fee), contract)


ASSETS = (
    _coin("btc", "Bitcoin", "0.00003", "0.00008"),
    _coin("eth", "Ethereum", "0.00042", "0.0009"),
    _coin("ltc", "Litecoin", "0.0002", "0.001"),
    _coin("bch", "Bitcoin Cash", "0.0001", "0.0005"),
    _coin("doge", "Dogecoin", "0.5", "4"),
    _coin("rvn", "Ravencoin", "0.1", "1"),
    _coin("etc", "Ethereum Classic", "0.001", "0.01"),
    _tether("eth", "ERC20", "4", "0xdac17f958d2ee523a2206206994597c13d831ec7"),
    _tether("trx", "TRC20", "2", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
)
_BY_KEY = {(asset.ticker, asset.network): asset for asset in ASSETS}


def asset_of(ticker: str, network: str) -> Asset:
    """The listed asset; without a network, the ticker's own one (inferred). ApiError when the service has none."""
    asset = _BY_KEY.get((ticker, network or ticker))
    if asset is None:
        shown = ticker if not network else f"{ticker} on {network}"
        raise ApiError(400, "not_valid_params", f"Currency {shown} is not supported")
    return asset


def asset_by_any_name(name: str) -> Asset | None:
    """What an address check calls a currency: a network, a ticker, or an older one-word ticker."""
    return next((a for a in ASSETS if name in (a.network, a.ticker, a.legacy)), None)


@dataclass(frozen=True)
class Wish:
    """What is asked for: the pair, the flow and which side is fixed."""

    sender: Asset
    receiver: Asset
    flow: str
    kind: str

    def pair(self) -> dict[str, Any]:
        """The pair as every answer carries it."""
        return {
            "fromCurrency": self.sender.ticker,
            "fromNetwork": self.sender.network,
            "toCurrency": self.receiver.ticker,
            "toNetwork": self.receiver.network,
        }


def wish_of(values: Mapping[str, Any]) -> Wish:
    """Pair, flow and type out of a query or a body; ApiError says what is missing or unknown."""
    for name in ("fromCurrency", "toCurrency"):
        if not values.get(name):
            raise ApiError(400, "not_valid_params", f"Parameter {name} is required")
    text = {name: str(values.get(name) or "") for name in ("fromCurrency", "fromNetwork", "toCurrency", "toNetwork")}
    sender = asset_of(text["fromCurrency"], text["fromNetwork"])
    receiver = asset_of(text["toCurrency"], text["toNetwork"])
    flow = str(values.get("flow") or "standard")
    kind = str(values.get("type") or "direct")
    if flow not in {"standard", "fixed-rate"}:
        raise ApiError(400, "not_valid_params", "Parameter flow is not valid")
    if kind not in {"direct", "reverse"} or (kind == "reverse" and flow == "standard"):
        raise ApiError(400, "not_valid_params", "Parameter type is not valid")
    if sender == receiver:
        raise ApiError(400, "pair_is_inactive", f"Pair {sender.legacy}_{receiver.legacy} is inactive")
    return Wish(sender, receiver, flow, kind)


def amount_of(value: object, name: str) -> Decimal:
    """An amount as a plain decimal, text or JSON number, kept to 8 decimals; exponents are refused."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = f"{value:f}"
    if not isinstance(value, str) or not _PLAIN_NUMBER.fullmatch(value):
        raise ApiError(400, "not_valid_params", f"Parameter {name} is not a valid amount")
    return Decimal(value).quantize(UNIT, ROUND_FLOOR)


def number(amount: Decimal | None) -> Decimal | None:
    """An amount without trailing zeros, to be shown as a JSON number."""
    return None if amount is None else Decimal(f"{amount.normalize():f}")


@dataclass
class Prices:
    """The service's prices: market, its own spread and drift, and the payout fee."""

    world: World
    minimums: dict[str, Decimal] = field(default_factory=lambda: {"ETH": _MINIMUM_IN_ETH})

    def unit_rate(self, sender: Asset, receiver: Asset) -> Decimal:
        """What one unit brings before the payout fee; a pair without a market is inactive."""
        try:
            rate = self._market(sender.coin, receiver.coin)
        except KeyError:
            raise ApiError(400, "pair_is_inactive", f"Pair {sender.legacy}_{receiver.legacy} is inactive") from None
        drift = self.world.market.wobble(SERVICE_ID, WOBBLE) * self.world.wrong_rate(SERVICE_ID)
        return rate * (1 - SPREAD) * drift

    def to_amount(self, sender: Asset, receiver: Asset, amount: Decimal) -> Decimal:
        """What reaches the address, every fee taken."""
        gross = self.unit_rate(sender, receiver) * amount
        return (gross - receiver.withdrawal_fee).quantize(receiver.unit, ROUND_FLOOR)

    def from_amount(self, sender: Asset, receiver: Asset, to_amount: Decimal) -> Decimal:
        """What must be paid in so that `to_amount` reaches the address."""
        needed = (to_amount + receiver.withdrawal_fee) / self.unit_rate(sender, receiver)
        return needed.quantize(sender.unit, ROUND_CEILING)

    def minimum(self, sender: Asset) -> Decimal:
        """The least amount to pay in."""
        known = self.minimums.get(sender.coin)
        if known is not None:
            return known
        return (_MINIMUM_IN_ETH * self._market("ETH", sender.coin)).quantize(UNIT, ROUND_CEILING)

    def _market(self, from_coin: str, to_coin: str) -> Decimal:
        return Decimal(1) if from_coin == to_coin else self.world.market.rate(from_coin, to_coin)
