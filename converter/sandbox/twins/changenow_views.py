"""How the ChangeNOW twin shows its orders: the create answer, the status by id, and the partner's list.

Source: `services/changenow.md` sections 4 and 5. In the list, times carry no Z and `requestId` is the id used
everywhere else, as the sheet says. Inferred here: `count` is the number of all matches before paging; the list is
newest first and ten rows long unless told otherwise; the partner's commission is 0.4 % of the payout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twins.changenow_assets import UNIT, ApiError, number
from converter.sandbox.twins.changenow_orders import Order, iso

_MAX_LIMIT = 200
_COMMISSION_PERCENT = Decimal("0.4")


def created_view(order: Order, factor: Decimal) -> dict[str, Any]:
    """The answer to a create call; `factor` is the sandbox's wrong-amount fault."""
    body = {
        "id": order.order_id,
        "fromAmount": number(order.expected_from * factor),
        "toAmount": number(order.expected_to),
        "flow": order.wish.flow,
        "type": order.wish.kind,
        "payinAddress": order.payin_address,
        "payinExtraId": "",
        "payoutAddress": order.address,
        "payoutExtraId": order.extra_id,
        "payoutExtraIdName": "",
        **order.wish.pair(),
        "refundAddress": order.refund_address,
        "refundExtraId": order.refund_extra_id,
    }
    if order.wish.flow == "fixed-rate":
        body |= {"rateId": order.rate_id, "validUntil": _moment(order.valid_until)}
    return body


def status_view(order: Order) -> dict[str, Any]:
    """The answer to a status call."""
    return {
        "id": order.order_id,
        "status": order.status,
        "actionsAvailable": order.actions_available,
        **order.wish.pair(),
        "expectedAmountFrom": number(order.expected_from),
        "expectedAmountTo": number(order.expected_to),
        "amountFrom": number(order.amount_from),
        "amountTo": number(order.amount_to),
        "payinAddress": order.payin_address,
        "payoutAddress": order.address,
        "payinExtraId": None,
        "payoutExtraId": order.extra_id or None,
        "refundAddress": order.refund_address or None,
        "refundExtraId": order.refund_extra_id or None,
        "createdAt": iso(order.created),
        "updatedAt": iso(order.updated),
        "depositReceivedAt": _moment(order.deposit_at),
        "payinHash": order.payin_hash,
        "payoutHash": order.payout_hash,
        "fromLegacyTicker": order.wish.sender.legacy,
        "toLegacyTicker": order.wish.receiver.legacy,
        "refundHash": order.refund_hash,
        "refundAmount": number(order.refund_amount),
        "userId": order.user_id,
        "payload": order.payload,
        "validUntil": _moment(order.valid_until),
        "relatedExchangesInfo": [],
        "repeatedExchangesInfo": [{"id": order_id} for order_id in order.repeated],
        "originalExchangeInfo": {"id": order.original} if order.original else None,
    }


def list_row(order: Order) -> dict[str, Any]:
    """One row of the partner's list."""
    sender, receiver = order.wish.sender, order.wish.receiver
    refunded = order.refund_hash is not None
    return {
        "createdAt": iso(order.created).removesuffix("Z"),
        "updatedAt": iso(order.updated).removesuffix("Z"),
        "exchangeId": order.exchange_id,
        "requestId": order.order_id,
        "status": order.status,
        "validUntil": _moment(order.valid_until),
        "flow": order.wish.flow,
        "payin": {
            "currency": sender.ticker,
            "address": order.payin_address,
            "extraId": None,
            "amount": number(order.amount_from),
            "expectedAmount": number(order.expected_from),
            "hash": order.payin_hash,
        },
        "payout": {
            "currency": receiver.ticker,
            "address": order.address,
            "extraId": order.extra_id or None,
            "amount": number(order.amount_to),
            "expectedAmount": number(order.expected_to),
            "hash": order.payout_hash,
        },
        "refund": {
            "currency": sender.ticker if refunded else None,
            "address": order.refund_address or None,
            "extra_id": order.refund_extra_id or None,
            "hash": order.refund_hash,
        },
        "partnerInfo": {"commission": _commission(order), "userId": order.user_id, "payload": order.payload},
    }


def _commission(order: Order) -> dict[str, Any]:
    paid = order.amount_to if order.amount_to is not None else order.expected_to
    amount = (paid * _COMMISSION_PERCENT / 100).quantize(UNIT, ROUND_FLOOR)
    return {"currency": order.wish.receiver.ticker, "amount": number(amount), "percent": _COMMISSION_PERCENT}


@dataclass(frozen=True)
class ListQuery:
    """The parameters of the partner's list, checked."""

    limit: int
    offset: int
    descending: bool
    sort_field: str
    date_field: str
    date_from: float | None
    date_to: float | None
    equal: Mapping[str, str]  # requestId, userId, payoutAddress
    statuses: frozenset[str]

    @classmethod
    def of(cls, query: Mapping[str, list[str]]) -> ListQuery:
        """Read a query string; ApiError names the parameter that is wrong."""
        one = {name: values[0] for name, values in query.items() if values and values[0]}
        direction = one.get("sortDirection", "DESC")
        if direction not in {"ASC", "DESC"}:
            raise _bad("sortDirection")
        statuses = [*query.get("statuses", []), *query.get("statuses[]", [])]
        return cls(
            limit=_whole(one.get("limit", "10"), "limit", 1, _MAX_LIMIT),
            offset=_whole(one.get("offset", "0"), "offset", 0, 10**9),
            descending=direction == "DESC",
            sort_field=_field(one.get("sortField", "createdAt"), "sortField"),
            date_field=_field(one.get("dateField", "createdAt"), "dateField"),
            date_from=_time(one.get("dateFrom"), "dateFrom"),
            date_to=_time(one.get("dateTo"), "dateTo"),
            equal={name: one[name] for name in ("requestId", "userId", "payoutAddress") if name in one},
            statuses=frozenset(word for text in statuses for word in text.split(",") if word),
        )

    def answer(self, orders: Iterable[Order]) -> dict[str, Any]:
        """The list's body: all matches counted, one page shown."""
        found = [order for order in orders if self._matches(order)]
        found.sort(key=lambda order: _stamp(order, self.sort_field), reverse=self.descending)
        page = found[self.offset : self.offset + self.limit]
        return {"count": len(found), "exchanges": [list_row(order) for order in page]}

    def _matches(self, order: Order) -> bool:
        known = {"requestId": order.order_id, "userId": order.user_id, "payoutAddress": order.address}
        # The service shows milliseconds, so a row's own shown time must find the row.
        stamp = int(_stamp(order, self.date_field) * 1000) / 1000
        return (
            all(known[name] == value for name, value in self.equal.items())
            and (not self.statuses or order.status in self.statuses)
            and (self.date_from is None or stamp >= self.date_from)
            and (self.date_to is None or stamp <= self.date_to)
        )


def _stamp(order: Order, name: str) -> float:
    return order.created if name == "createdAt" else order.updated


def _moment(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)


def _bad(name: str) -> ApiError:
    return ApiError(400, "not_valid_params", f"Parameter {name} is not valid")


def _field(value: str, name: str) -> str:
    if value not in {"createdAt", "updatedAt"}:
        raise _bad(name)
    return value


def _whole(text: str, name: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise _bad(name)
    return int(text)


def _time(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad(name) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
