"""Around a call that moves nothing and whose failure, whatever it is, must not keep others from theirs."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)


class Harmless:
    """Keeps what went wrong in `error`; what nobody expected is logged as well. Never put around what moves money."""

    def __init__(self, what: str, *expected: type[Exception]) -> None:
        self.error: Exception | None = None
        self._what = what
        self._expected = expected

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        if not isinstance(error, self._expected):
            log.error("%s failed", self._what, exc_info=error)
        return True
