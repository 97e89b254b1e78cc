"""Vaults, halts and the height of the THORChain twin.

Source: `services/thorchain.md` sections 3 and 8. Addresses rotate; what is sent to an old vault can be lost. Inferred
here: an old vault is still watched for a while (`old_vault_ms`); the height grows once in six seconds, divided by the
sandbox's speed; a chain that is halted has no trading either. The router is an address and no contract: what is paid to
it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.thorchain_pools import ASSETS, CHAINS, ChainFacts, Pools, carrier, spelled

FIRST_HEIGHT = 24_000_000
BLOCK_SECONDS = 6.0
OLD_VAULT_MS = 60_000


@dataclass
class Vault:
    """An address that the network watches."""

    chain: str
    address: str
    retired_at: float | None = None


class Network:
    """What does not belong to a single swap."""

    def __init__(self, world: World) -> None:
        """`quoted` are the memos that were handed out, with the latest end of their quotes."""
        self.halted: list[str] = []
        self.paused: list[str] = []
        self.global_paused = self.frozen = False
        self.old_vault_ms = OLD_VAULT_MS
        self.vaults: list[Vault] = []
        self.quoted: dict[str, float] = {}
        self._world, self._started = world, world.now()
        self.router = spelled("ETH", world.chain.new_address("thorchain router"))
        self._churns = self._frozen_height = 0
        self.churn()

    @property
    def height(self) -> int:
        """The network's own height."""
        if self.frozen and self._frozen_height:
            return self._frozen_height
        passed = (self._world.now() - self._started) * self._world.speed
        self._frozen_height = FIRST_HEIGHT + int(passed / BLOCK_SECONDS)
        return self._frozen_height

    def churn(self) -> None:
        """Take new vaults; the old ones are watched for a while only."""
        now = self._world.now()
        for vault in self.vaults:
            vault.retired_at = now if vault.retired_at is None else vault.retired_at
        self._churns += 1
        for chain in CHAINS:
            address = carrier(self._world, chain).new_address(f"thorchain vault {self._churns}")
            self.vaults.append(Vault(chain, address))

    def vault(self, chain: str) -> str:
        """The present vault of a chain."""
        return next(vault.address for vault in reversed(self.vaults) if vault.chain == chain)

    def watches(self, vault: Vault) -> bool:
        """Whether deposits to a vault are still credited."""
        grace = self.old_vault_ms / 1000 / self._world.speed
        return vault.retired_at is None or self._world.now() < vault.retired_at + grace

    def told(self, chain: str) -> str:
        """The present vault of a chain, as the network writes it."""
        return spelled(chain, self.vault(chain))

    def too_late(self, memo: str) -> bool:
        """Whether every quote that named this memo has ended."""
        return self._world.now() > self.quoted.get(memo, float("inf"))

    def no_trading(self, *chains: str) -> bool:
        """Whether a swap between these chains is impossible now."""
        return self.global_paused or any(chain in self.halted or chain in self.paused for chain in chains)

    def inbound(self) -> list[dict[str, Any]]:
        """`/thorchain/inbound_addresses`."""
        return [self._inbound(facts) for facts in CHAINS.values()]

    def _inbound(self, facts: ChainFacts) -> dict[str, Any]:
        chain = facts.name
        return {
            "chain": chain,
            "pub_key": f"thorpub1sandbox{self._churns}{chain.lower()}",
            "address": self.told(chain),
            **({} if facts.is_utxo else {"router": self.router}),
            "halted": chain in self.halted,
            "global_trading_paused": self.global_paused,
            "chain_trading_paused": chain in self.paused or chain in self.halted,
            "chain_lp_actions_paused": chain in self.halted,
            "observed_fee_rate": str(facts.gas_rate),
            "gas_rate": str(facts.gas_rate),
            "gas_rate_units": facts.gas_units,
            "outbound_tx_size": str(facts.tx_size),
            "outbound_fee": str(facts.outbound_fee),
            "dust_threshold": str(facts.dust),
        }

    def mimir(self) -> dict[str, int]:
        """`/thorchain/mimir`: the switches; 1 is halted."""
        switches = {"HALTTRADING": int(self.global_paused), "HALTSIGNING": 0}
        for chain in CHAINS:
            switches[f"HALT{chain}TRADING"] = int(chain in self.paused)
            switches[f"HALT{chain}CHAIN"] = int(chain in self.halted)
            switches[f"HALTSIGNING{chain}"] = 0
        return switches

    def last_blocks(self) -> list[dict[str, Any]]:
        """`/thorchain/lastblock`."""
        height = self.height
        return [
            {"chain": chain, "last_observed_in": height - 1, "last_signed_out": height - 1, "thorchain": height}
            for chain in CHAINS
        ]

    def pools(self, pools: Pools) -> list[dict[str, Any]]:
        """`/thorchain/pools`."""
        closed = [chain for chain in CHAINS if self.no_trading(chain)]
        return [pools.listing(asset, closed) for asset in ASSETS]
