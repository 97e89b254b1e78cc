"""What the CoinPayments twin tells everybody: currencies, pairs, limits, fees, rates.

Source: `services/coinpayments.md` section B3. Inferred here: the answer to the network fee (a whole number of smallest
units), to the required confirmations and to a node's height; rates of version 1 in version 2 as well; `q` looks into
symbol and name; a currency that a rate asks for and that does not exist is left out.
"""

from __future__ import annotations

from typing import Any

from converter.sandbox.twin import Request
from converter.sandbox.twins.coinpayments_assets import CURRENCIES, USD_ID, Currency, Prices, currency_of
from converter.sandbox.twins.coinpayments_auth import Problem

_FIRST_HEIGHT = 900_000
_BLOCK_SECONDS = 600
_TRADED = [currency for currency in CURRENCIES if currency.symbol != "LTCT"]


class PublicInfo:
    """The anonymous answers."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def currencies(self, request: Request) -> list[dict[str, Any]]:
        """The list, narrowed by `q`, `types` and `capabilities`."""
        rows = [currency.listing(rank) for rank, currency in enumerate(CURRENCIES, 1)]
        text = (request.one("q") or "").lower()
        types = set(filter(None, (request.one("types") or "").split(",")))
        wanted = set(filter(None, (request.one("capabilities") or "").split(",")))
        return [
            row
            for row in rows
            if (text in row["symbol"].lower() or text in row["name"].lower())
            and (not types or row["type"] in types)
            and wanted <= set(row["capabilities"])
        ]

    def currency(self, request: Request) -> dict[str, Any]:
        """One currency."""
        currency = currency_of(request.params["id"])
        return currency.listing(CURRENCIES.index(currency) + 1)

    def conversions(self, _request: Request) -> list[dict[str, str]]:
        """The pairs that convert."""
        return [
            {"from": one.currency_id, "to": other.currency_id} for one in _TRADED for other in _TRADED if one != other
        ]

    def limits(self, request: Request) -> dict[str, int]:
        """Least and most in smallest units of the coin that is sent."""
        sender, receiver = currency_of(request.params["sender"]), currency_of(request.params["receiver"])
        if sender == receiver or sender not in _TRADED or receiver not in _TRADED:
            raise Problem(404, "conversionPairDoesNotExist", "This pair can not be converted")
        least, most = self._prices.limits(sender)
        return {"min": int(least / sender.unit), "max": int(most / sender.unit)}

    def confirmations(self, _request: Request) -> list[dict[str, Any]]:
        """How many blocks a deposit waits for."""
        return [{"currencyId": one.currency_id, "confirmations": one.confirmations} for one in CURRENCIES]

    def height(self, request: Request) -> dict[str, Any]:
        """A made-up block number that grows."""
        currency = currency_of(request.params["id"])
        grown = int(self._prices.world.now()) // _BLOCK_SECONDS % _FIRST_HEIGHT
        return {"currencyId": currency.currency_id, "latestBlockNumber": _FIRST_HEIGHT + grown}

    def network_fee(self, request: Request) -> int:
        """The network fee in smallest units."""
        currency = currency_of(request.params["id"])
        return int(currency.network_fee / currency.unit)

    def rates(self, request: Request) -> dict[str, Any]:
        """Rates of all pairs of `from` and `to`, text."""
        items = []
        for base in (request.one("from") or "").split(","):
            for quote in (request.one("to") or "").split(","):
                rate = self._rate(base, quote)
                if rate is not None:
                    items.append(_names(base, "base") | _names(quote, "quote") | {"rate": rate})
        return {"items": items}

    def _rate(self, base: str, quote: str) -> str | None:
        try:
            one, other = _known(base), _known(quote)
            if one and other:
                return f"{self._prices.rate(one, other):f}"
            mid = self._prices.mid(one.symbol if one else "USD", other.symbol if other else "USD")
        except (Problem, KeyError):
            return None
        return f"{mid:f}"


def _known(currency_id: str) -> Currency | None:
    return None if currency_id == USD_ID else currency_of(currency_id)


def _names(currency_id: str, side: str) -> dict[str, Any]:
    number, _, contract = currency_id.partition(":")
    return {f"{side}CurrencyId": int(number), f"{side}Token": contract or None}
