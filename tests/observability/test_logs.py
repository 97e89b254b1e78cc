"""One line for each thing that is said, with who said it and what it was about."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

from converter.observability import logs


class Said:
    """What went to stderr."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._captured.readouterr().err
        return self._text


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in logs.QUIET}
    yield Said(capsys)
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    for name, level in kept[2].items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)
    logs.unbind()


def lines(said: Said) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.text.splitlines()]


def test_a_line_of_the_standard_library_becomes_an_object_with_its_facts(said: Said) -> None:
    logs.configure("json", "INFO", "worker@here")
    logs.bind({"task": "conversions.execute", "conversionId": "cv_1"})
    logging.getLogger("converter.enqueue").warning("broker away, %s", "later", extra={"serviceId": "kraken"})
    (line,) = lines(said)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "broker away, later",
        "logger": "converter.enqueue",
        "process": "worker@here",
        "task": "conversions.execute",
        "conversionId": "cv_1",
        "serviceId": "kraken",
    }


def test_what_is_bound_ends_with_its_task_and_is_no_other_threads(said: Said) -> None:
    logs.configure("json", "INFO", "worker")
    logs.bind({"conversionId": "cv_1"})
    other = Thread(target=lambda: logging.getLogger("a").info("another"))
    other.start()
    other.join()
    logs.unbind()
    with logs.bound({"requestId": "r"}):
        logging.getLogger("a").info("within")
    logging.getLogger("a").info("after")
    assert [(one["event"], one.get("conversionId"), one.get("requestId")) for one in lines(said)] == [
        ("another", None, None),
        ("within", None, "r"),
        ("after", None, None),
    ]


def test_an_error_is_told_on_the_same_line_and_without_keys(said: Said) -> None:
    logs.configure("json", "INFO", "api", secrets=["a-very-secret-key"])
    try:
        int("the service said a-very-secret-key")
    except ValueError:
        logging.getLogger("a").exception("it failed")
    (line,) = lines(said)
    assert "Traceback" in line["exception"]
    assert "a-very-secret-key" not in said.text


def test_a_key_that_is_known_only_later_is_kept_out_from_then_on(said: Said) -> None:
    logs.configure("json", "INFO", "worker")
    logs.keep_out(["found-out-later"])
    logging.getLogger("a").info("found-out-later")
    assert "found-out-later" not in said.text


def test_what_celery_says_of_results_and_uvicorn_of_paths_is_not_told(said: Said) -> None:
    logs.configure("json", "INFO", "worker")
    logging.getLogger("celery.app.trace").info("Task rates.query succeeded: {'net': '0.09'}")
    logging.getLogger("uvicorn.access").info("GET /callbacks/coingate/token")
    logging.getLogger("celery.app.trace").error("Task rates.query raised")
    assert [one["event"] for one in lines(said)] == ["Task rates.query raised"]


def test_below_its_level_nothing_is_told(said: Said) -> None:
    logs.configure("json", "WARNING", "worker")
    logging.getLogger("a").info("quiet")
    logging.getLogger("a").warning("loud")
    assert [one["event"] for one in lines(said)] == ["loud"]


def test_for_a_person_a_line_begins_with_when_and_what(said: Said) -> None:
    logs.configure("text", "INFO", "beat")
    logging.getLogger("a").warning("broker away")
    moment, level, *rest = said.text.split()
    assert moment.endswith("Z")
    assert (level, " ".join(rest)) == ("warning", "broker away process=beat logger=a")
