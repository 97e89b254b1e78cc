"""The coins and networks that the system knows, as data.

A network's code is that of its own coin, as most services write it: `TRX` for Tron, `ETH` for Ethereum. USDT is on Tron
unless its network is named, where a payment costs least; an address of the other network is then refused, not paid.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    Asset("ETC", "ETC", 18),
    Asset("LTC", "LTC", 8),
    Asset("BCH", "BCH", 8),
    Asset("DOGE", "DOGE", 8),
    Asset("RVN", "RVN", 8),
    Asset("XMR", "XMR", 12),
    Asset("ZEC", "ZEC", 8),
    Asset("KAS", "KAS", 8),
    Asset("ERG", "ERG", 9),
    Asset("USDT", "TRX", 6),
    Asset("USDT", "ETH", 6),
)
"""The first network listed for a coin is its default."""


@dataclass(frozen=True)
class MemoRule:
    """How a network carries the mark by which a receiver tells its payers apart (memo, tag, payment id)."""

    name: str
    inside_address: bool
    required: bool = False


MEMO_RULES: Mapping[str, MemoRule] = {"XMR": MemoRule("payment id", inside_address=True)}
"""By network; one that is not listed knows no such mark, and what looks like one must not be sent.

Monero's is optional and lies in an integrated address; sent beside an address it has been out of use for years, and
wallets refuse it. The data field of an Ethereum or Tron transaction, an OP_RETURN output and the memo of a shielded
Zcash payment are none: who receives at such an address does not read them.
"""


def coins() -> tuple[str, ...]:
    """Tickers of all known coins, sorted."""
    return tuple(sorted({asset.coin for asset in _ASSETS}))


def assets() -> tuple[Asset, ...]:
    """All known assets; the first of a coin is its default."""
    return _ASSETS


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
