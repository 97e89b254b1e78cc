"""Child processes that are stopped by us, restarted when they die, and end with us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def follow_parent(sign: signal.Signals) -> Callable[[], None] | None:
    """What a new process has to do in order to get `sign` when its parent dies, where the system offers it (Linux).

    It follows the *thread* that started the process, so start children from one that lives as long as the process.
    """
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl  # loaded here: the forked child must do as little as possible

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, sign)
        if os.getppid() != parent:  # it died before we asked to be told
            os._exit(1)

    return follow


class Child:
    """A named child process with a log file of its own."""

    def __init__(self, name: str, argv: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self._argv = list(argv)
        self._environ = dict(environ)
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it was started."""
        return self._popen.pid if self._popen is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def start(self, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Start it in a session of its own (Ctrl-C is for us), writing to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603  our own programs
                self._argv,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
                # The engine is safe to kill at any moment; a stopped parent must leave nothing behind.
                preexec_fn=follow_parent(signal.SIGKILL),  # noqa: PLW1509  nothing but one system call
            )
        return self._popen

    def restart_if_dead(self) -> bool:
        """Start it again if it died; True when it had."""
        if self._popen is None or self.is_alive:
            return False
        self.restarts += 1
        self.start()
        return True

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._popen is not None and self.is_alive:
            self._popen.kill()
            self._popen.wait()

    def stop(self, patience: float = 10.0) -> None:
        """Ask it to end, and kill it when it does not. It is not restarted any more."""
        popen, self._popen = self._popen, None
        if popen is None or popen.poll() is not None:
            return
        popen.terminate()
        try:
            popen.wait(patience)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()

    def log_tail(self, size: int = 2000) -> str:
        """The end of its log, for an error message."""
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""
