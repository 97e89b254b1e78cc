"""What the ChangeNOW twin tells about itself: currencies, pairs, limits, network fees, address checks.

Source: `services/changenow.md` sections 2 and 3. Inferred here: the inside of the network fee answer's `totals` and
`converted`; currencies are listed whatever `flow`, `buy` and `sell` ask for, because all of them have all.
"""

from __future__ import annotations

from typing import Any

from converter.sandbox.twin import Request
from converter.sandbox.twins.changenow_assets import (
    ASSETS,
    ApiError,
    Asset,
    Prices,
    Wish,
    asset_by_any_name,
    number,
    wish_of,
)


def values_of(request: Request) -> dict[str, str]:
    """The query, each name once."""
    return {name: values[0] for name, values in request.query.items() if values}


class Info:
    """The answers that need no order."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def currencies(self, request: Request) -> list[dict[str, Any]]:
        """The listed coins; none of them is a state's money."""
        if request.one("isFiat") == "true":
            return []
        return [asset.listing() for asset in ASSETS if self._has_market(asset, ASSETS[0])]

    def pairs(self, request: Request) -> list[dict[str, Any]]:
        """Pairs, narrowed by the query; all of them in both flows."""
        wanted = {
            name: value
            for name in ("fromCurrency", "fromNetwork", "toCurrency", "toNetwork")
            if (value := request.one(name))
        }
        rows = [
            {**Wish(sender, receiver, "standard", "direct").pair(), "flow": {"standard": True, "fixed-rate": True}}
            for sender in ASSETS
            for receiver in ASSETS
            if sender != receiver and self._has_market(sender, receiver)
        ]
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def validate_address(self, request: Request) -> dict[str, Any]:
        """Whether an address has the right shape."""
        asset = asset_by_any_name(request.one("currency") or "")
        if asset is None:
            raise ApiError(400, "not_valid_params", f"Currency {request.one('currency')} is not supported")
        valid = asset.accepts(request.one("address") or "")
        message = None if valid else f"Invalid {asset.network} address"
        return {"result": valid, "message": message, "isActivated": None}

    def network_fee(self, request: Request) -> dict[str, Any]:
        """The network fees on both sides."""
        wish = wish_of(values_of(request))
        deposit, withdrawal = (
            {"currency": asset.ticker, "network": asset.network, "amount": number(fee)}
            for asset, fee in (
                (wish.sender, wish.sender.deposit_fee),
                (wish.receiver, wish.receiver.withdrawal_fee),
            )
        )
        converted = {"currency": "usd", "deposit": None, "withdrawal": None, "total": None}
        return {
            "estimatedFee": {
                "deposit": deposit,
                "withdrawal": withdrawal,
                "totals": [deposit, withdrawal],
                "converted": converted,
            }
        }

    def min_amount(self, request: Request) -> dict[str, Any]:
        """The least amount to pay in."""
        wish = wish_of(values_of(request))
        self._prices.unit_rate(wish.sender, wish.receiver)
        return {
            **wish.pair(),
            "flow": wish.flow,
            "minAmount": number(self._prices.minimum(wish.sender)),
        }

    def amount_range(self, request: Request) -> dict[str, Any]:
        """The least amount; there is no upper limit."""
        return {**self.min_amount(request), "maxAmount": None}

    def _has_market(self, sender: Asset, receiver: Asset) -> bool:
        try:
            return self._prices.unit_rate(sender, receiver) > 0
        except ApiError:
            return False
