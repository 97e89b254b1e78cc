"""Runs Celery with a worker that notes in `CONVERTER_HOME/waits` the transactions that took a second or more.

The product knows nothing of it: its method is wrapped here, in the test's own process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery.__main__ import main

from converter.ledger.repository import SqlLedger, SqlWork

_FILE = Path(os.environ["CONVERTER_HOME"]) / "waits"
_begin = SqlLedger.begin


@contextmanager
def _timed(self: SqlLedger) -> Iterator[SqlWork]:
    began, end = time.time(), "done"
    try:
        with _begin(self) as work:
            yield work
    except BaseException as error:
        end = type(error).__name__
        raise
    finally:
        over = time.time()
        if over - began >= 1:
            with _FILE.open("a") as file:
                file.write(json.dumps([began, over, end]) + "\n")


SqlLedger.begin = _timed  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
