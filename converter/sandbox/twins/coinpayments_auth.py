"""How requests to CoinPayments, and its webhooks, are signed; and the errors of the API.

Source: `services/coinpayments.md` sections B2, B8 and B9. The message is a byte-order mark, the method, the whole URL,
the client id, the timestamp and the raw body; the key is the client secret as text. A request whose timestamp is more
than a minute away from the service's clock is refused; that this holds in both directions is inferred, and so are the
texts of the errors.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Any

from converter.sandbox.credentials import COINPAYMENTS_CLIENT_ID, COINPAYMENTS_CLIENT_SECRET
from converter.sandbox.twin import Request, Response

SERVICE_ID = "coinpayments"
WINDOW_SECONDS = 60
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_PROBLEM = {"Content-Type": "application/problem+json; charset=utf-8"}


class Problem(Exception):
    """A no as problem+json. `title` is the service's machine name, `detail` says it in words."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.status, self.title, self.detail = status, title, detail

    def response(self, instance: str = "") -> Response:
        """The error as an answer."""
        body: dict[str, Any] = {
            "type": f"https://httpstatuses.io/{self.status}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
            "instance": instance,
        }
        return Response(self.status, body, _PROBLEM)


def signature(method: str, url: str, timestamp: str, body: bytes) -> str:
    """The signature of a request or a webhook with the sandbox's client id and secret."""
    head = f"\ufeff{method}{url}{COINPAYMENTS_CLIENT_ID}{timestamp}".encode()
    digest = hmac.new(COINPAYMENTS_CLIENT_SECRET.encode(), head + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def timestamp_of(moment: float) -> str:
    """UTC to the second, without a zone."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def signed_headers(url: str, body: bytes, moment: float) -> dict[str, str]:
    """The headers of a webhook."""
    timestamp = timestamp_of(moment)
    return {
        "Content-Type": "application/json",
        "X-CoinPayments-Client": COINPAYMENTS_CLIENT_ID,
        "X-CoinPayments-Timestamp": timestamp,
        "X-CoinPayments-Signature": signature("POST", url, timestamp, body),
    }


def check(request: Request, url: str, now: float) -> None:
    """Problem 401 unless the request to this URL is signed, by this client, within the last minute."""
    names = ("client", "timestamp", "signature")
    client, timestamp, given = (request.headers.get(f"x-coinpayments-{name}", "") for name in names)
    if not client or not timestamp or not given:
        raise Problem(401, "Unauthorized", "An authentication header is missing")
    if client != COINPAYMENTS_CLIENT_ID:
        raise Problem(401, "Unauthorized", "The client is unknown")
    if not _near(timestamp, now):
        raise Problem(401, "Unauthorized", "The timestamp is invalid or too old")
    expected = signature(request.method, url, timestamp, request.body)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise Problem(401, "Unauthorized", "The signature is invalid")


def _near(timestamp: str, now: float) -> bool:
    if not _TIMESTAMP.fullmatch(timestamp):
        return False
    try:
        moment = datetime.fromisoformat(timestamp).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    return abs(int(now) - moment) <= WINDOW_SECONDS
