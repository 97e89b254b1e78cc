"""Speaking to Binance: signatures, its clock, its limits, its errors. What is traded is said in `binance`.

The weight that the service counts stands in the headers of its answers. Near its limit our own quotes are refused
before they are sent, as they are after a 418 or 429 for as long as the service says; what moves money still goes out.

Limits: its REST documentation (weight by address) and its own SDK (weights of withdrawing and of the history by user).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

from converter.domain.errors import RateLimited, ServiceError, ServiceUnavailable
from converter.domain.limits import MINUTE, Budget, Limit
from converter.ports import Clock, Deadline
from converter.services.base import Call, HttpService, ServiceSettings, encode
from converter.services.binance_rules import HISTORY_LIFE, Rules, known_error
from converter.transport.http import HttpAnswer

RECV_WINDOW = 5000
WEIGHT_LIMIT = 6000
"""Weight a minute by address on `/api`, as exchangeInfo tells it."""

BUDGET = Budget(
    Limit(16, burst=60),
    operations={
        "advance": Limit(160, MINUTE, burst=20),
        "find": Limit(13, 2 * MINUTE, burst=2),
        "list": Limit(1, 2 * MINUTE),
    },
    requests={"quote": 4, "advance": 2, "find": 5, "list": 2},
)
"""80 % of the weight in a minute, by requests, of which none weighs more than 5; the pairs (20) are kept for an hour.

Withdrawals: 80 % of 200 a minute. Look-ups: the history may be read ten times a minute whoever asks, and what is read
is shared by the threads of one process only. An order fills at once, so nearly every look-up is one of a withdrawal and
reads the history: all keep to that limit, the few others with them. A read above it would halt the whole service. Two
of the ten are left to the list, which reads up to two pages of the same history.
Most requests of a call: the books of two routes; a book and a trade; two trades, what filled them, and the history.
"""

_NEAR = 0.9
_MINUTE = 60.0


class BinanceWire(HttpService):
    """See the module. Keys: `api_key`, `secret_key`. Options: `takerFee`, `historyLife` (seconds)."""

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        history_life = float(settings.options.get("historyLife", HISTORY_LIFE))
        self._rules = Rules(self._read_public, self._read_signed, clock, history_life)
        self._quiet_until = 0.0  # on the monotonic clock; a stale value costs one request, so no lock

    def check_credentials(self, deadline: Deadline) -> None:
        """Read the account: signed, and changes nothing."""
        self._read_signed("info", "/api/v3/account", {"omitZeroBalances": "true"}, deadline)

    def _read_public(self, operation: str, path: str, query: str, deadline: Deadline) -> Any:
        return self._read(Call(operation, "GET", path, query), deadline)

    def _read_signed(self, operation: str, path: str, params: dict[str, str], deadline: Deadline) -> Any:
        return self._read(self._signed(operation, "GET", path, params, deadline), deadline)

    def _signed(self, operation: str, method: str, path: str, params: dict[str, str], deadline: Deadline) -> Call:
        """Sign a call. The timestamp is taken here, before `send_by` is checked for the last time: a pause after this
        makes the request stale, and the server refuses it."""
        stamp = {"recvWindow": str(RECV_WINDOW), "timestamp": str(self._rules.server_time(deadline))}
        payload = encode({**params, **stamp})
        secret = self._settings.keys["secret_key"].encode()
        signature = hmac.new(secret, payload.encode(), hashlib.sha256).hexdigest()
        signed, headers = f"{payload}&signature={signature}", {"X-MBX-APIKEY": self._settings.keys["api_key"]}
        if method == "GET":
            return Call(operation, method, path, signed, headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Call(operation, method, path, "", headers, signed.encode())

    def _send(self, call: Call, deadline: Deadline, *, fresh: bool) -> HttpAnswer:
        now = time.monotonic()
        if call.operation == "quote" and now < self._quiet_until:
            raise RateLimited("binance", call.operation, retry_after=int(self._quiet_until - now) + 1, code="own limit")
        answer = super()._send(call, deadline, fresh=fresh)
        used = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isascii() and used.isdigit() and int(used) >= WEIGHT_LIMIT * _NEAR:
            self._quiet_until = now + _MINUTE - time.time() % _MINUTE  # the count starts anew with each minute
        if answer.status in (418, 429):
            self._quiet_until = now + (self._limited(call.operation, answer).retry_after or _MINUTE)
        return answer

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status in (418, 429):
            return self._limited(operation, answer)
        body = answer.json()
        code, message = body["code"], str(body["msg"])
        if answer.status >= 500 or "duplicat" in message.lower():
            return None
        if code == -1021:
            self._rules.forget_time()
            return ServiceUnavailable("binance", operation, code=str(code), detail="our clock is off")
        return known_error(operation, code)
