"""A pytest plugin for runs in a copy of the tree: which code was tested, and how each test ended.

The report tells apart what a test asserted from what merely broke. A module that cannot be imported, a fixture that
fails or a name that is missing turns tests red as well, and proves nothing.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

REPORT = "SABOTAGE_REPORT"
"""Environment variable: the file to write."""

ENOUGH = "SABOTAGE_ENOUGH"
"""Environment variable: tests that must say so before the run stops; without it, it goes on to its end."""

PACKAGES = ("converter", "workers")

SPOKEN = ("converter.", "sqlalchemy.exc.IntegrityError")
"""Where an error comes from that says something in place of what a test expected: one of ours, or an index that bars
what the code would have done. Anything else that comes out of a test is a breakage."""

_kept: dict[str, Any] = {"tests": 0, "asserted": {}, "broken": {}, "foreign": ""}


def pytest_sessionstart(session: pytest.Session) -> None:
    """The package is also installed from elsewhere: only the copy's own code may be tested."""
    root = session.config.rootpath.resolve()
    for name in PACKAGES:
        if not (root / name).is_dir():
            continue
        try:
            place = Path(str(importlib.import_module(name).__file__)).resolve()
        except Exception as error:  # noqa: BLE001  whatever the sabotage broke, it is told
            _kept["broken"][name] = f"{type(error).__name__}: {error}"[:300]
            continue
        if not place.is_relative_to(root):
            _kept["foreign"] = str(place)
            pytest.exit(f"{name} is imported from {place}, not from {root}", returncode=4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note what failed, and whether a test itself said so."""
    report: Any = yield
    if call.when == "call":
        _kept["tests"] += 1
    if report.failed:
        _note(item.nodeid, call)
    enough = os.environ.get(ENOUGH)
    if enough and len(_kept["asserted"]) >= int(enough):
        item.session.shouldstop = "enough tests have noticed"
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note what could not be imported."""
    if report.failed:
        _kept["broken"][report.nodeid] = str(report.longrepr)[-300:]


def pytest_sessionfinish() -> None:
    """Write the report."""
    if place := os.environ.get(REPORT):
        Path(place).write_text(json.dumps(_kept))


def _note(nodeid: str, call: pytest.CallInfo[None]) -> None:
    error = call.excinfo.value if call.excinfo is not None else None
    text = f"{type(error).__name__}: {error}"[:300]
    asserted = isinstance(error, AssertionError | pytest.fail.Exception)
    spoken = f"{type(error).__module__}.{type(error).__qualname__}".startswith(SPOKEN)
    # An expected failure that did not come has no error here; a time-out is a failure that nobody asserted.
    said = (asserted or spoken) and not str(error).startswith("Timeout ")
    _kept["asserted" if said and call.when == "call" else "broken"][nodeid] = text
