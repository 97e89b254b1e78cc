"""Recorded answers: whole envelopes in `answers/<service_id>/<operation>_<case>.json`, exact to the digit.

An envelope is `{"status", "headers", "body"}`. A body that is text (a page, or nothing) travels as it is, everything
else as JSON. A dotted path names a field inside a body: `exchanges.0.payin.currency`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from converter.sandbox.wire import to_json

FOLDER = Path(__file__).parent / "answers"


@dataclass(frozen=True)
class Recorded:
    """One answer of a service."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else to_json(self.body)).encode()

    @property
    def raw(self) -> bytes:
        """The whole answer as it travels, with its length."""
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {text}" for name, text in self.headers.items())]
        return "\r\n".join([*lines, f"Content-Length: {len(self.content)}", "", ""]).encode() + self.content

    def but(self, changes: Mapping[str, Any]) -> Recorded:
        """The same answer with other values at some paths."""
        body = copy.deepcopy(self.body)
        for path, value in changes.items():
            holder, last = _holder(body, path)
            holder[last] = value
        return replace(self, body=body)

    def without(self, path: str) -> Recorded:
        """The same answer without the field at a path."""
        body = copy.deepcopy(self.body)
        holder, last = _holder(body, path)
        del holder[last]
        return replace(self, body=body)

    def under(self, status: int) -> Recorded:
        """The same body under another status."""
        return replace(self, status=status)


def recorded(service_id: str, name: str) -> Recorded:
    """An answer from its file."""
    text = (FOLDER / service_id / f"{name}.json").read_text(encoding="utf-8")
    return Recorded(**json.loads(text, parse_float=Decimal))


def odd(body: bytes, status: int = 200, content_type: str = "application/json") -> Recorded:
    """An answer that no service documents."""
    return Recorded(status, {"Content-Type": content_type}, body)


def _holder(body: Any, path: str) -> tuple[Any, Any]:
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in way:
        body = body[part]
    return body, last
