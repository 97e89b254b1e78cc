"""How the THORChain twin shows swaps. Source: `services/thorchain.md` section 6.

Stages appear as they are reached; an unknown hash is no error but a swap that nobody has observed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from converter.sandbox.twins.thorchain_pools import CHAINS, spelled
from converter.sandbox.twins.thorchain_swaps import CONFIRMED, DONE, OBSERVED, SCHEDULED, SWAPPING, Outbound, Swap

VALIDATORS = 80


def status_view(swap: Swap | None, height: int, factor: Decimal) -> dict[str, Any]:
    """`/thorchain/tx/status/{hash}`; `factor` is the sandbox's wrong-amount fault."""
    if swap is None:
        return {"stages": {"inbound_observed": {"started": False, "final_count": 0, "completed": False}}}
    view: dict[str, Any] = {"tx": tx_view(swap)}
    if swap.outbounds:
        view["planned_out_txs"] = [_planned(outbound) for outbound in swap.outbounds]
    if sent := [_sent(swap, outbound, factor) for outbound in swap.outbounds if outbound.txid]:
        view["out_txs"] = sent
    return view | {"stages": _stages(swap, height)}


def tx_view(swap: Swap) -> dict[str, Any]:
    """The deposit."""
    fee = str(CHAINS[swap.source.chain].outbound_fee // 4)
    return {
        "id": swap.txid,
        "chain": swap.source.chain,
        "from_address": swap.sender or "",
        "to_address": spelled(swap.source.chain, swap.vault),
        "coins": [{"asset": swap.source.name, "amount": str(swap.amount)}],
        "gas": [{"asset": swap.source.name, "amount": fee}],
        "memo": swap.text,
    }


def _planned(outbound: Outbound) -> dict[str, Any]:
    return {
        "chain": outbound.asset.chain,
        "to_address": outbound.address,
        "coin": {"asset": outbound.asset.name, "amount": str(outbound.amount)},
        "refund": outbound.refund,
    }


def _sent(swap: Swap, outbound: Outbound, factor: Decimal) -> dict[str, Any]:
    native = f"{outbound.asset.chain}.{outbound.asset.chain}"
    return {
        "id": outbound.txid,
        "chain": outbound.asset.chain,
        "from_address": outbound.vault,
        "to_address": outbound.address,
        "coins": [{"asset": outbound.asset.name, "amount": str(int(outbound.amount * factor))}],
        "gas": [{"asset": native, "amount": str(CHAINS[outbound.asset.chain].outbound_fee * 2 // 3)}],
        "memo": f"{'REFUND' if outbound.refund else 'OUT'}:{swap.txid}",
    }


def _stages(swap: Swap, height: int) -> dict[str, Any]:
    seen = swap.stage > OBSERVED
    stages: dict[str, Any] = {"inbound_observed": {"started": True, "final_count": VALIDATORS, "completed": True}}
    stages["inbound_confirmation_counted"] = {
        "counting_start_height": swap.seen_at,
        "chain": swap.source.chain,
        "remaining_confirmation_seconds": 0 if seen else CHAINS[swap.source.chain].block_ms // 1000,
        "completed": seen,
    }
    if not seen:
        return stages
    stages["inbound_finalised"] = {"completed": swap.stage >= CONFIRMED}
    swapped = swap.stage > SWAPPING
    stages["swap_status"] = {"pending": not swapped}
    if swap.memo and swap.memo.interval:
        parts = swap.memo.parts
        stages["swap_status"]["streaming"] = {"interval": swap.memo.interval, "quantity": parts, "count": parts}
    stages["swap_finalised"] = {"completed": swapped}
    if swap.stage >= SCHEDULED and swap.outbounds:
        done = swap.stage == DONE
        stages["outbound_delay"] = {
            "remaining_delay_blocks": 0 if done else 1,
            "remaining_delay_seconds": 0 if done else 6,
            "completed": done,
        }
        stages["outbound_signed"] = {
            "scheduled_outbound_height": swap.scheduled_at,
            "blocks_since_scheduled": max(0, height - swap.scheduled_at),
            "completed": done,
        }
    return stages
