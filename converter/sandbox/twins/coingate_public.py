"""What the CoinGate twin tells everybody: a ping, rates, currencies, platforms, network fees, sender addresses.

Source: `services/coingate.md` section 3. Inferred here: the rates of a narrower path keep the nesting (that of a single
pair is bare text when `rates_as_text` is set: its shape is not documented), and a pair that is not offered is an empty
object; trader rates are the merchant's with the spread on either side; a plain rate that
does not exist is 404; every network fee is half a euro.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from converter.sandbox.twin import Request, Response, World
from converter.sandbox.twins.coingate_assets import (
    COINS,
    CURRENCIES,
    PLATFORMS,
    SPREAD,
    ApiError,
    Currency,
    Rates,
    plain,
)
from converter.sandbox.twins.coingate_input import page_of
from converter.sandbox.twins.coingate_ledger import iso

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_RATE_UNIT = Decimal("1e-12")


class PublicInfo:
    """The answers that need no token."""

    def __init__(self, world: World, rates: Rates) -> None:
        self.rates_as_text = False
        self._world, self._rates = world, rates

    def ping(self, _request: Request) -> dict[str, str]:
        """Alive."""
        return {"ping": "pong", "time": iso(self._world.now())}

    def plain_rate(self, request: Request) -> Response:
        """One merchant rate as bare text."""
        found = [next((c for c in CURRENCIES if c.symbol == request.params[side]), None) for side in ("base", "quote")]
        base, quote = found
        if base is None or quote is None:
            raise ApiError(404, "RecordNotFound")
        return Response(200, self._mid(base, quote).encode(), TEXT)

    def all_rates(self, _request: Request) -> dict[str, Any]:
        """Merchant and trader rates of everything."""
        names = [(one, other) for one in CURRENCIES for other in CURRENCIES if one != other]
        merchant: dict[str, dict[str, str]] = {}
        buy: dict[str, dict[str, str]] = {}
        sell: dict[str, dict[str, str]] = {}
        for one, other in names:
            mid = self._rates.mid(one, other)
            for table, factor in ((merchant, Decimal(0)), (buy, SPREAD), (sell, -SPREAD)):
                table.setdefault(one.symbol, {})[other.symbol] = plain((mid * (1 + factor)).quantize(_RATE_UNIT))
        return {"merchant": merchant, "trader": {"buy": buy, "sell": sell}}

    def conversion_rates(self, request: Request) -> dict[str, Any] | Response:
        """The rates of ledger conversions: all, of one base, or of one pair."""
        table = self._rates.table()
        base, quote = request.params.get("base"), request.params.get("quote")
        if base:
            table = {base: table[base]} if base in table else {}
        if quote:
            table = {name: {quote: row[quote]} for name, row in table.items() if quote in row}
            if table and self.rates_as_text:
                return Response(200, table[str(base)][quote].encode(), TEXT)
        return {"rates": table}

    def currencies(self, request: Request) -> list[dict[str, Any]]:
        """All currencies, narrowed by `kind` and `symbol`; all of them are enabled."""
        kind, symbol = request.one("kind"), request.one("symbol")
        rows = [c for c in CURRENCIES if kind in (None, "", c.kind) and symbol in (None, "", c.symbol)]
        if request.one("enabled") == "false":
            rows = []
        return [
            c.show_with_platforms()
            | {
                "native": c.symbol != "USDT",
                "disabled": False,
                "merchant": {"price": True, "pay": True, "receive": True},
            }
            for c in rows
        ]

    def platforms(self, _request: Request) -> list[dict[str, Any]]:
        """All platforms."""
        return [platform.show() for platform in PLATFORMS]

    def supported(self, _request: Request) -> list[dict[str, Any]]:
        """What can be paid out, or in."""
        return [coin.show_with_platforms() for coin in COINS]

    def network_fees(self, request: Request) -> dict[str, Any]:
        """The network fees."""
        wanted, platform_id = request.one("currency_id"), request.one("crypto_platform_id")
        rows = [
            {
                "amount_eur": "0.50",
                "applied_for": ["withdrawal"],
                "currency": coin.show(),
                "crypto_platform": platform.show(),
            }
            for coin in COINS
            for platform in coin.platforms
            if wanted in (None, "", str(coin.currency_id)) and platform_id in (None, "", str(platform.platform_id))
        ]
        return page_of(request, "outgoing_fees", rows)

    def senders(self, _request: Request) -> Response:
        """Where callbacks come from."""
        return Response(200, b"127.0.0.1\n", TEXT)

    def _mid(self, base: Currency, quote: Currency) -> str:
        return plain(self._rates.mid(base, quote).quantize(_RATE_UNIT))
