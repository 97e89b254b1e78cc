"""Takes a guard out of a copy of the tree, runs its tests there, and says whether they noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from tests.sabotage.guard import Guard, GuardMovedError, copy_tree, files_of_the_tree
from tests.sabotage.witness import ENOUGH, REPORT

AT_ONCE = 2
"""Guards that are tried at the same time."""

TEST_SECONDS = 20
RUN_SECONDS = 100.0
"""For one guard; a run that takes longer is ended, and has caught nothing that it did not tell until then."""

TEARDOWN_SECONDS = 20.0
"""For a run that was asked to end: it stops the servers that its tests started."""

FEW = 3
"""Tests that notice, after which a run stops."""


class Runs:
    """The test processes that are running. An end of ours is an end of theirs, and of the servers that they started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def start(self, command: Sequence[str], tree: Path, environment: Mapping[str, str], output: BinaryIO) -> Any:
        """A process in a session of its own. Raises InterruptedError once everything is to end."""
        with self._lock:
            if self._over:
                raise InterruptedError
            process = subprocess.Popen(
                command,
                cwd=tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def wait(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Whether it ended in time; if not, it is interrupted, so that its tests stop their servers, then killed."""
        in_time = False
        try:
            process.wait(seconds)
            in_time = True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TEARDOWN_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: only what this run started
            process.wait()
            with self._lock:
                self._running.discard(process)
        return in_time

    def end(self) -> None:
        """Interrupt what runs, and start nothing more."""
        with self._lock:
            self._over = True
            for process in self._running:
                process.send_signal(signal.SIGINT)


RUNS = Runs()


@dataclass(frozen=True)
class Told:
    """What a test run told: how many tests ran, what they asserted in vain, and what only broke."""

    tests: int = 0
    asserted: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    in_time: bool = True


@dataclass(frozen=True)
class Verdict:
    """Whether a guard is missed by the tests. `trouble` is what stood in the way of an answer."""

    guard: Guard
    caught_by: tuple[str, ...]
    seconds: float
    trouble: str = ""
    tests: int = 0

    @property
    def is_caught(self) -> bool:
        """A test asserted something, and the guard's absence was what made it false."""
        return bool(self.caught_by) and not self.trouble


@contextmanager
def copied(files: Sequence[str], root: Path) -> Iterator[Path]:
    """A copy of the tree in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="converter-sabotage-", ignore_cleanup_errors=True) as folder:
        target = Path(folder).resolve() / "tree"
        copy_tree(files, target, root)
        yield target


def run_tests(tree: Path, arguments: Sequence[str], *, enough: int = 0, seconds: float = RUN_SECONDS) -> Told:
    """Run pytest in the tree, with the tree's own code. What it says is in the report alone."""
    report = tree.parent / "report.json"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**inherited, "PYTHONPATH": str(tree), REPORT: str(report), ENOUGH: str(enough or "")}
    environment["CONVERTER_TEST_ALL"] = "1"
    options = ["-p", "no:cacheprovider", "-p", "tests.sabotage.witness", f"--rootdir={tree}"]
    with (tree.parent / "output.txt").open("wb") as output:
        command = [sys.executable, "-m", "pytest", *options, f"--timeout={TEST_SECONDS}", *arguments]
        in_time = RUNS.wait(RUNS.start(command, tree, environment, output), seconds)
    if not report.exists():
        text = (tree.parent / "output.txt").read_text(errors="replace")[-400:]
        return Told(broken={"pytest": f"no report: {text}"})
    told = json.loads(report.read_text())
    if told["foreign"]:
        raise RuntimeError(f"not the copy was tested but {told['foreign']}")
    return Told(told["tests"], told["asserted"], told["broken"], in_time)


def tried(guard: Guard, files: Sequence[str], root: Path) -> Verdict:
    """Take one guard out and run its tests."""
    began = time.monotonic()

    def verdict(caught_by: Iterable[str] = (), trouble: str = "", tests: int = 0) -> Verdict:
        return Verdict(guard, tuple(caught_by), time.monotonic() - began, trouble, tests)

    with copied(files, root) as tree:
        try:
            guard.remove(tree)
        except (GuardMovedError, SyntaxError) as error:
            return verdict(trouble=str(error))
        told = run_tests(tree, ["-k", guard.keyword, *guard.tests], enough=FEW)
    if told.asserted:
        return verdict(told.asserted, tests=told.tests)
    if told.broken:
        name, text = next(iter(told.broken.items()))
        return verdict(trouble=f"nothing was asserted, only broken: {name}: {text}", tests=told.tests)
    if not told.tests or not told.in_time:
        return verdict(trouble="no test ran" if told.in_time else f"its tests take longer than {RUN_SECONDS:.0f} s")
    return verdict(tests=told.tests)


def try_all(
    guards: Sequence[Guard], root: Path, tell: Callable[[Verdict], None], at_once: int = AT_ONCE
) -> list[Verdict]:
    """Every guard's verdict. A test that is red in the untouched tree too has caught nothing."""
    files = files_of_the_tree(root)
    with copied(files, root) as untouched:  # whoever goes on editing the tree meanwhile does not disturb
        verdicts = _tried_by_turns(guards, partial(tried, files=files, root=untouched), tell, at_once)
        names = sorted({name for verdict in verdicts for name in verdict.caught_by})
        red = red_anyway(names, files, untouched) if names else set()
    return [_without(verdict, red) for verdict in verdicts]


def _tried_by_turns(
    guards: Sequence[Guard], trial: Callable[[Guard], Verdict], tell: Callable[[Verdict], None], at_once: int
) -> list[Verdict]:
    def work(guard: Guard) -> Verdict:
        verdict = trial(guard)
        tell(verdict)
        return verdict

    with ThreadPoolExecutor(at_once) as pool:
        try:
            return list(pool.map(work, guards))
        except BaseException:
            RUNS.end()
            raise


def red_anyway(names: Sequence[str], files: Sequence[str], root: Path) -> set[str]:
    """Those of the tests that fail with every guard in its place."""
    with copied(files, root) as tree:
        told = run_tests(tree, names, seconds=4 * RUN_SECONDS)
    if told.tests < len(names) - len(told.broken):
        raise RuntimeError(f"only {told.tests} of {len(names)} tests ran in the untouched tree: {told.broken}")
    return {*told.asserted, *told.broken}


def _without(verdict: Verdict, red: set[str]) -> Verdict:
    kept = tuple(name for name in verdict.caught_by if name not in red)
    if kept == verdict.caught_by:
        return verdict
    trouble = "" if kept else f"its tests are red anyway: {', '.join(verdict.caught_by)}"
    return replace(verdict, caught_by=kept, trouble=verdict.trouble or trouble)
