"""Conversions, events and alerts as JSON shows them, the same on every face: the command line, HTTP, webhooks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from converter.domain.alerts import Alert
from converter.domain.conversions import Conversion
from converter.domain.events import Event
from converter.domain.money import plain


def conversion_facts(conversion: Conversion) -> dict[str, Any]:
    """A conversion. Amounts are plain decimal text, moments ISO 8601 in UTC; what is not known is None."""
    request = conversion.request
    return {
        "id": conversion.id,
        "state": conversion.state,
        "fromCoin": request.from_asset.coin,
        "fromNetwork": request.from_asset.network,
        "toCoin": request.to_asset.coin,
        "toNetwork": request.to_asset.network,
        "amount": plain(request.amount),
        "address": request.address,
        "idempotencyKey": request.idempotency_key,
        "service": conversion.service_id,
        "promised": _amount(conversion.promised),
        "delivered": _amount(conversion.delivered),
        "txid": conversion.txid or None,
        "reason": conversion.reason or None,
        "round": conversion.round,
        "failovers": conversion.failovers,
        "createdAt": conversion.created_at.isoformat(),
        "completedAt": conversion.completed_at.isoformat() if conversion.completed_at else None,
    }


def event_facts(event: Event) -> dict[str, Any]:
    """An event of the outbox; `id` grows with the order in which events were committed."""
    return {
        "id": event.sequence,
        "name": event.name,
        "at": event.at.isoformat() if event.at is not None else None,
        "conversionId": event.conversion_id,
        "payload": event.payload,
    }


def alert_facts(alert: Alert) -> dict[str, Any]:
    """An alert; `resolvedAt` is None while it fires."""
    what = alert.what
    return {
        "key": what.key,
        "name": what.name,
        "text": what.text,
        "severity": what.severity,
        "firing": alert.firing,
        "firstAt": alert.first_at.isoformat(),
        "lastAt": alert.last_at.isoformat(),
        "resolvedAt": alert.resolved_at.isoformat() if alert.resolved_at is not None else None,
        "count": alert.count,
        "serviceId": what.service_id,
        "conversionId": what.conversion_id,
    }


def _amount(amount: Decimal | None) -> str | None:
    return plain(amount) if amount is not None else None
