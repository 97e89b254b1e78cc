"""JSON from outside, read exactly and with bounded nesting.

Python's own guard against deep nesting is no help: a library raises its limit beyond what a stack holds, and a parser
that runs into the end of its stack takes the process down.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

DEPTH = 100
_MARKS = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
"""Where nesting or a string begins or ends; what is escaped is passed over."""


def read_json(body: bytes) -> Any:
    """What the bytes say, numbers with a fraction as Decimal. ValueError for anything but JSON, without its text."""
    try:
        text = body.decode("utf-8-sig")
        _check_depth(text)
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, ArithmeticError, RecursionError):
        # The parser's own error keeps the whole document; ours must be fit for a log.
        problem = f"not valid JSON ({len(body)} bytes)"
    raise ValueError(problem)


def _check_depth(text: str) -> None:
    depth, quoted = 0, False
    for mark in _MARKS.findall(text):
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[{":
            depth += 1
            if depth > DEPTH:
                raise ValueError("nested too deeply")
        elif not quoted and mark in "]}":
            depth -= 1


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
