"""Runs Celery with a worker that kills itself (-9) at a named point, once per request of the test.

The test writes the point's name into `CONVERTER_HOME/crash-at`; the first worker thread that gets there removes the
file and dies. The product knows nothing of it: its methods are wrapped here, in the test's own process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from celery.__main__ import main

from converter.execution import Execution
from converter.guard import GuardedService
from converter.sending import Sending

_FILE = Path(os.environ["CONVERTER_HOME"]) / "crash-at"


def _die_at(point: str) -> None:
    try:
        if _FILE.read_text() != point:
            return
        _FILE.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _crash(owner: type, name: str, point: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _die_at(f"before {point}")
        result = original(*args, **kwargs)
        _die_at(f"after {point}")
        return result

    setattr(owner, name, wrapped)


_crash(Execution, "_attempt_all", "claimed work")  # "before" it: the claim is committed, nothing else is
_crash(Sending, "place", "order")  # "before": prepared and committed; "after": executed, not recorded
_crash(Sending, "advance", "step")
_crash(Sending, "broadcast", "broadcast")
_crash(GuardedService, "quote", "query")

if __name__ == "__main__":
    sys.exit(main())
