"""Logs of the long-running processes: one JSON object on each line of stderr, or text for a person.

Every line has `time` (UTC), `level`, `logger`, `event` and `process`; within a task `task` and `taskId`, within a
request `requestId`, and `conversionId` and `serviceId` where they are known. Modules log through the standard library.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars, merge_contextvars

from converter.observability.redaction import Redaction

QUIET = ("celery.app.trace", "celery.worker.strategy", "celery.beat", "httpx", "uvicorn.access")
"""Loggers heard from WARNING on: Celery tells the results of tasks, and amounts are in them; an access log tells paths.
What they would say is said by our own lines, without it."""

_FIRST = ("time", "level", "event")

_redaction = Redaction()


def configure(kind: Literal["json", "text"], level: str, process: str, secrets: Iterable[str] = ()) -> None:
    """Let this process log like this from now on. `process`: its name in every line."""
    keep_out(secrets)
    named = _Named(process)
    seen: list[Any] = [
        named,
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    shown: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _plain, _redaction]
    shown += [_ordered, structlog.processors.JSONRenderer()] if kind == "json" else [_for_a_person]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=seen, processors=shown))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def keep_out(secrets: Iterable[str]) -> None:
    """Values that no line may hold."""
    _redaction.hold(secrets)


def bind(facts: Mapping[str, str]) -> None:
    """Put these facts into every line of this context until `unbind`."""
    bind_contextvars(**facts)


def unbind() -> None:
    """Forget what was bound in this context."""
    clear_contextvars()


@contextmanager
def bound(facts: Mapping[str, str]) -> Iterator[None]:
    """Put these facts into every line within."""
    with bound_contextvars(**facts):
        yield


class _Named:
    """Adds the process' name."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
        line["process"] = self._process
        return line


def _plain(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """Without uvicorn's second text for a terminal."""
    line.pop("color_message", None)
    return line


def _ordered(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """What one reads first stands first."""
    return {name: line.pop(name) for name in _FIRST if name in line} | line


def _for_a_person(_logger: Any, _method: str, line: dict[str, Any]) -> str:
    moment, level, event = (str(line.pop(name, "")) for name in _FIRST)
    trace = line.pop("exception", "")
    facts = " ".join(f"{name}={value}" for name, value in line.items())
    return f"{moment} {level:8} {event}  {facts}" + (f"\n{trace}" if trace else "")
