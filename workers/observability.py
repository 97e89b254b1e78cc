"""What a worker and beat tell those who watch: logs, counters and traces of tasks, by Celery's signals.

Of a task's arguments only ids are told, and of its result nothing.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

from celery import Task
from celery.signals import celeryd_init, setup_logging, task_postrun, task_prerun, worker_process_init

from beat_schedule import BEAT_SCHEDULE
from converter.enqueue import SENT_AT, let_carry
from converter.observability import folder as folders
from converter.observability import logs, tracing
from converter.observability.counting import Counting
from converter.settings import environment, load_settings

log = logging.getLogger(__name__)

_IDS = {"conversion_id": "conversionId", "service_id": "serviceId", "receiver": "receiver"}
"""Arguments of tasks that are told, and how they are called there."""

_SELDOM = frozenset({*(entry["task"] for entry in BEAT_SCHEDULE.values()), "services.check", "events.send"})
"""Tasks that are sent all the time: their end is told only when they failed, or took long."""
_LONG = 5.0


@dataclass
class _Process:
    """This process, as it is called in its lines."""

    name: str = "celery"
    counting: Counting | None = None


@dataclass(frozen=True)
class _Run:
    """A task under way in this process."""

    began: float
    span: ExitStack


_process = _Process()
_runs: dict[str, _Run] = {}


def counting() -> Counting | None:
    """The counters of this worker; None where no folder for them is named, or this process is no worker."""
    return _process.counting


def keep_out_of_logs(secrets: Sequence[str]) -> None:
    """Values that no line may hold."""
    logs.keep_out(secrets)


@celeryd_init.connect
def _worker_begins(sender: str = "worker", **_: Any) -> None:
    """Before anything of the worker is there. Not at import: senders and Flower import the app, too."""
    _process.name = sender
    _start("worker")
    folder = folders.prepare(environment())
    if folder is not None:
        _process.counting = Counting(folder)
    elif environment().get(folders.VARIABLE):
        log.warning("nothing is counted: the folder of %s cannot be written to", folders.VARIABLE)
    task_prerun.connect(_task_begins, weak=False)
    task_postrun.connect(_task_ends, weak=False)


@worker_process_init.connect
def _child_begins(**_: Any) -> None:
    """A forked child has none of its parent's threads, so it sends its spans by itself."""
    _start("worker")


def _start(kind: str) -> None:
    if tracing.start(environment(), kind):
        let_carry(tracing.carry)


@setup_logging.connect
def _logs_begin(**_: Any) -> None:
    """In the place of Celery's own set-up. A worker has its name by now; beat is known by its command."""
    if "beat" in sys.argv:
        _process.name = "beat"
    settings = load_settings()
    secrets = [part for url in (settings.redis_url, settings.ledger_url) if (part := _password(url))]
    logs.configure(settings.logs.format, settings.logs.level, _process.name, secrets)


def _task_begins(task_id: str, task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any], **_: Any) -> None:
    facts = {"task": str(task.name), "taskId": task_id, **_ids(task, args, kwargs)}
    logs.bind(facts)
    request = task.request
    carrier = {"traceparent": str(getattr(request, "traceparent", None) or "")}
    span = ExitStack()
    span.enter_context(tracing.span(f"task {task.name}", "consumer", _attributes(facts), carrier))
    _runs[task_id] = _Run(time.monotonic(), span)
    if _process.counting is not None:
        sent_at = getattr(request, SENT_AT, None)
        _process.counting.began(task.name, time.time() - sent_at if isinstance(sent_at, float) else None)


def _task_ends(task_id: str, task: Task[Any, Any], state: str | None = None, **_: Any) -> None:
    run = _runs.pop(task_id, None)
    if run is None:
        return
    seconds, state = time.monotonic() - run.began, state or "UNKNOWN"
    if _process.counting is not None:
        _process.counting.ended(task.name, state, seconds)
    if task.name not in _SELDOM or state != "SUCCESS" or seconds > _LONG:
        log.info("task ended", extra={"state": state, "ms": round(seconds * 1000)})
    run.span.close()
    logs.unbind()


def _ids(task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
    """What the arguments are about: ids, and nothing else of them."""
    given = {**dict(zip(_parameters(task.run), args, strict=False)), **kwargs}
    told = {called: given[name] for name, called in _IDS.items() if isinstance(given.get(name), str)}
    services = given.get("service_ids")
    if isinstance(services, list | tuple) and services:
        told["serviceId"] = ",".join(str(one) for one in services)
    return told


@cache
def _parameters(run: Any) -> tuple[str, ...]:
    return tuple(signature(run).parameters)


def _attributes(facts: Mapping[str, str]) -> dict[str, str]:
    """A task that the sweep sends again has no trace to belong to: its conversion's id joins the two."""
    names = {"task": "celery.task_name", "taskId": "messaging.message.id"}
    names |= {"conversionId": "converter.conversion.id", "serviceId": "converter.service.id"}
    names |= {"receiver": "converter.receiver"}
    return {names[name]: value for name, value in facts.items()}


def _password(url: str) -> str:
    login, found, _ = url.partition("//")[2].rpartition("@")
    return login.partition(":")[2] if found else ""
