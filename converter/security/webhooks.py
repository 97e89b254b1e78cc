"""Signing what we send, by the Standard Webhooks scheme.

A signature is HMAC-SHA256 over `<id>.<timestamp>.<body>`. While a secret is exchanged there are two, each with its own
signature in the header, so that a receiver verifies with the old one or with the new one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from converter.domain.errors import ConfigurationError

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64
FORM = f"{_PREFIX} and the base64 of {_LEAST} to {_MOST} random bytes"


def signing_key(secret: str) -> bytes:
    """The bytes of a secret. Raises ConfigurationError, without the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ConfigurationError(f"the secret is not usable; accepted: {FORM}")
    return key


def new_secret(random_bytes: bytes) -> str:
    """A secret of 24 to 64 random bytes, in its written form."""
    return _PREFIX + base64.b64encode(random_bytes).decode()


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove a message; `timestamp` in seconds, of this attempt."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
