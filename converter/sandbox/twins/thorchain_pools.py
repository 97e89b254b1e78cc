"""Pools, chains and the swap formula of the THORChain twin.

Source: `services/thorchain.md` sections 1 to 4 and 6 (units, short codes, dust, block times, formula). Amounts are
integers of 1e-8. Inferred here: which pools there are and how deep; a unit of RUNE is worth four dollars; pools follow
the market at once, so no swap moves them; outbound fees other than the sheet's. USDT is a target only: its deposits
would go through a router contract, which is not played.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from eth_utils.address import is_checksum_address, is_checksum_formatted_address, is_hex_address

from converter.sandbox.credentials import USDT_CONTRACT
from converter.sandbox.twin import Chain, World
from converter.sandbox.utxo_coins import COINS, script_of

SERVICE_ID = "thorchain"
UNIT = 10**8
RUNE_PRICE = Decimal(4)
WOBBLE = Decimal("0.002")


@dataclass(frozen=True)
class ChainFacts:
    """A source or target chain. Fees in 1e-8 of its own coin."""

    name: str
    dust: int
    outbound_fee: int
    gas_rate: int
    gas_units: str
    tx_size: int
    block_ms: int

    @property
    def is_utxo(self) -> bool:
        """Whether memos travel in OP_RETURN outputs."""
        return self.name in COINS


CHAINS = {
    facts.name: facts
    for facts in (
        ChainFacts("BTC", 10_000, 6_000, 6, "satsperbyte", 1000, 600_000),
        ChainFacts("LTC", 10_000, 75_000, 75, "satsperbyte", 250, 150_000),
        ChainFacts("BCH", 10_000, 7_500, 3, "satsperbyte", 1500, 600_000),
        ChainFacts("DOGE", 100_000_000, 236_000_000, 750_000, "satsperbyte", 1000, 60_000),
        ChainFacts("ETH", 1, 40_000, 3, "gwei", 80_000, 12_000),
    )
}


@dataclass(frozen=True)
class PoolAsset:
    """An asset with a pool; `depth` is what the pool holds of it, in 1e-8."""

    chain: str
    symbol: str
    coin: str
    short_code: str
    depth: int

    @property
    def name(self) -> str:
        """As the network writes it."""
        return f"{self.chain}.{self.symbol}"

    @property
    def brief(self) -> str:
        """The shortest name that a memo may use."""
        head, dash, tail = self.name.partition("-")
        return self.short_code or head + dash + tail[-5:]

    @property
    def is_token(self) -> bool:
        """Whether it is a contract's token."""
        return "-" in self.symbol


ASSETS = (
    PoolAsset("BTC", "BTC", "BTC", "b", 800 * UNIT),
    PoolAsset("ETH", "ETH", "ETH", "e", 9_000 * UNIT),
    PoolAsset("LTC", "LTC", "LTC", "l", 90_000 * UNIT),
    PoolAsset("BCH", "BCH", "BCH", "c", 15_000 * UNIT),
    PoolAsset("DOGE", "DOGE", "DOGE", "d", 50_000_000 * UNIT),
    PoolAsset("ETH", f"USDT-{USDT_CONTRACT.upper()}", "USDT", "", 20_000_000 * UNIT),
)


def asset_named(name: str) -> PoolAsset | None:
    """The asset of a full name."""
    return next((asset for asset in ASSETS if asset.name == name.upper()), None)


def asset_meant(text: str) -> PoolAsset | None:
    """The asset that a memo means: a full name, a short code, or a name with the end of its contract, or without it."""
    head, _, tail = text.upper().partition("-")
    for asset in ASSETS:
        name, _, contract = asset.name.partition("-")
        if (text and text == asset.short_code) or (name == head and contract.endswith(tail)):
            return asset
    return None


def spelled(chain: str, address: str) -> str:
    """An address as the network writes it: without EIP-55's capitals."""
    return address if CHAINS[chain].is_utxo else address.lower()


def is_address(chain: str, text: str) -> bool:
    """Whether coins of a chain can be paid to this address."""
    if chain not in COINS:
        if not is_hex_address(text) or not text.startswith("0x"):
            return False
        return not is_checksum_formatted_address(text) or is_checksum_address(text)
    try:
        return bool(script_of(COINS[chain], text))
    except (ValueError, IndexError):
        return False


@dataclass(frozen=True)
class Swapped:
    """Result of the formula: what comes out before the outbound fee, and the liquidity fee, both of the target."""

    emit: int
    liquidity: int


def cross(amount: int, depth_in: int, depth_out: int) -> tuple[int, int]:
    """One pool: what it emits, and its fee in the same asset."""
    square = (amount + depth_in) ** 2
    return amount * depth_in * depth_out // square, amount * amount * depth_out // square


class Pools:
    """Depths at the present market, and swaps over two of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def price(self, asset: PoolAsset) -> Decimal:
        """Dollars for one unit."""
        return self._world.market.rate(asset.coin, "USDT") * self._world.market.wobble(f"thor {asset.coin}", WOBBLE)

    def rune_depth(self, asset: PoolAsset) -> int:
        """What the pool holds of RUNE."""
        return int((asset.depth * self.price(asset) / RUNE_PRICE).to_integral_value(ROUND_FLOOR))

    def swap(self, source: PoolAsset, target: PoolAsset, amount: int, parts: int = 1) -> Swapped:
        """Two pools through RUNE, in equal parts that do not move them."""
        part = amount // max(1, parts)
        source_rune, target_rune = self.rune_depth(source), self.rune_depth(target)
        rune, first_fee = cross(part, source.depth, source_rune)
        emit, fee = cross(rune, target_rune, target.depth)
        liquidity = fee + first_fee * target.depth // target_rune
        return Swapped(emit * parts, liquidity * parts)

    def without_slip(self, source: PoolAsset, target: PoolAsset, amount: int) -> int:
        """What the amount is worth in the target at the pools' prices."""
        rune = amount * self.rune_depth(source) // source.depth
        return rune * target.depth // self.rune_depth(target)

    def outbound_fee(self, asset: PoolAsset) -> int:
        """What the network takes for paying out an asset."""
        fee = CHAINS[asset.chain].outbound_fee
        if not asset.is_token:
            return fee
        native = next(item for item in ASSETS if item.chain == asset.chain and not item.is_token)
        return self.without_slip(native, asset, fee)

    def listing(self, asset: PoolAsset, halted: Collection[str]) -> dict[str, Any]:
        """A row of `/thorchain/pools`."""
        return {
            "asset": asset.name,
            "short_code": asset.short_code,
            "status": "Available",
            "pending_inbound_asset": "0",
            "pending_inbound_rune": "0",
            "balance_asset": str(asset.depth),
            "balance_rune": str(self.rune_depth(asset)),
            "asset_tor_price": str(int(self.price(asset) * UNIT)),
            "pool_units": str(self.rune_depth(asset)),
            "LP_units": str(self.rune_depth(asset)),
            "synth_units": "0",
            "synth_supply": "0",
            "savers_depth": "0",
            "trading_halted": asset.chain in halted,
        } | ({"decimals": "6"} if asset.is_token else {})


def carrier(world: World, chain: str) -> Chain:
    """The sandbox's chain of a name."""
    return world.utxo[chain] if chain in COINS else world.chain
