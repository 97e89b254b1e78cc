"""Reads PromQL as far as it is used here: a wrong expression raises, a right one says which series it speaks of.

A tool of the monitoring system would do better; it is a binary that is not everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FUNCTIONS = {
    "absent": 1,
    "deriv": 1,
    "histogram_quantile": 2,
    "increase": 1,
    "rate": 1,
    "time": 0,
}
"""Functions that are used, and how many arguments each takes."""
OF_RANGES = {"deriv", "increase", "rate"}
AGGREGATIONS = {"sum", "min", "max", "avg", "count"}
OPERATORS = {"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"}

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<duration>\d+(?:ms|[smhdwy])\b)
    | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<operator>=~|!~|==|!=|>=|<=|[-+*/%^<>=])
    | (?P<mark>[(){}\[\],])
    )""",
    re.VERBOSE,
)


@dataclass
class Series:
    """One selector. `matchers`: label, operator, text. `grouped`: labels that the aggregations around it keep."""

    metric: str
    matchers: list[tuple[str, str, str]] = field(default_factory=list)
    ranged: bool = False


@dataclass
class Expression:
    """All selectors of an expression, and every label that it groups or joins by, with the selectors below it."""

    series: list[Series] = field(default_factory=list)
    grouping: list[tuple[str, list[Series]]] = field(default_factory=list)


class Wrong(ValueError):
    """Raised when a text is no expression."""


def read(text: str) -> Expression:
    return _Reader(text).read()


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place, text = 0, text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise Wrong(f"cannot be read from here: {text[place : place + 30]!r}")
        yield match.lastgroup, match[match.lastgroup]
        place = match.end()


class _Reader:
    def __init__(self, text: str) -> None:
        self._left = list(_tokens(text))
        self._found = Expression()

    def read(self) -> Expression:
        self._expression()
        if self._left:
            raise Wrong(f"something is left: {self._left[0][1]!r}")
        return self._found

    def _next(self) -> str:
        return self._left[0][1] if self._left else ""

    def _take(self, *wanted: str) -> str:
        if not self._left or (wanted and self._next() not in wanted):
            raise Wrong(f"wanted {' or '.join(wanted) or 'more'}, found {self._next() or 'the end'!r}")
        return self._left.pop(0)[1]

    def _kind(self, kind: str) -> str:
        if not self._left or self._left[0][0] != kind:
            raise Wrong(f"wanted a {kind}, found {self._next() or 'the end'!r}")
        return self._left.pop(0)[1]

    def _expression(self) -> list[Series]:
        below = self._operand()
        while self._next() in OPERATORS:
            self._take()
            joined = self._labels() if self._next() in ("on", "ignoring") and self._take() else []
            below = below + self._operand()
            self._found.grouping += [(label, below) for label in joined]
        return below

    def _operand(self) -> list[Series]:
        if self._next() == "-":
            self._take()
        if self._next() == "(":
            self._take()
            below = self._expression()
            self._take(")")
            return below
        if self._left and self._left[0][0] == "number":
            self._take()
            return []
        name = self._kind("name")
        if name in AGGREGATIONS:
            return self._aggregation()
        return self._call(name) if self._next() == "(" else [self._selector(name)]

    def _aggregation(self) -> list[Series]:
        kept = self._labels() if self._next() == "by" and self._take() else []
        self._take("(")
        below = self._expression()
        self._take(")")
        if self._next() == "by":
            self._take()
            kept = self._labels()
        self._found.grouping += [(label, below) for label in kept]
        return below

    def _call(self, name: str) -> list[Series]:
        if name not in FUNCTIONS:
            raise Wrong(f"no function is called {name}")
        self._take("(")
        given: list[list[Series]] = []
        while self._next() != ")":
            if given:
                self._take(",")
            given.append(self._expression())
        self._take(")")
        if len(given) != FUNCTIONS[name]:
            raise Wrong(f"{name} takes {FUNCTIONS[name]} arguments, not {len(given)}")
        below = [one for part in given for one in part]
        if name in OF_RANGES and [one.ranged for one in below] != [True]:
            raise Wrong(f"{name} takes one selector with a range")
        return below

    def _labels(self) -> list[str]:
        self._take("(")
        labels: list[str] = []
        while self._next() != ")":
            if labels:
                self._take(",")
            labels.append(self._kind("name"))
        self._take(")")
        return labels

    def _selector(self, name: str) -> Series:
        series = Series(name)
        if self._next() == "{":
            self._take()
            while self._next() != "}":
                if series.matchers:
                    self._take(",")
                label, operator = self._kind("name"), self._take("=", "!=", "=~", "!~")
                series.matchers.append((label, operator, self._kind("string")[1:-1]))
            self._take("}")
        if self._next() == "[":
            self._take()
            self._kind("duration")
            self._take("]")
            series.ranged = True
        self._found.series.append(series)
        return series
