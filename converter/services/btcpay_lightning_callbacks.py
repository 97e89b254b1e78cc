"""Callbacks of BTCPay (webhooks): `BTCPay-Sig: sha256=<hex>`, HMAC-SHA256 of the raw body with the webhook's secret.

Payout events name the payout, which is the order; other events name none and are no news to us. The event's schema is
missing from the service's OpenAPI file: the names are from its source. `originalDeliveryId` tells a redelivery, which
needs no care: a hint may come any number of times.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from converter.services.base import ServiceSettings
from converter.services.callbacks import CallbackHint, CallbackRefused, json_fields, name_of, same, secret


def read(headers: Mapping[str, str], body: bytes, settings: ServiceSettings) -> CallbackHint:
    """Verify a webhook and tell its payout. Raises CallbackRefused, CallbackUnreadable."""
    digest = hmac.new(secret(settings), body, hashlib.sha256).hexdigest()
    if not same(f"sha256={digest}", headers.get("btcpay-sig", "")):
        raise CallbackRefused("the signature does not match")
    return CallbackHint(order_id=name_of(json_fields(body).get("payoutId")))
