"""Callbacks of SimpleSwap (webhooks), signed with a plain hash.

The signature is the SHA-1 (no HMAC) of `messageId`, `publicId`, `status` and the webhook's secret, joined by `_`. It
covers nothing else, and not even where one of them ends; enough for a hint. The field or header that carries it was not
found in the documentation: the option `callbackSignature` names it (`signature` when absent), and a field of that name
goes before a header. Other envelopes than a flat JSON object are unreadable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from converter.services.base import ServiceSettings
from converter.services.callbacks import (
    CallbackHint,
    CallbackRefused,
    CallbackUnreadable,
    as_bytes,
    json_fields,
    name_of,
    same,
    secret,
)


def read(headers: Mapping[str, str], body: bytes, settings: ServiceSettings) -> CallbackHint:
    """Verify a webhook and tell its exchange. Raises CallbackRefused, CallbackUnreadable."""
    key = secret(settings)
    fields = json_fields(body)
    signed = [fields.get(name) for name in ("messageId", "publicId", "status")]
    if not all(isinstance(one, str) for one in signed):
        raise CallbackUnreadable("what is signed is not there")
    place = settings.options.get("callbackSignature", "signature")
    given = fields.get(place, headers.get(place.lower(), ""))
    text = b"_".join([*(as_bytes(str(one)) for one in signed), key])
    digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    if not isinstance(given, str) or not same(digest, given.lower()):
        raise CallbackRefused("the signature does not match")
    return CallbackHint(order_id=name_of(fields["publicId"]))
