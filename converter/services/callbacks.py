"""What every reader of callbacks stands on: the hint, the two refusals, comparing in constant time, strict reading.

A reader is a pure function `read(headers, body, settings) -> CallbackHint` in `<service_id>_callbacks.py`. It verifies
the raw bytes where its service signs, then takes the names of the order out of them and nothing else: what a callback
says of states and amounts is never looked at. Names of headers come in lower case; a header that came more than once is
one text with commas, so that a doubled signature matches nothing.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from converter.domain.errors import ConverterError
from converter.services.base import ServiceSettings
from converter.transport.json_text import read_json

SECRET = "callback_secret"  # noqa: S105
"""Name of the key with which a service signs its callbacks, where it has one for that alone."""

TOKEN = "callback_token"  # noqa: S105
"""Name of the key that must be the last part of the path, once it is set: for services that sign nothing."""

_FIELDS = 500
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,100}")


@dataclass(frozen=True)
class CallbackHint:
    """Which order may have news: by the service's name for it, or by our own. With neither there is nothing to do."""

    order_id: str = ""
    reference: str = ""


class CallbackRefused(ConverterError):
    """Raised when a callback is not proven to come from its service. The text holds nothing of what came."""


class CallbackUnreadable(ConverterError):
    """Raised when a callback is not written as its service writes."""


CallbackReader = Callable[[Mapping[str, str], bytes, ServiceSettings], CallbackHint]


def check_token(token: str, settings: ServiceSettings) -> None:
    """Raise CallbackRefused unless the last part of the path is the one that was set, or none is set and none came."""
    if not same(settings.keys.get(TOKEN, ""), token):
        raise CallbackRefused("the end of the path is not the token")


def secret(settings: ServiceSettings, name: str = SECRET) -> bytes:
    """The key that verifies. Without it nothing can be verified: CallbackRefused."""
    key = settings.keys.get(name)
    if not key:
        raise CallbackRefused(f"the key {name} is missing, so no callback can be verified")
    return as_bytes(key)


def same(expected: str, given: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(as_bytes(expected), as_bytes(given))


def as_bytes(text: str) -> bytes:
    """UTF-8; half characters, which outsiders can write in JSON, become something that matches nothing."""
    return text.encode("utf-8", "backslashreplace")


def json_fields(body: bytes) -> Mapping[str, Any]:
    """The fields of a JSON object. Raises CallbackUnreadable."""
    try:
        fields = read_json(body)
    except ValueError as error:
        raise CallbackUnreadable("the body is no JSON") from error
    if not isinstance(fields, dict):
        raise CallbackUnreadable("the body is no JSON object")
    return fields


def form_fields(body: bytes) -> Mapping[str, Any]:
    """The fields of a form. Raises CallbackUnreadable."""
    try:
        return dict(parse_qsl(body.decode(), errors="strict", max_num_fields=_FIELDS))
    except ValueError as error:
        raise CallbackUnreadable("the body is no form") from error


def name_of(value: Any) -> str:
    """The name of an order: a short text of plain characters, or a whole number; empty for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**30:
        return str(value)
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""
