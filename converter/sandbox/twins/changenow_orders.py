"""Orders of the ChangeNOW twin: what they hold, how they live, how they are shown.

Source: `services/changenow.md` section 5. Inferred here: an expired order takes a late deposit and refunds it; a
second deposit to the same address becomes an exchange of its own (listed under `repeatedExchangesInfo`); a floating
order without a deposit expires after three hours; a refund is the deposit less the network fee; a deposit below the
minimum is refunded; without a refund address, what would be refunded is `failed` and waits for an action, and so does
what the sandbox's chain refuses to pay. Amounts on a chain are cut to what it can carry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.changenow_assets import SERVICE_ID, ApiError, Asset, Prices, Wish

STEP_SECONDS = 0.3
FLOATING_SECONDS = 3 * 3600.0
ENDINGS = ("finished", "refunded", "failed", "verifying", "expired")
_FINAL = frozenset({"finished", "failed", "refunded", "expired"})


def iso(moment: float) -> str:
    """Unix seconds as the service's ISO 8601 text with milliseconds and Z."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Order:
    """One exchange of the service."""

    order_id: str
    exchange_id: str
    wish: Wish
    expected_from: Decimal
    expected_to: Decimal
    payin_address: str
    address: str
    created: float
    extra_id: str = ""
    refund_address: str = ""
    refund_extra_id: str = ""
    user_id: str | None = None
    payload: dict[str, Any] | None = None
    rate_id: str | None = None
    valid_until: float | None = None
    status: str = "new"
    updated: float = 0.0
    due: float = 0.0
    late: bool = False
    forced: str | None = None
    amount_from: Decimal | None = None
    amount_to: Decimal | None = None
    deposit_at: float | None = None
    payin_hash: str | None = None
    payout_hash: str | None = None
    refund_hash: str | None = None
    refund_amount: Decimal | None = None
    seen: set[str] = field(default_factory=set)
    original: str | None = None
    repeated: list[str] = field(default_factory=list)

    @property
    def reference(self) -> str | None:
        """The client's own word for the order, where it sent one."""
        told = (self.payload or {}).get("ref")
        return str(told) if told else self.user_id

    @property
    def actions_available(self) -> bool:
        """Whether the deposit can be taken back or the exchange continued."""
        return self.status == "failed" and self.amount_from is not None and self.forced is None


class Orders:
    """All orders, moved along by `tick`."""

    def __init__(self, world: World, prices: Prices) -> None:
        self.ending = "finished"
        self.final_factor = Decimal(1)
        self._world = world
        self._prices = prices
        self._all: dict[str, Order] = {}
        self._seed = f"{SERVICE_ID}:{world.now()}"
        self._count = 0

    def __iter__(self) -> Iterator[Order]:
        return iter(self._all.values())

    def fresh_hex(self, length: int) -> str:
        """An id that no other order of any run has."""
        self._count += 1
        return hashlib.sha256(f"{self._seed}:{self._count}".encode()).hexdigest()[:length]

    def add(self, order: Order) -> None:
        """Take an order; its first step is due a moment later."""
        self._all[order.order_id] = order
        self._move(order, order.status)

    def get(self, order_id: str) -> Order:
        """The order of an id; ApiError 404 when there is none."""
        order = self._all.get(order_id)
        if order is None:
            raise ApiError(404, "not_found", "Transaction not found")
        return order

    def force(self, order: Order, action: str) -> None:
        """`refund` or `continue` a failed order."""
        if not order.actions_available:
            raise ApiError(400, "not_available", f"Action {action} is not available for this transaction")
        order.forced = action
        order.due = self._world.now() + STEP_SECONDS / self._world.speed

    def deposit(self, order: Order, txid: str, amount: Decimal) -> None:
        """A transfer has been mined at the order's address."""
        order.seen.add(txid)
        taker = order
        if order.payin_hash is not None:
            taker = self._repeat(order)
        taker.late = taker.status == "expired"
        taker.payin_hash, taker.amount_from, taker.deposit_at = txid, amount, self._world.now()
        self._move(taker, "confirming")

    def tick(self) -> None:
        """See deposits and take every step that is due."""
        for order in list(self._all.values()):
            carrier = order.wish.sender.carrier(self._world) if order.original is None else None
            for txid, amount in carrier.received(order.payin_address) if carrier else []:
                if txid not in order.seen:
                    self.deposit(order, txid, amount)
        now = self._world.now()
        for order in self._all.values():
            if now < order.due or (order.status in _FINAL and order.forced is None):
                continue
            self._advance(order, now)

    def _advance(self, order: Order, now: float) -> None:
        if order.status == "failed":
            self._resume(order)
        elif order.status == "new":
            self._move(order, "waiting")
        elif order.status == "waiting":
            if self.ending == "expired" or now >= (order.valid_until or order.created + FLOATING_SECONDS):
                self._move(order, "expired")
        elif order.status in {"confirming", "verifying"}:
            wanted = "verifying" if self.ending == "verifying" else "exchanging"
            if wanted != order.status:
                self._move(order, wanted)
        elif order.status == "exchanging":
            self._exchange(order)
        elif order.status == "sending":
            self._pay_out(order)

    def _resume(self, order: Order) -> None:
        if order.forced == "refund":
            self._refund(order)
            order.forced = None
        else:
            self._move(order, "exchanging")

    def _exchange(self, order: Order) -> None:
        amount = order.amount_from or Decimal(0)
        fixed = order.wish.flow == "fixed-rate"
        wrong = amount != order.expected_from if fixed else amount < self._prices.minimum(order.wish.sender)
        if order.forced is None and (self.ending == "refunded" or order.late or wrong):
            self._refund(order)
        elif order.forced is None and self.ending == "failed":
            self._move(order, "failed")
        else:
            order.forced = None
            held = fixed and not wrong
            promised = order.expected_to if held else self._prices.to_amount(*self._pair(order), amount)
            order.amount_to = (promised * self.final_factor).quantize(order.wish.receiver.unit, ROUND_FLOOR)
            self._move(order, "sending" if order.amount_to > 0 else "failed")

    def _pay_out(self, order: Order) -> None:
        receiver, amount = order.wish.receiver, order.amount_to or Decimal(0)
        order.payout_hash = self._pay(receiver, order.address, amount)
        if order.payout_hash is None:
            self._move(order, "failed")
            return
        self._move(order, "finished")
        self._world.truth.delivered(
            SERVICE_ID,
            order_id=order.order_id,
            reference=order.reference,
            from_coin=order.wish.sender.coin,
            from_amount=order.amount_from,
            to_coin=receiver.coin,
            amount=amount,
            address=order.address,
            txid=order.payout_hash,
        )

    def _refund(self, order: Order) -> None:
        amount, address = self.refundable(order), order.refund_address
        order.refund_hash = self._pay(order.wish.sender, address, amount) if address and amount > 0 else None
        if order.refund_hash is None:
            self._move(order, "failed")
            return
        order.refund_amount = amount
        facts = {"order_id": order.order_id, "reference": order.reference, "address": address, "amount": amount}
        self._world.truth.executed(SERVICE_ID, "refund", **facts)
        self._move(order, "refunded")

    def refundable(self, order: Order) -> Decimal:
        """What a refund brings back."""
        return (order.amount_from or Decimal(0)) - order.wish.sender.deposit_fee

    def _pay(self, asset: Asset, address: str, amount: Decimal) -> str | None:
        """The transaction's id; None for an address that is right in shape, but none of the chain."""
        carrier = asset.carrier(self._world)
        if carrier is None:
            return ("0x" if asset.network in ("eth", "etc") else "") + self.fresh_hex(64)
        try:
            return carrier.pay(address, amount)
        except ValueError:
            return None

    def _repeat(self, order: Order) -> Order:
        again = Order(
            order_id=self.fresh_hex(14),
            exchange_id=self.fresh_hex(24),
            wish=Wish(order.wish.sender, order.wish.receiver, "standard", "direct"),
            expected_from=order.expected_from,
            expected_to=order.expected_to,
            payin_address=order.payin_address,
            address=order.address,
            created=self._world.now(),
            extra_id=order.extra_id,
            refund_address=order.refund_address,
            refund_extra_id=order.refund_extra_id,
            user_id=order.user_id,
            payload=order.payload,
            original=order.order_id,
        )
        order.repeated.append(again.order_id)
        self._all[again.order_id] = again
        return again

    def _move(self, order: Order, status: str) -> None:
        order.status = status
        order.updated = self._world.now()
        order.due = order.updated + STEP_SECONDS / self._world.speed

    @staticmethod
    def _pair(order: Order) -> tuple[Asset, Asset]:
        return order.wish.sender, order.wish.receiver
