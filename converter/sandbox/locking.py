"""One at a time: the chains are used by the server's threads and by whoever holds the sandbox in the same process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Lockable(Protocol):
    """Something with a lock of its own, which its methods may take again."""

    lock: threading.RLock


Owner = TypeVar("Owner", bound=Lockable)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def serialised(method: Callable[Concatenate[Owner, Given], Answer]) -> Callable[Concatenate[Owner, Given], Answer]:
    """Make a method hold its owner's lock."""

    @wraps(method)
    def held(self: Owner, /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        with self.lock:
            return method(self, *args, **kwargs)

    return held
