"""Rate states as texts, for Redis and for the ledger. A text says when it was made; what cannot be read is nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from converter.domain.anomalies import Hold, HoldCode, PairState
from converter.domain.quarantine import Standing
from converter.domain.rate_history import History

State = TypeVar("State", PairState, Standing)

log = logging.getLogger(__name__)


def text_of(state: PairState | Standing, now: datetime) -> str:
    """A state as text."""
    return json.dumps({"at": _moment(now), **asdict(state)}, default=_plain, sort_keys=True)


def made_at(text: str) -> datetime | None:
    """When a text was made; None when it cannot be read."""
    try:
        return datetime.fromisoformat(json.loads(text)["at"])
    except (ValueError, KeyError, TypeError):
        return None


def pair_state(text: str) -> PairState:
    """A pair's state; an empty one when the text cannot be read."""
    return _read(text, _pair_state) or PairState()


def standing(text: str) -> Standing:
    """A service's standing; a clean one when the text cannot be read."""
    return _read(text, _standing) or Standing()


def _pair_state(fields: dict[str, Any]) -> PairState:
    history, hold = fields["history"], fields["hold"]
    return PairState(
        History(
            average=Decimal(history["average"]),
            last=Decimal(history["last"]),
            updated_at=datetime.fromisoformat(history["updated_at"]),
            variance=Decimal(history["variance"]),
            mark=Decimal(history["mark"]),
            marked_at=datetime.fromisoformat(history["marked_at"]),
        )
        if history
        else None,
        Hold(
            code=HoldCode(hold["code"]),
            since=datetime.fromisoformat(hold["since"]),
            rate=Decimal(hold["rate"]) if hold["rate"] else None,
        )
        if hold
        else None,
    )


def _standing(fields: dict[str, Any]) -> Standing:
    def moments(name: str) -> tuple[datetime, ...]:
        return tuple(datetime.fromisoformat(one) for one in fields[name])

    def moment(name: str) -> datetime | None:
        return datetime.fromisoformat(fields[name]) if fields[name] else None

    return Standing(
        strikes=moments("strikes"),
        shortfalls=moments("shortfalls"),
        quarantines=moments("quarantines"),
        repeats=int(fields["repeats"]),
        until=moment("until"),
        shadows=int(fields["shadows"]),
        needs_operator=bool(fields["needs_operator"]),
        lifted_at=moment("lifted_at"),
    )


def _read(text: str, parse: Callable[[dict[str, Any]], State]) -> State | None:
    if not text:
        return None
    try:
        return parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        log.warning("a rate state cannot be read (%s) and is begun anew", type(error).__name__)
        return None


def _plain(value: Decimal | datetime) -> str:
    return _moment(value) if isinstance(value, datetime) else str(value)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")
