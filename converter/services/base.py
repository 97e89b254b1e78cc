"""What every service module stands on: calls that are classified by whether they left us, and strict parsing.

A service module translates. Its reads go through `_read`, whatever changes something at the service through
`_execute`; only the latter can end in `OutcomeUnknown`, and it does so unless the answer proves something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote as percent_encoded
from urllib.parse import urlencode

from converter.domain.coins import Asset
from converter.domain.errors import (
    AuthenticationFailed,
    MalformedResponse,
    OutcomeUnknown,
    RateLimited,
    ServiceError,
    ServiceUnavailable,
)
from converter.domain.orders import Capabilities
from converter.ports import Clock, Counter, Deadline
from converter.transport.http import AnswerLost, HttpAnswer, HttpClient, RequestNotSent

ANSWER_WITHIN = 15.0
"""Seconds to wait for the answer of an operation, once it has left. Longer than a quote's: a time-out here costs a
reconciliation, and exchanges wait up to 10 s for their own engine."""


@dataclass(frozen=True)
class ServiceSettings:
    """What a service module is made from. `keys` and what is in them is never shown."""

    base_url: str
    keys: Mapping[str, str] = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    counter: Counter | None = None
    """For services that want numbers which increase over all processes."""


@dataclass(frozen=True)
class Call:
    """One HTTP call of a service module; `query` is already encoded."""

    operation: str
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class HttpService:
    """Base of the service modules. Holds no state of a conversion; shared by threads."""

    capabilities: Capabilities

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._http = HttpClient(settings.base_url)

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Whether it converts this pair at all; no network."""
        raise NotImplementedError

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        """The service's own error for an answer that proves that nothing was executed; None when it proves nothing."""
        raise NotImplementedError

    def _read(self, call: Call, deadline: Deadline) -> Any:
        """JSON of a call that changes nothing. Raises ServiceUnavailable, MalformedResponse or a known error."""
        try:
            answer = self._send(call, deadline, fresh=False)
        except (RequestNotSent, AnswerLost) as error:
            raise ServiceUnavailable(self._id, call.operation, detail=error.cause_text) from error
        if not self._is_success(answer):
            known = self._error_of(call.operation, answer)
            if known is not None:
                raise known
            if answer.status >= 500:
                raise ServiceUnavailable(self._id, call.operation, code=str(answer.status))
            raise MalformedResponse(self._id, call.operation, code=str(answer.status))
        try:
            return answer.json()
        except ValueError as error:
            raise MalformedResponse(self._id, call.operation, detail=str(error)) from error

    def _execute(self, call: Call, send_by: Deadline) -> Any:
        """JSON of a call that changes something. Sent once, on a connection of its own, and only before `send_by`.

        Raises ServiceUnavailable when nothing left us, a known error when the answer proves a refusal, and
        OutcomeUnknown for everything else.
        """
        if send_by.expired:
            raise ServiceUnavailable(self._id, call.operation, detail="too late to send")
        try:
            answer = self._send(call, Deadline.after(ANSWER_WITHIN), fresh=True)
        except RequestNotSent as error:
            raise ServiceUnavailable(self._id, call.operation, detail=error.cause_text) from error
        except AnswerLost as error:
            raise OutcomeUnknown(self._id, call.operation, detail=error.cause_text) from error
        if not self._is_success(answer):
            known = self._error_of(call.operation, answer)
            if known is not None:
                raise known
            raise OutcomeUnknown(self._id, call.operation, code=str(answer.status))
        try:
            return answer.json() if answer.body else None
        except ValueError as error:
            raise OutcomeUnknown(self._id, call.operation, detail=str(error)) from error

    def _is_success(self, answer: HttpAnswer) -> bool:
        return 200 <= answer.status < 300

    def _error_of(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        try:
            return self._known_error(operation, answer)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, IndexError):
            return None  # an error body that is not the service's own proves nothing

    def _send(self, call: Call, deadline: Deadline, *, fresh: bool) -> HttpAnswer:
        return self._http.send(
            call.method,
            call.path,
            deadline=deadline,
            params=call.query,
            headers=call.headers,
            body=call.body,
            fresh_connection=fresh,
        )

    @property
    def _id(self) -> str:
        return self.capabilities.service_id

    @contextmanager
    def _parsing(self, operation: str, *, executed: bool = False) -> Iterator[None]:
        """Turn a missing or odd field into MalformedResponse, or OutcomeUnknown after a call that may have acted."""
        try:
            yield
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError, AttributeError) as error:
            kind = OutcomeUnknown if executed else MalformedResponse
            raise kind(self._id, operation, detail=f"odd answer: {type(error).__name__}") from error

    def _limited(self, operation: str, answer: HttpAnswer, code: str = "") -> RateLimited:
        text = answer.headers.get("Retry-After", "")
        seconds = min(max(int(text), 1), 3600) if text.isascii() and text.isdigit() else None
        return RateLimited(self._id, operation, retry_after=seconds, code=code or str(answer.status))

    def _unauthorised(self, operation: str, code: str) -> AuthenticationFailed:
        return AuthenticationFailed(self._id, operation, code=code)


_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


def exact(value: Any) -> Decimal:
    """A finite amount from text or an exact JSON number; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("not an exact number")  # noqa: TRY004  parsing turns ValueError into a malformed answer
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("not a plainly written number")
    amount = Decimal(value)
    if not amount.is_finite() or abs(amount.adjusted()) > 40:
        raise ValueError("not a number of a sensible size")
    return amount


def text(value: Any) -> str:
    """A non-empty string; ValueError for anything else."""
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def moment(value: Any) -> datetime:
    """An aware moment from ISO 8601; ValueError for anything else."""
    parsed = datetime.fromisoformat(text(value))
    if parsed.tzinfo is None:
        raise ValueError("no time zone")
    return parsed


def encode(params: Mapping[str, str]) -> str:
    """Query or form text, percent-encoded, in the given order."""
    return urlencode(params, quote_via=percent_encoded, safe="")


def json_body(content: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON body; money in it is text."""
    return json.dumps(content, separators=(",", ":")).encode()


def milliseconds(moment: datetime) -> int:
    """Unix time in milliseconds."""
    return int(moment.timestamp() * 1000)
