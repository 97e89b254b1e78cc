"""Exchanges of the SimpleSwap twin: what they hold, how they live, how they are shown.

Source: `services/simpleswap.md` sections 4 and 5. Inferred here: an expired exchange takes a late deposit and refunds
it; a second deposit to the same address becomes an exchange of its own; a floating exchange without a deposit expires
after three hours; a refund is the deposit less the network fee, and its transaction is told nowhere, or in `txTo` where
`tells_refund` is set; a deposit below the minimum, or another amount than a fixed rate was given for, is refunded;
without a refund address it is `failed`; `amountFrom` is what really came once it came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.carriers import made_up_address
from converter.sandbox.twin import World
from converter.sandbox.twins.simpleswap_assets import SERVICE_ID, ApiError, Asset, Prices, Wish, text_of

STEP_SECONDS = 0.3
FLOATING_SECONDS = 3 * 3600.0
ENDINGS = ("finished", "verifying", "failed", "refunded", "expired")
FINAL = frozenset({"finished", "failed", "refunded", "expired"})
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def iso(moment: float | None) -> str | None:
    """Unix seconds as the service's ISO 8601 text with milliseconds and Z."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Order:
    """One exchange."""

    order_id: str
    wish: Wish
    amount_from: Decimal
    amount_to: Decimal
    address_from: str
    address_to: str
    created: float
    extra_id_to: str = ""
    refund_address: str = ""
    refund_extra_id: str = ""
    valid_until: float | None = None
    status: str = "waiting"
    updated: float = 0.0
    due: float = 0.0
    promised: Decimal = Decimal(0)  # what had to be sent for the fixed rate
    tx_from: str | None = None
    tx_to: str | None = None
    late: bool = False
    first: bool = True  # false for the exchange that a further deposit makes
    seen: set[str] = field(default_factory=set)

    def view(self, id_field: str, factor: Decimal = Decimal(1)) -> dict[str, Any]:
        """The exchange's JSON; `factor` is the sandbox's wrong-amount fault."""
        return {
            id_field: self.order_id,
            "type": "fixed" if self.wish.fixed else "floating",
            "createdAt": iso(self.created),
            "updatedAt": iso(self.updated),
            "validUntil": iso(self.valid_until),
            **self.wish.pair(),
            "amountFrom": text_of(self.amount_from * factor),
            "amountTo": text_of(self.amount_to),
            "addressFrom": self.address_from,
            "extraIdFrom": None,
            "addressTo": self.address_to,
            "extraIdTo": self.extra_id_to or None,
            "userRefundAddress": self.refund_address or None,
            "userRefundExtraId": self.refund_extra_id or None,
            "txFrom": self.tx_from,
            "txTo": self.tx_to,
            "status": self.status,
        }


class Orders:
    """All exchanges, moved along by `tick`; `changed` is told of every new status."""

    def __init__(self, world: World, prices: Prices, changed: Callable[[Order], None]) -> None:
        self.ending = "finished"
        self.final_factor = Decimal(1)
        self.tells_refund = False
        self._world = world
        self._prices = prices
        self._changed = changed
        self._all: dict[str, Order] = {}
        self._seed = f"{SERVICE_ID}:{world.now()}"
        self._count = 0

    def __iter__(self) -> Iterator[Order]:
        return iter(self._all.values())

    def digest(self) -> int:
        """A number that no other call of any run has given."""
        self._count += 1
        return int.from_bytes(hashlib.sha256(f"{self._seed}:{self._count}".encode()).digest())

    def new_id(self) -> str:
        """An id in the service's style: sixteen lower-case letters and digits."""
        digest = self.digest()
        return "".join(_ALPHABET[digest // 36**place % 36] for place in range(16))

    def new_address(self, asset: Asset) -> str:
        """A deposit address: on the sandbox's chain where there is one, made up otherwise."""
        chain = asset.carrier(self._world)
        return chain.new_address(SERVICE_ID) if chain else made_up_address(asset.network.upper(), self.digest())

    def add(self, order: Order) -> None:
        """Take an exchange."""
        order.promised = order.amount_from
        self._all[order.order_id] = order
        self._move(order, "waiting")

    def get(self, order_id: str) -> Order:
        """The exchange of an id; ApiError 404 when there is none."""
        order = self._all.get(order_id)
        if order is None:
            raise ApiError(404, "Exchange not found")
        return order

    def deposit(self, order: Order, txid: str, amount: Decimal) -> None:
        """Coins have arrived at the exchange's address."""
        order.seen.add(txid)
        taker = order
        if order.tx_from is not None:
            fresh = replace(order, order_id=self.new_id(), created=self._world.now(), first=False, seen=set())
            fresh.tx_to, fresh.late = None, False
            taker = self._all[fresh.order_id] = fresh
        over = taker.valid_until is not None and self._world.now() >= taker.valid_until
        taker.late = over or taker.status == "expired"
        taker.tx_from, taker.amount_from = txid, amount
        self._move(taker, "confirming")

    def tick(self) -> None:
        """See deposits and take every step that is due."""
        for order in list(self._all.values()):
            chain = order.wish.sender.carrier(self._world) if order.first else None
            for txid, amount in chain.received(order.address_from) if chain else []:
                if txid not in order.seen:
                    self.deposit(order, txid, amount)
        now = self._world.now()
        for order in list(self._all.values()):
            if order.status not in FINAL and now >= order.due:
                self._advance(order, now)

    def _advance(self, order: Order, now: float) -> None:
        if order.status == "waiting":
            if self.ending == "expired" or now >= (order.valid_until or order.created + FLOATING_SECONDS):
                self._move(order, "expired")
        elif order.status in ("confirming", "verifying"):
            wanted = "verifying" if self.ending == "verifying" else "exchanging"
            if wanted != order.status:
                self._move(order, wanted)
        elif order.status == "exchanging":
            self._exchange(order)
        else:
            self._pay_out(order)

    def _exchange(self, order: Order) -> None:
        fixed = order.wish.fixed
        least, _ = self._prices.limits(order.wish)
        wrong = order.amount_from != order.promised if fixed else order.amount_from < least
        if order.late or wrong or self.ending == "refunded":
            self._refund(order)
        elif self.ending == "failed":
            self._move(order, "failed")
        else:
            amount = order.amount_to if fixed else self._prices.received(order.wish, order.amount_from)
            order.amount_to = (amount * self.final_factor).quantize(order.wish.receiver.unit, ROUND_FLOOR)
            self._move(order, "sending" if order.amount_to > 0 else "failed")

    def _pay_out(self, order: Order) -> None:
        receiver = order.wish.receiver
        try:
            order.tx_to = self._pay(receiver, order.address_to, order.amount_to)
        except ValueError:  # right in shape, but no address of the chain
            self._move(order, "failed")
            return
        self._world.truth.delivered(
            SERVICE_ID,
            order_id=order.order_id,
            reference=None,
            from_coin=order.wish.sender.coin,
            from_amount=order.amount_from,
            to_coin=receiver.coin,
            amount=order.amount_to,
            address=order.address_to,
            txid=order.tx_to,
        )
        self._move(order, "finished")

    def _refund(self, order: Order) -> None:
        amount = order.amount_from - order.wish.sender.network_fee
        if not order.refund_address or amount <= 0:
            self._move(order, "failed")
            return
        try:
            txid = self._pay(order.wish.sender, order.refund_address, amount)
        except ValueError:
            self._move(order, "failed")
            return
        order.tx_to = txid if self.tells_refund else None
        self._world.truth.executed(
            SERVICE_ID, "refund", order_id=order.order_id, reference=None, address=order.refund_address, amount=amount
        )
        self._move(order, "refunded")

    def _pay(self, asset: Asset, address: str, amount: Decimal) -> str:
        chain = asset.carrier(self._world)
        if chain is not None:
            return chain.pay(address, amount)
        return ("0x" if asset.network in ("eth", "etc") else "") + f"{self.digest():064x}"

    def _move(self, order: Order, status: str) -> None:
        order.status = status
        order.updated = self._world.now()
        order.due = order.updated + STEP_SECONDS / self._world.speed
        self._changed(order)
