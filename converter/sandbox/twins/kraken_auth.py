"""How the Kraken twin reads requests: parameters, key, signature, nonce, and the counters of calls.

Source: `services/kraken.md` sections 1, 2, 8 and 9. Errors travel in the `error` list beside HTTP 200. The nonce grows
strictly for each key; a nonce window tolerates disorder, but no repeat. Inferred here: the order of the checks (key,
signature, lockout, nonce, counter); a nonce counts as used only when key and signature are right; a lockout after
`BAD_TRIES` bad keys, signatures or nonces in a row, for 15 minutes; counters and lockout run `speed` times faster.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from converter.sandbox.twin import Request, World

BAD_TRIES = 15
LOCKOUT_SECONDS = 900
TIERS = {"starter": (15, 60), "intermediate": (20, 125), "pro": (20, 180)}  # most calls, most of the engine per pair
_DECAYS = {"starter": ("0.33", "1"), "intermediate": ("0.5", "2.34"), "pro": ("1", "3.75")}
_MAX_NONCE = 2**64
_FEW_NONCES = 10_000
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")


class KrakenError(Exception):
    """A refusal in the service's wording."""


def signature_of(secret: str, path: str, nonce: str, body: bytes) -> str:
    """`API-Sign`: base64 of HMAC-SHA512 over the path and the SHA-256 of nonce and body."""
    inner = hashlib.sha256(nonce.encode() + body).digest()
    digest = hmac.new(base64.b64decode(secret), path.encode() + inner, "sha512").digest()
    return base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Params:
    """The parameters of a request, with the service's complaints about bad ones."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> Params:
        """Query of a public call; form or JSON body of a private one."""
        if request.method == "GET":
            return cls(dict(parse_qsl(request.raw_query, keep_blank_values=True)))
        if request.headers.get("content-type", "").startswith("application/json"):
            try:
                body = json.loads(request.body, parse_float=Decimal)
            except ValueError:
                body = None
            if not isinstance(body, Mapping):
                raise KrakenError("EGeneral:Invalid arguments")
            return cls({name: _text(given) for name, given in body.items()})
        return cls(dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True)))

    def text(self, name: str) -> str | None:
        """An optional parameter; empty counts as absent."""
        return self.values.get(name) or None

    def need(self, name: str) -> str:
        """A mandatory parameter."""
        if not (value := self.text(name)):
            raise KrakenError(f"EGeneral:Invalid arguments:{name}")
        return value

    def flag(self, name: str) -> bool:
        """An optional true or false."""
        return self.values.get(name, "").lower() in ("true", "1")

    def decimal(self, name: str) -> Decimal | None:
        """An optional amount above nothing."""
        text = self.text(name)
        if text is None:
            return None
        number = Decimal(text) if _PLAIN.fullmatch(text) else Decimal(0)
        if number <= 0 or abs(number.adjusted()) > 18:
            raise KrakenError(f"EGeneral:Invalid arguments:{name}")
        return number

    def whole(self, name: str, default: int) -> int:
        """An optional whole number, or Unix time that may have a fraction."""
        text = self.text(name)
        if text is not None and (len(text) > 40 or not _PLAIN.fullmatch(text)):
            raise KrakenError(f"EGeneral:Invalid arguments:{name}")
        return default if text is None else int(Decimal(text))


def _text(given: Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    return format(given, "f") if isinstance(given, Decimal) else str(given)


@dataclass(frozen=True)
class Endpoint:
    """A method of the API. `cost` is what it adds to the counter of calls."""

    path: str
    operation: str
    handle: Callable[[Params], Any]
    cost: int = 1
    executes: bool = False

    @property
    def private(self) -> bool:
        """Whether it needs key and signature."""
        return self.path.startswith("/0/private/")


@dataclass
class Counter:
    """A counter that grows with calls and falls with time."""

    level: Decimal = Decimal(0)
    moment: float = 0.0

    def add(self, cost: int, most: int, decay: Decimal, now: float) -> bool:
        """Count a call; false when it is one too many (it counts all the same)."""
        passed = Decimal(str(now - self.moment)) if self.moment else Decimal(0)
        self.level = max(Decimal(0), self.level - decay * passed) + cost
        self.level, self.moment = min(self.level, Decimal(most + cost)), now
        return self.level <= most


@dataclass
class Gate:
    """Who may pass, and how often."""

    world: World
    key: str
    secret: str = field(repr=False)
    nonce_window: int = 0
    tier: str = "pro"
    last_nonce: int = 0
    _used: set[int] = field(default_factory=set)
    _bad: int = 0
    _locked_until: float = 0.0
    _calls: Counter = field(default_factory=Counter)
    _engine: dict[str, Counter] = field(default_factory=dict)

    def admit(self, endpoint: Endpoint, request: Request, params: Params) -> None:
        """Check a private request; KrakenError says what is wrong with it."""
        now = self.world.now()
        if now < self._locked_until:
            raise KrakenError("EGeneral:Temporary lockout")
        problem = self._problem(request, params)
        self._bad = self._bad + 1 if problem else 0
        if self._bad >= BAD_TRIES:
            self._bad, self._locked_until = 0, now + LOCKOUT_SECONDS / self.world.speed
        if problem:
            raise KrakenError(problem)
        decay = Decimal(_DECAYS[self.tier][0]) * Decimal(str(self.world.speed))
        if endpoint.cost and not self._calls.add(endpoint.cost, TIERS[self.tier][0], decay, now):
            raise KrakenError("EAPI:Rate limit exceeded")

    def charge_engine(self, pair: str, cost: int) -> None:
        """Count an order or a cancel of a pair."""
        decay = Decimal(_DECAYS[self.tier][1]) * Decimal(str(self.world.speed))
        counter = self._engine.setdefault(pair, Counter())
        if not counter.add(cost, TIERS[self.tier][1], decay, self.world.now()):
            raise KrakenError("EOrder:Rate limit exceeded")

    def _problem(self, request: Request, params: Params) -> str:
        if not hmac.compare_digest(request.headers.get("api-key", "").encode(), self.key.encode()):
            return "EAPI:Invalid key"
        text = params.values.get("nonce", "")
        given = request.headers.get("api-sign", "")
        if not hmac.compare_digest(
            given.encode(), signature_of(self.secret, request.path, text, request.body).encode()
        ):
            return "EAPI:Invalid signature"
        if not (text.isascii() and text.isdigit() and int(text) < _MAX_NONCE):
            return "EAPI:Invalid nonce"
        nonce = int(text)
        if nonce <= self.last_nonce - self.nonce_window or nonce in self._used:
            return "EAPI:Invalid nonce"
        self.last_nonce = max(self.last_nonce, nonce)
        self._used.add(nonce)
        if len(self._used) > _FEW_NONCES:  # what the window has left behind is refused without them
            self._used = {used for used in self._used if used > self.last_nonce - self.nonce_window}
        return ""
