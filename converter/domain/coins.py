"""The coins and networks that the system knows, as data."""

from __future__ import annotations

from dataclasses import dataclass

from converter.domain.errors import InvalidRequest


@dataclass(frozen=True)
class Asset:
    """A coin on a network. `decimals` is the precision that can be paid there."""

    coin: str
    network: str
    decimals: int

    def __str__(self) -> str:
        return self.coin if self.coin == self.network else f"{self.coin} on {self.network}"


_ASSETS = (
    Asset("BTC", "BTC", 8),
    Asset("BTC", "LIGHTNING", 8),
    Asset("ETH", "ETH", 18),
)
"""The first network listed for a coin is its default."""


def coins() -> tuple[str, ...]:
    """Tickers of all known coins, sorted."""
    return tuple(sorted({asset.coin for asset in _ASSETS}))


def asset(coin: object, network: object = None, field: str = "coin") -> Asset:
    """Find a coin, on its default network unless one is named. Raises InvalidRequest naming what is known."""
    if not isinstance(coin, str) or not coin:
        raise InvalidRequest(field, f"{coin!r} is not a ticker", f"one of {', '.join(coins())}")
    known = [one for one in _ASSETS if one.coin == coin.upper()]
    if not known:
        raise InvalidRequest(field, f"unknown coin {coin[:20]!r}", f"one of {', '.join(coins())}")
    if network is None:
        return known[0]
    for one in known:
        if isinstance(network, str) and one.network == network.upper():
            return one
    raise InvalidRequest(
        field.replace("coin", "network"),
        f"{known[0].coin} does not exist on {str(network)[:20]!r}",
        f"one of {', '.join(one.network for one in known)}",
    )
