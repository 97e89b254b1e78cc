"""`/thorchain/quote/swap` of the THORChain twin. Source: `services/thorchain.md` section 4.

Inferred here: the order of the checks; a token's contract is cut to its last five digits in memos; where the network
picks the number of parts it picks `MOST_PARTS`; the text of a refusal for a token as source; estimates of the delay
other than the sheet's example. A liquidity tolerance of 0 is none, as in the node's source: the memo has no limit then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converter.sandbox.twin import Request, World
from converter.sandbox.twins.thorchain_memo import MOST_BYTES
from converter.sandbox.twins.thorchain_network import Network
from converter.sandbox.twins.thorchain_pools import CHAINS, SERVICE_ID, PoolAsset, Pools, asset_named, is_address

EXPIRES_AFTER = 900
OUTBOUND_BLOCKS = 12
MOST_PARTS = 20
BAD, FAILED = (400, 3), (500, 2)


class ThorError(Exception):
    """A refusal: HTTP status and code of the answer's body."""

    def __init__(self, message: str, kind: tuple[int, int] = BAD) -> None:
        super().__init__(message)
        self.status, self.code = kind


@dataclass(frozen=True)
class Wish:
    """A checked request for a quote."""

    source: PoolAsset
    target: PoolAsset
    amount: int
    destination: str | None
    refund: str | None
    interval: int
    quantity: int
    tolerance: int | None
    liquidity_tolerance: int | None
    affiliate: str
    affiliate_bps: int

    @property
    def parts(self) -> int:
        """Into how many swaps the amount is split."""
        return (self.quantity or MOST_PARTS) if self.interval else 1


class Quotes:
    """Answers quotes; creates nothing."""

    def __init__(self, world: World, pools: Pools, network: Network) -> None:
        self.seconds = EXPIRES_AFTER
        self._world, self._pools, self._network = world, pools, network

    def answer(self, request: Request) -> dict[str, Any]:
        """A quote; ThorError says why there is none."""
        wish = read_wish(request)
        if self._network.no_trading(wish.source.chain, wish.target.chain):
            raise ThorError("failed to simulate swap: trading is halted, can't process swap", FAILED)
        factor = self._world.wrong_rate(SERVICE_ID)
        swapped = self._pools.swap(wish.source, wish.target, wish.amount, wish.parts)
        emit, outbound = int(swapped.emit * factor), self._pools.outbound_fee(wish.target)
        affiliate = emit * wish.affiliate_bps // 10_000
        expected = emit - affiliate - outbound
        if expected <= 0:
            raise ThorError(f"failed to simulate swap: invariant broken: emit {emit} less than outbound fee {outbound}")
        flat = int(self._pools.without_slip(wish.source, wish.target, wish.amount) * factor)
        limit = self._limit(wish, flat, expected)
        if emit - affiliate < limit:
            text = f"failed to simulate swap: emit asset {emit} less than price limit {limit}"
            raise ThorError(text, FAILED)
        if expected < limit:
            text = f"failed to simulate swap: outbound amount does not meet requirements ({expected}/{limit})"
            raise ThorError(text, FAILED)
        total = affiliate + outbound + swapped.liquidity
        fees = {
            "asset": wish.target.name,
            "affiliate": str(affiliate),
            "outbound": str(outbound),
            "liquidity": str(swapped.liquidity),
            "total": str(total),
            "slippage_bps": swapped.liquidity * 10_000 // (emit + swapped.liquidity),
            "total_bps": total * 10_000 // (emit + total),
        }
        return self._view(wish) | {"fees": fees, "expected_amount_out": str(expected)} | self._memo(wish, limit)

    def _limit(self, wish: Wish, flat: int, expected: int) -> int:
        if wish.tolerance is not None:
            return flat * (10_000 - wish.tolerance) // 10_000
        if wish.liquidity_tolerance:
            return expected * (10_000 - wish.liquidity_tolerance) // 10_000
        return 0

    def _memo(self, wish: Wish, limit: int) -> dict[str, str]:
        if wish.destination is None:
            return {}
        memo = f"=:{wish.target.brief}:{wish.destination}"
        memo += f"/{wish.refund}" if wish.refund else ""
        if wish.interval:
            memo += f":{limit}/{wish.interval}/{wish.quantity}"
        elif limit or wish.affiliate_bps:
            memo += f":{limit or ''}"
        memo += f":{wish.affiliate}:{wish.affiliate_bps}" if wish.affiliate_bps else ""
        if len(memo) > MOST_BYTES[CHAINS[wish.source.chain].is_utxo]:
            raise ThorError("generated memo too long for source chain")
        self._network.quoted[memo] = self._expiry
        return {"memo": memo}

    @property
    def _expiry(self) -> int:
        return int(self._world.now()) + self.seconds

    def _view(self, wish: Wish) -> dict[str, Any]:
        facts, target = CHAINS[wish.source.chain], wish.target
        in_source = self._pools.without_slip(target, wish.source, self._pools.outbound_fee(target))
        confirmation, delay = facts.block_ms // 1000, OUTBOUND_BLOCKS * 6
        streaming = (wish.parts - 1) * wish.interval * 6
        return {
            "inbound_address": self._network.told(facts.name),
            **({} if facts.is_utxo else {"router": self._network.router}),
            "inbound_confirmation_blocks": 1,
            "inbound_confirmation_seconds": confirmation,
            "outbound_delay_blocks": OUTBOUND_BLOCKS,
            "outbound_delay_seconds": delay,
            "expiry": self._expiry,
            "warning": "Ask again before each use; nothing may be sent after the expiry.",
            "notes": "Pay the inbound address, bring the memo along, stay above the dust threshold.",
            "dust_threshold": str(facts.dust),
            "recommended_min_amount_in": str(3 * max(self._pools.outbound_fee(wish.source), in_source)),
            "recommended_gas_rate": str(facts.gas_rate),
            "gas_rate_units": facts.gas_units,
            "max_streaming_quantity": MOST_PARTS,
            "streaming_swap_blocks": (wish.parts - 1) * wish.interval,
            "streaming_swap_seconds": streaming,
            "total_swap_seconds": confirmation + max(delay, streaming),
        }


def read_wish(request: Request) -> Wish:
    """Check the parameters of a request."""
    for name, shown in (("from_asset", "from_asset"), ("to_asset", "to_asset"), ("amount", "Amount")):
        if not request.one(name):
            raise ThorError(f"missing {shown} parameter")
    source, target = _asset(request, "from"), _asset(request, "to")
    if source.is_token:
        raise ThorError(f"bad from asset: deposits of {source.name} go through a router, which is not served here")
    if source == target:
        raise ThorError("failed to simulate swap: source and target are the same", FAILED)
    amount = _number(request, "amount", "bad amount") or 0
    if amount <= CHAINS[source.chain].dust:
        raise ThorError("amount less than dust threshold")
    destination, refund = request.one("destination"), request.one("refund_address")
    if destination and not is_address(target.chain, destination):
        raise ThorError(f"bad destination address: {destination!r:.80}")
    if refund and not is_address(source.chain, refund):
        raise ThorError(f"bad refund address: {refund!r:.80}")
    tolerance, liquidity_tolerance = _tolerances(request)
    bps = _number(request, "affiliate_bps", "bad affiliate basis points") or 0
    if bps > 1000:
        raise ThorError("total affiliate fee must not be more than 1000 bps")
    return Wish(
        source,
        target,
        amount,
        destination,
        refund,
        _number(request, "streaming_interval", "bad streaming interval") or 0,
        min(MOST_PARTS, _number(request, "streaming_quantity", "bad streaming quantity") or 0),
        tolerance,
        liquidity_tolerance,
        request.one("affiliate") or "",
        bps,
    )


def _tolerances(request: Request) -> tuple[int | None, int | None]:
    plain = _number(request, "tolerance_bps", "bad tolerance basis points")
    liquid = _number(request, "liquidity_tolerance_bps", "bad liquidity tolerance basis points")
    if plain is not None and liquid is not None:
        raise ThorError("must only include one of: tolerance_bps or liquidity_tolerance_bps")
    if plain is not None and plain >= 10_000:
        raise ThorError("tolerance basis points must be less than 10000")
    if liquid is not None and liquid >= 10_000:
        raise ThorError("liquidity tolerance basis points must be less than 10000")
    return plain, liquid


def _asset(request: Request, side: str) -> PoolAsset:
    name = request.one(f"{side}_asset") or ""
    if "." not in name:
        raise ThorError(f"bad {side} asset: {name!r:.60}")
    found = asset_named(name)
    if found is None:
        raise ThorError("pool does not exist")
    return found


def _number(request: Request, name: str, problem: str) -> int | None:
    text = request.one(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ThorError(f"{problem}: {text!r:.40}")
    return int(text)
