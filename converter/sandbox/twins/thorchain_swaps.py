"""Deposits, swaps, payouts and refunds of the THORChain twin.

Source: `services/thorchain.md` sections 5 and 6. A swap's id is the deposit's transaction id, upper case, without 0x.
Dust is ignored, and so is a deposit whose first output is not the vault's, that has more than ten outputs or several
memos. A refund that is worth less than its fee is not paid. The price limit holds for what comes out, the outbound fee
off ("outbound amount does not meet requirements"). Inferred here: times of the stages; deposits on a halted chain are
seen when it goes on, payouts wait so too; while trading is paused a deposit is refunded. A quote's expiry is not in the
memo of a plain transfer, so the network cannot know it; here a deposit after its quote's end is refunded all the same,
since nobody may send one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from converter.sandbox.twin import World
from converter.sandbox.twins.thorchain_memo import MOST_BYTES, BadMemo, Memo, parse_memo
from converter.sandbox.twins.thorchain_network import Network, Vault
from converter.sandbox.twins.thorchain_pools import ASSETS, CHAINS, SERVICE_ID, UNIT, PoolAsset, Pools, carrier, spelled
from converter.sandbox.utxo_chain import UtxoChain
from converter.sandbox.utxo_coins import script_of

STEP_SECONDS = 0.3
OBSERVED, CONFIRMED, SWAPPING, SCHEDULED, DONE = range(5)
ENDINGS = ("swap", "refund", "partial", "lost")
MOST_OUTPUTS = 10


@dataclass
class Outbound:
    """A payment that the network plans, and its transaction id once it is sent."""

    asset: PoolAsset
    address: str
    amount: int
    refund: bool
    txid: str = ""
    vault: str = ""


@dataclass
class Swap:
    """A deposit and what became of it."""

    txid: str
    source: PoolAsset
    vault: str
    sender: str | None
    amount: int
    text: str
    seen_at: int
    due: float
    late: bool
    stage: int = OBSERVED
    memo: Memo | None = None
    scheduled_at: int = 0
    outbounds: list[Outbound] = field(default_factory=list)


class Swaps:
    """All swaps, moved along by `tick`."""

    def __init__(self, world: World, pools: Pools, network: Network) -> None:
        self.ending = "swap"
        self.outbound_delay_ms = 600
        self.slow_outbound = False
        self.unseen = False
        self.all: dict[str, Swap] = {}
        self._world, self._pools, self._network = world, pools, network
        self._ignored: set[str] = set()

    def tick(self) -> None:
        """Look for deposits, then take every step that is due."""
        for vault in self._network.vaults:
            if vault.chain not in self._network.halted and not self.unseen:
                self._watch(vault)
        now = self._world.now()
        for swap in self.all.values():
            if swap.stage != DONE and now >= swap.due:
                self._advance(swap, now)

    def _watch(self, vault: Vault) -> None:
        for txid, amount, data in carrier(self._world, vault.chain).received_with_data(vault.address):
            name = txid.removeprefix("0x").upper()
            if name in self.all or name in self._ignored:
                continue
            units = int(amount * UNIT)
            is_dust = units <= CHAINS[vault.chain].dust
            if is_dust or not self._network.watches(vault) or not self._is_well_formed(vault, txid):
                self._ignored.add(name)  # lost
                continue
            source = next(asset for asset in ASSETS if asset.chain == vault.chain and not asset.is_token)
            sender = spelled(vault.chain, carrier(self._world, vault.chain).sender(txid) or "") or None
            due = self._world.now() + STEP_SECONDS / self._world.speed
            text = data.decode("ascii", "replace")
            seen_at, late = self._network.height, self._network.too_late(text)
            self.all[name] = Swap(name, source, vault.address, sender, units, text, seen_at, due, late)
            self._world.truth.executed(
                SERVICE_ID, "observed", order_id=name, reference=None, amount=amount, coin=source.coin, memo=text
            )

    def _is_well_formed(self, vault: Vault, txid: str) -> bool:
        """Whether a deposit's outputs are as the network reads them: the vault first, few of them, one memo."""
        chain = carrier(self._world, vault.chain)
        if not isinstance(chain, UtxoChain):
            return True
        with chain.lock:
            transaction, _ = chain.store.find(txid)
        outputs = transaction.outputs if transaction else ()
        if not 0 < len(outputs) <= MOST_OUTPUTS or outputs[0].script != script_of(chain.coin, vault.address):
            return False
        return sum(output.data is not None for output in outputs) <= 1

    def _advance(self, swap: Swap, now: float) -> None:
        pause = STEP_SECONDS
        if swap.stage == SWAPPING:
            self._decide(swap)
            swap.scheduled_at = self._network.height
            pause = self.outbound_delay_ms / 1000
        elif swap.stage == SCHEDULED:
            open_ones = [outbound for outbound in swap.outbounds if not outbound.txid]
            if self.slow_outbound or any(outbound.asset.chain in self._network.halted for outbound in open_ones):
                return
            for outbound in open_ones:
                self._pay(swap, outbound)
        swap.stage += 1
        swap.due = now + pause / self._world.speed

    def _decide(self, swap: Swap) -> None:
        """Plan the payout, or the refund with whatever reason."""
        if self.ending == "lost":
            return
        try:
            swap.memo = parse_memo(swap.text, MOST_BYTES[CHAINS[swap.source.chain].is_utxo])
        except BadMemo:
            self._refund(swap, swap.amount)
            return
        memo = swap.memo
        refused = swap.late or memo.target == swap.source or self.ending == "refund"
        if refused or self._network.no_trading(swap.source.chain, memo.target.chain):
            self._refund(swap, swap.amount)
            return
        amount = swap.amount // 2 if self.ending == "partial" else swap.amount
        emit = self._pools.swap(swap.source, memo.target, amount, memo.parts).emit
        emit -= emit * memo.affiliate_bps // 10_000
        outbound = emit - self._pools.outbound_fee(memo.target)
        if outbound * swap.amount < memo.limit * amount or outbound <= 0:
            self._refund(swap, swap.amount)
            return
        swap.outbounds.append(Outbound(memo.target, memo.destination, outbound, refund=False))
        if amount < swap.amount:
            self._refund(swap, swap.amount - amount)

    def _refund(self, swap: Swap, amount: int) -> None:
        wanted = swap.memo.refund if swap.memo else None
        address, rest = wanted or swap.sender, amount - CHAINS[swap.source.chain].outbound_fee
        if address and rest > 0:
            swap.outbounds.append(Outbound(swap.source, address, rest, refund=True))

    def _pay(self, swap: Swap, outbound: Outbound) -> None:
        amount = Decimal(outbound.amount) / UNIT
        chain = carrier(self._world, outbound.asset.chain)
        pay = self._world.chain.pay_token if outbound.asset.is_token else chain.pay
        try:
            txid = pay(outbound.address, amount)
        except ValueError:  # a refund address that is none: the coins stay with the network
            swap.outbounds.remove(outbound)
            return
        outbound.txid, outbound.vault = txid.removeprefix("0x").upper(), self._network.told(outbound.asset.chain)
        facts = {"order_id": swap.txid, "reference": None, "amount": amount, "address": outbound.address, "txid": txid}
        if outbound.refund:
            self._world.truth.executed(SERVICE_ID, "refund", coin=outbound.asset.coin, **facts)
            return
        self._world.truth.delivered(
            SERVICE_ID,
            from_coin=swap.source.coin,
            from_amount=Decimal(swap.amount) / UNIT,
            to_coin=outbound.asset.coin,
            **facts,
        )
