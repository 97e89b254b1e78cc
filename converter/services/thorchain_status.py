"""Where a THORChain swap stands, read from its stages and payments and held against our deposit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import IntegrityMismatch
from converter.domain.money import floor_unit, from_units
from converter.domain.orders import Deposit, Order, OrderRef, OrderStatus, Refund
from converter.services.base import text
from converter.services.thorchain_assets import (
    UNIT_DECIMALS,
    chain_of,
    name_of,
    same_address,
    spelled,
    spelled_txid,
    units,
)


@dataclass(frozen=True)
class _Payment:
    """What the network planned or sent; a plan has no transaction."""

    address: str
    amount: int
    txid: str = ""


@dataclass(frozen=True)
class _Side:
    """Payments of one kind: payouts in the target, or refunds in the source."""

    planned: list[_Payment]
    sent: list[_Payment]

    @property
    def is_any(self) -> bool:
        return bool(self.planned or self.sent)


def order_of(ref: OrderRef, deposit: Deposit, name: str, body: Any) -> Order | None:
    """The order of our deposit, whose hash is `name`; None while the network has not seen it."""
    stages, deposited = body["stages"], body.get("tx")
    is_observed = _flag(stages["inbound_observed"]["completed"])
    planned, sent = (list.copy(body.get(field) or []) for field in ("planned_out_txs", "out_txs"))
    if deposited is None:
        if is_observed or planned or sent:
            raise ValueError("a swap without its deposit")
        return None
    _check_deposit(ref, deposit, name, deposited)
    source, target = ref.request.from_asset, ref.request.to_asset
    outs = _Side([_plan(target, row) for row in planned if not _flag(row["refund"])], _sent(target, "OUT", name, sent))
    backs = _Side([_plan(source, row) for row in planned if _flag(row["refund"])], _sent(source, "REFUND", name, sent))
    if len(outs.sent) + len(backs.sent) != len(sent):
        raise ValueError("a payment of an unknown kind")
    if not all(same_address(target, one.address, ref.request.address) for one in (*outs.planned, *outs.sent)):
        raise IntegrityMismatch("thorchain", "status", detail="the payout goes to another address")
    if outs.is_any and backs.is_any:
        return Order(ref, OrderStatus.HELD, deposit, detail="partly paid out, partly refunded")
    if backs.is_any:
        return _refunded(ref, deposit, backs, stages, deposited)
    if outs.is_any:
        return _paid(ref, deposit, outs, stages)
    if _is_swapped(stages):
        return Order(ref, OrderStatus.HELD, deposit, detail="swapped, and nothing is planned or paid")
    return Order(ref, OrderStatus.OPEN, deposit)


def _check_deposit(ref: OrderRef, deposit: Deposit, name: str, told: Any) -> None:
    """IntegrityMismatch unless the network saw exactly our deposit."""
    source = ref.request.from_asset
    coins = [(row["asset"], from_units(units(row["amount"]), UNIT_DECIMALS)) for row in list.copy(told["coins"])]
    ours = (name, chain_of(source), deposit.memo, [(name_of(source), deposit.amount)])
    if (text(told["id"]).upper(), told["chain"], told["memo"], coins) != ours:
        raise IntegrityMismatch("thorchain", "status", detail="the deposit that it saw is not ours")
    if not same_address(source, text(told["to_address"]), deposit.address):
        raise IntegrityMismatch("thorchain", "status", detail="the deposit went to another vault")


def _paid(ref: OrderRef, deposit: Deposit, outs: _Side, stages: Any) -> Order:
    if not outs.sent or not _is_done(stages, "outbound_signed"):
        return Order(ref, OrderStatus.PAYING_OUT, deposit)
    total = from_units(sum(one.amount for one in outs.sent), UNIT_DECIMALS)
    delivered = floor_unit(total, ref.request.to_asset.decimals)
    if delivered <= 0:
        raise ValueError("paid out without an amount")
    return Order(ref, OrderStatus.SETTLED, deposit, delivered=delivered, txid=outs.sent[0].txid)


def _refunded(ref: OrderRef, deposit: Deposit, backs: _Side, stages: Any, deposited: Any) -> Order:
    """A refund goes to the address that paid; one that did not is told without its place."""
    if not backs.sent or ("outbound_signed" in stages and not _is_done(stages, "outbound_signed")):
        return Order(ref, OrderStatus.OPEN, deposit, detail="a refund is planned")
    source, payer, refund = ref.request.from_asset, deposited.get("from_address"), None
    if len(backs.sent) == 1 and payer and same_address(source, backs.sent[0].address, text(payer)):
        one = backs.sent[0]
        refund = Refund(spelled(source, one.address), from_units(one.amount, UNIT_DECIMALS), one.txid)
    return Order(ref, OrderStatus.REFUNDED, deposit, detail="refunded", refund=refund)


def _is_swapped(stages: Any) -> bool:
    """`swap_finalised` will be retired in favour of `swap_status`."""
    if "swap_finalised" in stages:
        return _is_done(stages, "swap_finalised")
    status = stages.get("swap_status")
    return status is not None and not _flag(status["pending"]) and _is_done(stages, "inbound_finalised")


def _is_done(stages: Any, name: str) -> bool:
    return _flag((stages.get(name) or {}).get("completed", False))


def _plan(asset: Asset, row: Any) -> _Payment:
    return _Payment(text(row["to_address"]), _worth(asset, [row["coin"]]))


def _sent(asset: Asset, kind: str, name: str, rows: list[Any]) -> list[_Payment]:
    """Payments whose memo says that they answer our deposit in this way."""
    return [
        _Payment(text(row["to_address"]), _worth(asset, row["coins"]), spelled_txid(asset, text(row["id"])))
        for row in rows
        if text(row["memo"]).upper() == f"{kind}:{name}"
    ]


def _worth(asset: Asset, coins: Any) -> int:
    """The sum of coins of one asset, in 1e-8 units. IntegrityMismatch for another asset."""
    rows = list.copy(coins)
    if not rows or any(row["asset"] != name_of(asset) for row in rows):
        raise IntegrityMismatch("thorchain", "status", detail="a payment of another asset")
    return sum(units(row["amount"]) for row in rows)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a truth value")  # noqa: TRY004  parsing turns ValueError into a malformed answer
    return value
