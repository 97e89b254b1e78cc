"""`Idempotency-Key`, by the IETF draft (draft-ietf-httpapi-idempotency-key-header): missing 400, known with other
content 422, while the first is still in hand 409, and afterwards the same conversion once more.

The draft writes a key as a quoted string; one without quotes is the same key. The ledger knows all keys for good, and
two processes with one key at once write one conversion; this only tells a client in one process not to hurry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Header, Request

from converter.api.forms import Form
from converter.api.problems import Problem
from converter.domain.conversions import check_idempotency_key
from converter.domain.errors import InvalidRequest

REPLAYED = "Idempotency-Replayed"

_QUOTED = r'"(?:[ !#-\[\]-~]|\\["\\]){1,200}"'
_BARE = r"[!#-~](?:[ -~]{0,198}[!-~])?"
_ACCEPTED = "1 to 200 printable ASCII characters, best in double quotes, the same for every repeat of one request"

Key = Annotated[str, Form(f"{_QUOTED}|{_BARE}", _ACCEPTED, '"payout-4711"')]


async def _read_key(request: Request, given: Annotated[Key, Header(alias="Idempotency-Key")]) -> str:
    """The key without its quotes. Raises Problem."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise _refusal("is there more than once")
    text = re.sub(r'\\(["\\])', r"\1", given[1:-1]) if given.startswith('"') else given
    try:
        check_idempotency_key(text)
    except InvalidRequest as error:
        raise _refusal(error.problem) from error
    return text


IdempotencyKey = Annotated[str, Depends(_read_key)]


class InHand:
    """The keys of requests that this process is working on. For one event loop."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    @contextmanager
    def only(self, key: str) -> Iterator[None]:
        """Raises Problem (409) while another request with this key is in hand."""
        if key in self._keys:
            detail = "a request with this key is in hand; ask again for its answer"
            raise Problem(409, "RequestInProgress", detail, {"Retry-After": "1"})
        self._keys.add(key)
        try:
            yield
        finally:
            self._keys.discard(key)


def _refusal(problem: str) -> Problem:
    name, detail = "Idempotency-Key", f"Idempotency-Key: {problem}; accepted: {_ACCEPTED}"
    return Problem(400, "InvalidRequest", detail, field=name, problem=problem, accepted=_ACCEPTED)
