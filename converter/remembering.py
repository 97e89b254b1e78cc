"""Answers that are worth the same for a moment: many who look at once are served from one look."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Kept(Generic[T]):
    value: T | None = None
    until: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Remembering(Generic[T]):
    """Keeps answers for `seconds`, or for `times` the time that it took to make them if that is longer.

    Shared by threads: who asks while an answer is made waits for it. An error is not kept. At most `size` answers.
    """

    def __init__(self, seconds: float = 1.0, times: float = 0.0, size: int = 64) -> None:
        self._seconds = seconds
        self._times = times
        self._size = size
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer under this key, made if there is none that is new enough."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        with kept.lock:
            began = time.monotonic()
            if kept.value is None or began >= kept.until:
                kept.value = make()
                ended = time.monotonic()
                kept.until = ended + max(self._seconds, self._times * (ended - began))
            return kept.value

    def forget(self) -> None:
        """What was kept is not told any more: something was changed."""
        with self._lock:
            self._kept.clear()
