"""What the CoinGate twin accepts in a request: JSON or a form with nested names, plain amounts, pages.

Source: `services/coingate.md` sections 1 and 4. Inferred here: amounts are taken as text or as JSON numbers; a page
that is out of its bounds is 400; lists are a hundred rows long unless told otherwise, which is also the most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from converter.sandbox.twin import Request
from converter.sandbox.twins.coingate_assets import ApiError

_MOST = 100
_PLAIN_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?")
_NESTED = re.compile(r"([^\[\]]+)\[([^\[\]]+)\]")


def body_of(request: Request) -> dict[str, Any]:
    """The fields of a body in either of its two formats."""
    if "json" in request.headers.get("content-type", ""):
        try:
            body = request.json() if request.body else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ApiError(400, "BadRequest", message="The body is not a JSON object")
        return body
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        raise ApiError(400, "BadRequest", message="The body is not a form") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        nested = _NESTED.fullmatch(name)
        if nested:
            outer = fields.setdefault(nested[1], {})
            if isinstance(outer, dict):
                outer[nested[2]] = value
        else:
            fields[name] = value
    return fields


def form_of(value: Any, name: str = "") -> list[tuple[str, str]]:
    """An object as the pairs of a form with nested names."""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in form_of(item, f"{name}[{key}]" if name else key)]
    if isinstance(value, list):
        return [pair for item in value for pair in form_of(item, f"{name}[]")]
    if isinstance(value, bool):
        return [(name, str(value).lower())]
    return [(name, "" if value is None else format(value, "f") if isinstance(value, Decimal) else str(value))]


def amount_of(value: object) -> Decimal | None:
    """An amount above 0; None for anything else."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = f"{value:f}"
    if not isinstance(value, str) or not _PLAIN_NUMBER.fullmatch(value):
        return None
    return Decimal(value) or None


def page_of(request: Request, key: str, rows: Sequence[Any], total: str = "total_records") -> dict[str, Any]:
    """One page of a list, under the list's own key."""
    page, size = _whole(request, "page", 1), _whole(request, "per_page", _MOST)
    if page < 1 or not 1 <= size <= _MOST:
        raise ApiError(400, "BadRequest", message="page or per_page is out of bounds")
    return {
        "current_page": page,
        "per_page": size,
        total: len(rows),
        "total_pages": -(-len(rows) // size),
        key: list(rows[(page - 1) * size : page * size]),
    }


def _whole(request: Request, name: str, default: int) -> int:
    text = request.one(name) or str(default)
    if not text.isdecimal() or not text.isascii():
        raise ApiError(400, "BadRequest", message=f"{name} is not a whole number")
    return int(text)
