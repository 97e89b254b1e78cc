"""How the Binance twin reads requests: parameters, key, signature, clock.

Source: `services/binance.md` sections 1, 2 and 8. Parameters may be in the query, in a form body or split; a name in
both counts as in the query. The signature covers the query's bytes followed directly by the body's, without
`signature` itself. Inferred here: the order of the checks (key, timestamp and signature present, signature right,
clock); HTTP 401 for key errors; a name sent twice in the same place is refused with -1101.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from converter.sandbox.twin import Request, World

DEFAULT_WINDOW_MS = Decimal(5000)
MAX_WINDOW_MS = 60000
_AHEAD_MS = 1000
_MICROSECONDS_FROM = (
    10**14
)  # a timestamp as large as this is in microseconds: in milliseconds it would be the year 5138
_DECIMAL_RANGE = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_WHOLE_RANGE = r"^[0-9]{1,20}$"


class BinanceError(Exception):
    """A refusal in the service's wording."""

    def __init__(self, code: int, msg: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(msg)
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.body = {"code": code, "msg": msg}


def signed_payload(raw_query: str, body: bytes) -> bytes:
    """The bytes that a signature covers: query and body as they travelled, less the signature itself."""
    return _unsigned(raw_query.encode("latin-1", "replace")) + _unsigned(body)


def signature_of(secret: str, payload: bytes) -> str:
    """Lower-case hex HMAC-SHA256."""
    return hmac.new(secret.encode(), payload, "sha256").hexdigest()


def _unsigned(part: bytes) -> bytes:
    return b"&".join(item for item in part.split(b"&") if not item.startswith(b"signature="))


@dataclass(frozen=True)
class Params:
    """The merged parameters of a request, with the service's complaints about bad ones."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> Params:
        """Read query and, except on GET, form body."""
        query = _pairs(request.raw_query)
        form = _pairs(request.body.decode("latin-1")) if request.method != "GET" else {}
        return cls({**form, **query})

    def has(self, name: str) -> bool:
        """Whether a parameter was sent."""
        return name in self.values

    def text(self, name: str) -> str | None:
        """An optional parameter; sent but empty is -1105."""
        value = self.values.get(name)
        if value == "":
            raise BinanceError(-1105, f"Parameter '{name}' was empty.")
        return value

    def need(self, name: str) -> str:
        """A mandatory parameter."""
        value = self.values.get(name)
        if not value:
            raise BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def decimal(self, name: str) -> Decimal | None:
        """An optional plain decimal; an exponent is an illegal character."""
        value = self.text(name)
        if value is None:
            return None
        _check_characters(name, value, _DECIMAL_RANGE)
        return Decimal(value)

    def whole(self, name: str) -> int | None:
        """An optional whole number."""
        value = self.text(name)
        if value is None:
            return None
        _check_characters(name, value, _WHOLE_RANGE)
        return int(value)

    def forbid(self, *names: str) -> None:
        """Refuse parameters that mean nothing beside the others."""
        for name in names:
            if name in self.values:
                raise BinanceError(-1106, f"Parameter '{name}' sent when not required.")


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in found:
            raise BinanceError(-1101, "Duplicate values for a parameter detected.")
        found[name] = value
    return found


def _check_characters(name: str, value: str, legal: str) -> None:
    if not re.fullmatch(legal, value, re.ASCII):
        raise BinanceError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


Handler = Callable[[Params], Any]


@dataclass(frozen=True)
class Endpoint:
    """A path, what it needs and what it costs. `signed` asks for key, clock and signature."""

    method: str
    path: str
    operation: str
    handle: Handler
    weight: Callable[[Params], int]
    signed: bool = False
    counter: str = "api"  # api: one for all; ip and uid: one for each endpoint of /sapi
    executes: bool = False


def flat(weight: int) -> Callable[[Params], int]:
    """The same weight for every request."""
    return lambda params: weight  # noqa: ARG005


@dataclass
class ServerClock:
    """The service's clock in milliseconds; the offset lets a test put it out of step."""

    world: World
    offset_ms: int = 0

    def ms(self) -> int:
        """Now."""
        return int(self.world.now() * 1000) + self.offset_ms


@dataclass
class Gate:
    """Who may pass: key, signature and timestamp."""

    clock: ServerClock
    api_key: str
    secret: str = field(repr=False)

    def admit(self, request: Request, params: Params) -> None:
        """Check a signed request; BinanceError says what is wrong with it."""
        key = request.headers.get("x-mbx-apikey", "")
        if not key or not key.isascii() or not key.isalnum():
            raise BinanceError(-2014, "API-key format invalid.", 401)
        if not hmac.compare_digest(key, self.api_key):
            raise BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        params.need("timestamp")
        signature = params.need("signature")
        if not self._is_signed(request, signature):
            raise BinanceError(-1022, "Signature for this request is not valid.")
        self._check_clock(params)

    def _is_signed(self, request: Request, signature: str) -> bool:
        if not request.raw_query.isascii() or not request.body.isascii() or not signature.isascii():
            return False  # what is not percent-encoded was signed in some other form
        expected = signature_of(self.secret, signed_payload(request.raw_query, request.body))
        return hmac.compare_digest(expected, signature.lower())

    def _check_clock(self, params: Params) -> None:
        window = params.decimal("recvWindow")
        if window is None:
            window = DEFAULT_WINDOW_MS
        if window > MAX_WINDOW_MS:
            message = f"'recvWindow' contains unexpected value. Cannot be greater than '{MAX_WINDOW_MS}'."
            raise BinanceError(-1102, message)
        if window != window.quantize(Decimal("0.001")):
            raise BinanceError(-1111, "Parameter 'recvWindow' has too much precision.")
        stamp = Decimal(params.whole("timestamp") or 0)
        if stamp >= _MICROSECONDS_FROM:
            stamp /= 1000
        now = self.clock.ms()
        if stamp >= now + _AHEAD_MS:
            raise BinanceError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - stamp > window:
            raise BinanceError(-1021, "Timestamp for this request is outside of the recvWindow.")
