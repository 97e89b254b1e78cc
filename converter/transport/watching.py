"""Lets somebody watch the calls that leave: by method and host, nothing else of them. Nobody does, unless told to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Tell = Callable[[int], None]
"""Takes the status of the answer."""

Watch = Callable[[str, str], AbstractContextManager[Tell]]
"""Takes method and host; is entered before the call and left after it, with its error if it had one."""


def _ignore(_: int) -> None:
    pass


def _nobody(_method: str, _host: str) -> AbstractContextManager[Tell]:
    return nullcontext(_ignore)


class _Watched:
    watch: Watch = staticmethod(_nobody)


def watch_calls(watch: Watch) -> None:
    """From now on every call of this process is watched."""
    _Watched.watch = staticmethod(watch)


def watched(method: str, host: str) -> AbstractContextManager[Tell]:
    """Around a call."""
    return _Watched.watch(method, host)
