"""What all processes remember of rates: for each pair its history and hold, for each service its strikes.

A state is one short text in Redis, replaced only if it is still the one that was read; the rules are those of
`converter.domain`. Every process keeps what it saw last. While Redis is away it goes on with that, and what it changed
meanwhile goes back with the next change or snapshot. After a loss of Redis the same copy serves, or the ledger's:
`snapshot` returns rows for it, `reload` takes them back wherever nothing newer is known.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeVar

from converter.domain import anomalies
from converter.domain.anomalies import Judgement, PairState
from converter.domain.quarantine import Change, Standing
from converter.shared_state.rate_texts import made_at, pair_state, standing, text_of
from converter.shared_state.redis_access import RedisAccess, RedisAway

PAIR_LIVES, STANDING_LIVES = timedelta(days=1), timedelta(days=2)
POINTS_KEPT = 120
"""Recent rates of a pair, one for half a minute: an hour of them."""
NAMES_KEPT = 1000
_TRIES = 50

_PAIR, _SERVICE = "pair:", "service:"
_NAMES = "converter:rates:names"

Result = TypeVar("Result")


Row = tuple[str, str, datetime]
"""A state as the ledger keeps it: name, text, when it changed."""


class Rates:
    """The memory of rates. Never raises for want of Redis. Shared by threads.

    What is given as a step is a pure function: it is called again when another process was faster.
    """

    def __init__(self, access: RedisAccess) -> None:
        self._access = access
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._owed: set[str] = set()
        self._lock = threading.Lock()

    def pair(self, pair: str) -> PairState:
        """What is remembered of a pair."""
        return pair_state(self._texts([_PAIR + pair])[0])

    def learn(self, pair: str, step: Callable[[PairState], Judgement], now: datetime) -> Judgement:
        """Judge a round with what is remembered of the pair, and remember what came of it."""

        def replaced(text: str) -> tuple[str, str, Judgement]:
            before = pair_state(text)
            judgement = step(before)
            return text_of(judgement.state, now), _point(before, judgement.state), judgement

        return self._change(_PAIR + pair, replaced)

    def confirm(self, pair: str, rate: Decimal | None, now: datetime) -> PairState:
        """An operator's word that the market is at `rate`, or where the quotes of the held pair say when it is None."""

        def replaced(text: str) -> tuple[str, str, PairState]:
            before = pair_state(text)
            state = anomalies.confirm(before, rate, now)
            return text if state == before else text_of(state, now), _point(before, state), state

        return self._change(_PAIR + pair, replaced)

    def names(self) -> list[str]:
        """Names of the pairs of which something is remembered, sorted; while Redis is away those that were seen."""
        try:
            found, _ = self._access.run("rates_lists", [_NAMES, _recent_key("")], [])
        except RedisAway:
            with self._lock:
                found = list(self._seen)
        return sorted(name.removeprefix(_PAIR) for name in found if name.startswith(_PAIR))

    def recent(self, pair: str) -> list[tuple[datetime, Decimal]]:
        """The rates accepted in the last hour or so, oldest first, to be shown; nothing while Redis is away."""
        try:
            _, points = self._access.run("rates_lists", [_NAMES, _recent_key(_PAIR + pair)], [])
        except RedisAway:
            return []
        parted = [point.split() for point in points]
        return [(datetime.fromisoformat(at), Decimal(rate)) for at, rate in parted]

    def standings(self, service_ids: Collection[str]) -> dict[str, Standing]:
        """How these services stand."""
        texts = self._texts([_SERVICE + one for one in service_ids])
        return {one: standing(text) for one, text in zip(service_ids, texts, strict=True)}

    def note(self, service_id: str, step: Callable[[Standing], Change], now: datetime) -> Change:
        """Change how a service stands. Nothing is written when nothing changes."""

        def replaced(text: str) -> tuple[str, str, Change]:
            before = standing(text)
            change = step(before)
            return text if change.standing == before else text_of(change.standing, now), "", change

        return self._change(_SERVICE + service_id, replaced)

    def snapshot(self) -> list[Row]:
        """All states that Redis has, for the ledger; nothing while it is away. Gives back first what is owed."""
        with self._lock:
            owed = list(self._owed)
        for name in owed:
            self._change(name, lambda text: (text, "", None))
        try:
            names, _ = self._access.run("rates_lists", [_NAMES, _recent_key("")], [])
            texts = self._access.run("rates_read", [_key(name) for name in names], []) if names else []
        except RedisAway:
            return []
        rows = [(name, text, made_at(text)) for name, text in zip(names, texts, strict=True) if text]
        return [(name, text, at) for name, text, at in rows if at is not None]

    def reload(self, rows: Iterable[Row], now: datetime) -> int:
        """Take rows of the ledger back wherever nothing, or something older, is known; returns how many."""
        taken = 0
        for name, state, changed_at in rows:
            lives = _life(name, state)
            if made_at(state) is not None and (lives is None or now - changed_at < lives):
                taken += self._change(name, partial(_newer, state))
        return taken

    def _texts(self, names: list[str]) -> list[str]:
        if not names:
            return []
        try:
            found = self._access.run("rates_read", [_key(name) for name in names], [])
        except RedisAway:
            found = [None] * len(names)
        with self._lock:
            return [self._best(name, text or "") for name, text in zip(names, found, strict=True)]

    def _change(self, name: str, step: Callable[[str], tuple[str, str, Result]]) -> Result:
        try:
            return self._change_in_redis(name, step)
        except RedisAway:
            with self._lock:
                before = self._seen.get(name, "")
                text, _, result = step(before)
                if text != before:
                    self._keep(name, text)
                    self._owed.add(name)
            return result

    def _change_in_redis(self, name: str, step: Callable[[str], tuple[str, str, Result]]) -> Result:
        current = self._access.run("rates_read", [_key(name)], [])[0] or ""
        for _ in range(_TRIES):
            with self._lock:
                before = self._best(name, current)
            text, point, result = step(before)
            swapped = text == current
            if not swapped:
                keys = [_key(name), _NAMES, _recent_key(name)]
                swapped, current = self._access.run("rates_swap", keys, _swap(name, current, text, point))
            if swapped:
                with self._lock:
                    self._keep(name, text)
                    self._owed.discard(name)
                return result
        raise RedisAway("others were faster every time")

    def _best(self, name: str, text: str) -> str:
        """Redis' word, unless it has none or we changed the state later while it was away."""
        seen = self._seen.get(name, "")
        if seen and (not text or (name in self._owed and _is_newer(seen, text))):
            return seen
        if text:
            self._keep(name, text)
        return text

    def _keep(self, name: str, text: str) -> None:
        self._seen[name] = text
        self._seen.move_to_end(name)
        if len(self._seen) > NAMES_KEPT:
            gone, _ = self._seen.popitem(last=False)
            self._owed.discard(gone)


def _swap(name: str, expected: str, text: str, point: str) -> list[str | int]:
    lives, at = _life(name, text), made_at(text)
    seconds = 0 if lives is None else int(lives.total_seconds())
    score = 0 if at is None else int(at.timestamp())
    kept = int(PAIR_LIVES.total_seconds())
    return [expected, text, seconds, name, score, NAMES_KEPT, point, POINTS_KEPT, kept]


def _life(name: str, text: str) -> timedelta | None:
    """How long a state is kept when nobody touches it; a quarantine until it is lifted."""
    if name.startswith(_PAIR):
        return PAIR_LIVES
    return None if standing(text).is_quarantined else STANDING_LIVES


def _newer(other: str, text: str) -> tuple[str, str, bool]:
    taken = not text or _is_newer(other, text)
    return (other if taken else text), "", taken


def _is_newer(text: str, other: str) -> bool:
    at, other_at = made_at(text), made_at(other)
    return at is not None and (other_at is None or at > other_at)


def _point(before: PairState, after: PairState) -> str:
    """A point for the recent rates whenever history sets a new mark."""
    old, new = before.history, after.history
    if new is None or (old is not None and old.marked_at == new.marked_at):
        return ""
    return f"{new.marked_at.isoformat()} {new.mark}"


def _key(name: str) -> str:
    return f"converter:rates:{name}"


def _recent_key(name: str) -> str:
    return f"converter:rates:recent:{name}"
