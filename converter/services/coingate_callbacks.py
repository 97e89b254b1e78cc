"""Callbacks of CoinGate: a send request as JSON or as a form, whichever is chosen for the API app. Nothing is signed.

The `token` that CoinGate echoes belongs to its orders, which are not used here; send requests have none. So a callback
is never more than an unproven hint. Its documentation advises an unguessable path: set the key `callback_token` and end
the registered address with it. The senders' addresses (`GET /ips-v4`) are for the firewall in front.
"""

from __future__ import annotations

from collections.abc import Mapping

from converter.services.base import ServiceSettings
from converter.services.callbacks import CallbackHint, form_fields, json_fields, name_of

_FORM = "application/x-www-form-urlencoded"


def read(headers: Mapping[str, str], body: bytes, settings: ServiceSettings) -> CallbackHint:  # noqa: ARG001
    """Tell the send request of a callback. Raises CallbackUnreadable."""
    is_form = headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    fields = form_fields(body) if is_form else json_fields(body)
    return CallbackHint(order_id=name_of(fields.get("id")), reference=name_of(fields.get("external_id")))
