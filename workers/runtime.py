"""One wired engine and one sender per worker process, built when the first task needs it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from converter.bootstrap import Engine, build_engine
from converter.enqueue import TaskSender
from workers.observability import counting, keep_out_of_logs

_lock = threading.Lock()


@dataclass(frozen=True)
class Runtime:
    """What the tasks of a process share."""

    pid: int
    engine: Engine
    sender: TaskSender


_runtime: Runtime | None = None


def runtime() -> Runtime:
    """The process' runtime; a forked child builds its own, since connections must not be shared."""
    global _runtime  # noqa: PLW0603  the one place of process-wide state
    with _lock:
        if _runtime is None or _runtime.pid != os.getpid():
            engine = build_engine(meter=counting())
            keep_out_of_logs(engine.secrets)
            _runtime = Runtime(os.getpid(), engine, TaskSender(engine.settings.redis_url))
        return _runtime
