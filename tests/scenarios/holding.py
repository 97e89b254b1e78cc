"""Runs Celery with a worker one of whose threads stops at a named point until the test lets it go on.

The test writes the point's name into `CONVERTER_HOME/hold-at`; the first thread that gets there renames the file to
`held` and waits until that is removed. The product knows nothing of it: its methods are wrapped here, in the test's own
process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from celery.__main__ import main

from converter.sending import Sending

_HOME = Path(os.environ["CONVERTER_HOME"])
_LONGEST = 60.0


def _hold_at(point: str) -> None:
    try:
        if (_HOME / "hold-at").read_text() != point:
            return
        (_HOME / "hold-at").rename(_HOME / "held")
    except FileNotFoundError:
        return
    end = time.monotonic() + _LONGEST
    while (_HOME / "held").exists() and time.monotonic() < end:
        time.sleep(0.01)


def _hold(name: str, point: str) -> None:
    original: Callable[..., Any] = getattr(Sending, name)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _hold_at(f"before {point}")
        result = original(*args, **kwargs)
        _hold_at(f"after {point}")
        return result

    setattr(Sending, name, wrapped)


_hold("place", "order")  # "before": prepared and committed; "after": executed, not recorded
_hold("advance", "step")
_hold("broadcast", "broadcast")

if __name__ == "__main__":
    sys.exit(main())
