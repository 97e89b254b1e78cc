"""What is told of a task that fails."""

from __future__ import annotations

import traceback

import pytest
from celery.exceptions import Ignore

from workers.app import app
from workers.failing import QuietTask, TaskFailed, failed

ADDRESS = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"


def insert() -> None:
    raise ValueError(f"duplicate key ({ADDRESS})")


def deliver() -> None:
    try:
        insert()
    except ValueError as error:
        raise RuntimeError(f"INSERT … 1.5 {ADDRESS}") from error


def a_task(run: object) -> QuietTask:
    return type("Some", (QuietTask,), {"run": staticmethod(run), "name": "some"})()


def test_a_task_that_fails_tells_the_kinds_of_errors_and_the_place_but_no_text() -> None:
    with pytest.raises(TaskFailed) as caught:
        a_task(deliver)()
    told = "".join(traceback.format_exception(caught.value))
    assert str(caught.value) == "RuntimeError from ValueError"
    assert "in deliver" in told
    assert ADDRESS not in told
    assert "duplicate" not in told
    assert ADDRESS not in repr(caught.value)


def test_a_task_that_does_not_fail_is_left_alone() -> None:
    def ignored() -> None:
        raise Ignore

    assert a_task(lambda: "done")() == "done"
    with pytest.raises(Ignore):
        a_task(ignored)()


def test_an_error_that_is_logged_is_quiet_too() -> None:
    try:
        deliver()
    except RuntimeError as error:
        quiet = failed(error)
    told = "".join(traceback.format_exception(quiet))
    assert "in deliver" in told
    assert ADDRESS not in told


def test_every_task_of_ours_is_a_quiet_one() -> None:
    app.loader.import_default_modules()
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert len(ours) >= 9
    assert [name for name, task in ours.items() if not isinstance(task, QuietTask)] == []
