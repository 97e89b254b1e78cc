"""Callbacks of CoinPayments (webhooks of the current API), signed like its requests with the client secret.

What HMAC-SHA256 signs: a byte-order mark, POST, the address as it was registered, the client id, the timestamp, the raw
body; in base64. The address is the option `callbackUrl`: through a proxy, a callback arrives here under another one.
A webhook tells no state. How long the service repeats one, and whether it signs it anew, was not found; so the age of
the timestamp is not judged: a replay is a hint like any other. The legacy API (`HMAC` header) is not used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from converter.services.base import ServiceSettings
from converter.services.callbacks import (
    CallbackHint,
    CallbackRefused,
    as_bytes,
    json_fields,
    name_of,
    same,
    secret,
)


def read(headers: Mapping[str, str], body: bytes, settings: ServiceSettings) -> CallbackHint:
    """Verify a webhook and tell its spend request. Raises CallbackRefused, CallbackUnreadable."""
    url = settings.options.get("callbackUrl")
    if not url:
        raise CallbackRefused("the option callbackUrl is missing, so no callback can be verified")
    client = settings.keys.get("client_id", "")
    head = as_bytes(f"\ufeffPOST{url}{client}{headers.get('x-coinpayments-timestamp', '')}")
    digest = hmac.new(secret(settings, "client_secret"), head + body, hashlib.sha256).digest()
    expected = base64.b64encode(digest).decode()
    ours = same(client, headers.get("x-coinpayments-client", ""))
    if not same(expected, headers.get("x-coinpayments-signature", "")) or not ours:
        raise CallbackRefused("the signature does not match")
    fields = json_fields(body)
    wallet, request = name_of(fields.get("walletId")), name_of(fields.get("spendRequestId"))
    return CallbackHint(order_id=f"{wallet}/{request}" if wallet and request else "")
