"""Kraken's errors: texts in a list beside HTTP 200, and what each of them proves."""

from __future__ import annotations

import re
from typing import Any

from converter.domain.errors import (
    AuthenticationFailed,
    PairNotSupported,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.transport.http import HttpAnswer

EXECUTING = {"order", "trade", "withdraw"}

NO_SUCH_ORDER = "EOrder:Unknown order"
_NONCE, _THROTTLED, _LOCKED = "EAPI:Invalid nonce", "EService:Throttled", "EGeneral:Temporary lockout"
_LOCKOUT = 900
"""Seconds of a lockout: each bad attempt begins it anew."""

_KEYS = (
    "EAPI:Invalid key",
    "EAPI:Invalid signature",
    "EAPI:Bad request",
    "EGeneral:Permission denied",
    "EGeneral:Unknown method",
    "EAccount:Invalid permissions",
    "EAuth:Account temporary disabled",
    "EAuth:Account unconfirmed",
    "EAuth:Failed",
    "ESession:Invalid session",
    "ETrade:User Locked",
)
_LIMITS = (
    "EAPI:Rate limit exceeded",
    "EGeneral:Too many requests",
    "EAuth:Rate limit exceeded",
    "EAuth:Too many requests",
    "EOrder:Rate limit exceeded",
    "EOrder:Orders limit exceeded",
    "EOrder:Scheduled orders limit exceeded",
    "EOrder:Domain rate limit exceeded",
)
_PAIRS = ("EQuery:Unknown asset pair", "EQuery:Invalid asset pair", "EQuery:Unknown asset")
_ANY = ("EGeneral:Invalid arguments", "ETrade:Invalid request")
_ORDERS = (
    "EOrder:Insufficient funds",
    "EOrder:Order minimum not met",
    "EOrder:Cost minimum not met",
    "EOrder:Tick size check failed",
    "EOrder:Invalid price",
    "EOrder:Invalid order",
    "EOrder:Positions limit exceeded",
    "EOrder:Cannot open position",
    "EService:Market in cancel_only mode",
    "EService:Market in post_only mode",
)
_WITHDRAWALS = (
    "EFunding:Unknown withdraw key",
    "EFunding:Invalid amount",
    "EFunding:Max fee exceeded",
    "EFunding:No funding method",
    "EFunding:Unknown asset",
    "EFunding:Too many addresses",
    "EBM:limit exceeded:CAL",
)
_AWAY = ("EService:", "EGeneral:Internal error", "EDatabase:Internal error")
"""Ambiguous for whatever changes something; a read that gets one has simply failed."""

_OWN = {"order": _ORDERS, "trade": _ORDERS, "withdraw": _WITHDRAWALS, "status": (NO_SUCH_ORDER,)}


def texts(body: Any) -> list[str]:
    """The errors of an answer, blanks behind a colon removed. ValueError when there is no such list."""
    listed = body["error"]
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ValueError("no list of errors")
    return [re.sub(r":\s+", ":", one) for one in listed if not one.startswith("W")]  # W: a warning


def succeeded(answer: HttpAnswer) -> bool:
    """Whether an answer carries a result. The id of an order or of a withdrawal counts for more than an error."""
    try:
        body = answer.json()
        result = body["result"]
        clean = not texts(body)
    except (ValueError, KeyError, TypeError):
        return False
    taken = isinstance(result, dict) and (result.get("txid") or result.get("refid"))
    return answer.status == 200 and bool(clean or taken)


def known_error(operation: str, errors: list[str], now: int) -> ServiceError | None:
    """What the errors prove, as the gravest that they name; None as soon as one of them proves nothing."""
    found = [_one(operation, text, now) for text in errors]
    if not found or any(error is None for error in found):
        return None
    return found[0]


def _one(operation: str, text: str, now: int) -> ServiceError | None:
    code = text[:60]
    if operation in EXECUTING and re.search("uplicate|already in use|cl_ord_id", text):
        return None  # the order may be there: it is looked up
    if _is(text, (_NONCE,)):
        return ServiceUnavailable("kraken", operation, code=code)
    if _is(text, (_THROTTLED, _LOCKED, *_LIMITS)):
        return RateLimited("kraken", operation, retry_after=_wait(text, now), code=code)
    if _is(text, _KEYS):
        return AuthenticationFailed("kraken", operation, code=code)
    if _is(text, _PAIRS):
        return PairNotSupported("kraken", operation, code=code)
    if _is(text, (*_ANY, *_OWN.get(operation, ()))) or _is_other_address(operation, text):
        return ServiceRejected("kraken", operation, code=code)
    if operation in EXECUTING:
        return None
    if text.startswith(_AWAY):
        return ServiceUnavailable("kraken", operation, code=code)
    return ServiceRejected("kraken", operation, code=code) if _is(text, _WITHDRAWALS) else None


def _wait(text: str, now: int) -> int | None:
    """Seconds to wait, where the text tells them."""
    if _is(text, (_LOCKED,)):
        return _LOCKOUT
    until = text.rpartition(":")[2] if _is(text, (_THROTTLED,)) else ""
    return min(max(int(until) - now, 1), 3600) if re.fullmatch("[0-9]{1,12}", until) else None


def _is(text: str, listed: tuple[str, ...]) -> bool:
    """Whether a text is one of the list; further parts may follow behind a colon."""
    return any(text == one or text.startswith(one + ":") for one in listed)


def _is_other_address(operation: str, text: str) -> bool:
    words = text.lower()
    return operation == "withdraw" and text.startswith("EFunding:") and "address" in words and "match" in words
