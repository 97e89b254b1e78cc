"""The folder in which the processes of one machine keep their counters, for the HTTP server to sum up.

Each process writes files of its own, named by host and process id; the files of a process that ended still count. Only
gauges end with their process. `PROMETHEUS_MULTIPROC_DIR` names the folder, to us and to the library.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_FILE = re.compile(r"(?:counter|histogram|summary|gauge_[a-z]+)_(.+)\.db")


def identity() -> str:
    """This process among all that share the folder. Containers have equal process ids, so the host is part of it."""
    return f"{_host()}-{os.getpid()}"


def prepare(environ: Mapping[str, str]) -> Path | None:
    """The folder, made if it is not there; None where none is named or it cannot be written to."""
    if not environ.get(VARIABLE):
        return None
    folder = Path(environ[VARIABLE])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def empty(folder: Path) -> None:
    """Begin to count anew. Only before the first process of a system starts."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)


def gone(folder: Path) -> set[str]:
    """Processes of this host that have files and do not run any more."""
    found = {match[1] for file in folder.glob("*.db") if (match := _FILE.fullmatch(file.name))}
    return {one for one in found if one.startswith(f"{_host()}-") and not _runs(one.rpartition("-")[2])}


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "-", socket.gethostname())


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
