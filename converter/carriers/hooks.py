"""HTTP hooks: signed webhooks by the Standard Webhooks scheme, and the text of a Slack-compatible hook.

One call writes one request: no redirect is followed, nothing is read but the first bytes of the answer, and the whole
ends at a deadline. Nothing private is connected to unless that is allowed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from converter.domain.deliveries import TAKEN, Letter, Receipt
from converter.domain.errors import ConfigurationError
from converter.ports import Deadline
from converter.security.webhooks import signed_headers, signing_key
from converter.transport.http import AnswerLost, HttpAnswer, HttpClient, RequestNotSent

MAX_ANSWER = 64 * 1024
_GONE = 410
_OF_THE_RECEIVER = frozenset({408, 425, 429})
"""Refusals that say nothing of the message."""

Secrets = Callable[[], tuple[str, ...]]
"""The secrets that are set, the newest first; asked for each message, so that an exchange needs no restart."""


@dataclass(frozen=True)
class Hook:
    """Where a hook is. `timeout` in seconds, of the whole call."""

    url: str
    timeout: float = 15.0
    allow_private: bool = False


class _Poster:
    """Posts JSON to one URL."""

    def __init__(self, hook: Hook) -> None:
        parts = urlsplit(hook.url)
        self._path, self._query = parts.path or "/", parts.query
        self._timeout = hook.timeout
        base = f"{parts.scheme}://{parts.netloc}"
        self._client = HttpClient(
            base, connect_timeout=5.0, pool_size=8, max_body=MAX_ANSWER, public_only=not hook.allow_private
        )

    def post(self, headers: Mapping[str, str], body: bytes) -> Receipt:
        """Send once and say what became of it."""
        headers = {"Content-Type": "application/json", **headers}
        deadline = Deadline.after(self._timeout)
        try:
            answer = self._client.send(
                "POST", self._path, params=self._query, deadline=deadline, headers=headers, body=body
            )
        except (RequestNotSent, AnswerLost) as error:
            return Receipt(taken=False, error=error.cause_text)
        return _receipt(answer)


class WebhookCarrier:
    """Sends letters as they are, signed."""

    def __init__(self, hook: Hook, secrets: Secrets) -> None:
        self._poster = _Poster(hook)
        self._secrets = secrets

    def carry(self, letter: Letter) -> Receipt:
        """Hand it over once. Without a usable secret nothing is sent."""
        try:
            keys = [signing_key(one) for one in self._secrets()]
        except ConfigurationError as error:
            return Receipt(taken=False, error=str(error))
        if not keys:
            return Receipt(taken=False, error="its key `secret` is missing")
        body = json.dumps(dict(letter.content), ensure_ascii=False, separators=(",", ":")).encode()
        return self._poster.post(signed_headers(keys, letter.id, int(time.time()), body), body)


class SlackCarrier:
    """Tells alerts to a Slack-compatible hook."""

    def __init__(self, hook: Hook) -> None:
        self._poster = _Poster(hook)

    def carry(self, letter: Letter) -> Receipt:
        """Hand it over once."""
        return self._poster.post({}, json.dumps({"text": slack_text(letter.content)}).encode())


def slack_text(content: Mapping[str, Any]) -> str:
    """One line of what happened, with the three signs escaped that mean something there."""
    data = content["data"]
    over = content["type"] == "alert:ended"
    head = "over" if over else data["severity"]
    text = f"[{head}] {data['text']}" + (f" ({data['count']} times)" if data["count"] > 1 else "")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _receipt(answer: HttpAnswer) -> Receipt:
    status = answer.status
    if 200 <= status < 300:
        return TAKEN
    error = f"it answered {status}" + (", a redirect, which is not followed" if 300 <= status < 400 else "")
    alone = 400 <= status < 500 and status not in _OF_THE_RECEIVER
    return Receipt(False, error, _retry_after(answer.headers), gone=status == _GONE, alone=alone)


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Seconds only: a date would need the receiver's clock."""
    text = headers.get("Retry-After", "").strip()
    return timedelta(seconds=min(int(text), 86_400)) if text.isascii() and text.isdecimal() and len(text) < 8 else None
