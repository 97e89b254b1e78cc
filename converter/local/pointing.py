"""Where a system of containers converts: outside, with the operator's settings and keys, or in a sandbox beside it.

All parts read `config.json` and `keys/` of one folder. Outside these are links to what the operator gave, so that no
key is copied; in the sandbox they are files that open nothing else. Which of both it is never changes: a payout that a
sandbox made is a payout that no miner has seen.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

from converter.domain.errors import ConfigurationError
from converter.local.sandbox_config import write_sandbox_config
from converter.sandbox.clients import KEYS

OUTSIDE, SANDBOX = "outside", "sandbox"
_NOTE = "converts"


def point(into: Path, config: Path, keys: Path, sandbox_url: str) -> str:
    """Point the system at the sandbox when there is one, else outside; returns which.

    Raises ConfigurationError when the system converted on the other side before, or the operator's files are not there.
    """
    side = SANDBOX if _is_there(sandbox_url) else OUTSIDE
    note = into / _NOTE
    before = note.read_text().strip() if note.exists() else side
    if before != side:
        names = {OUTSIDE: "outside", SANDBOX: "in the sandbox"}
        raise ConfigurationError(
            f"{into}: this system converts {names[before]}, and now it would {names[side]};"
            " accepted: the side that it has, or one whose volumes are all new"
        )
    if side == OUTSIDE and not (config.is_file() and keys.is_dir()):
        raise ConfigurationError(f"config, keys: {config} or {keys} is not there; accepted: a file and a folder")
    into.mkdir(parents=True, exist_ok=True)
    if side == SANDBOX:
        config, keys = write_sandbox_config(into, sandbox_url), _write_keys(into)
    note.write_text(f"{side}\n")
    _link(into / "config.json", config)
    _link(into / "keys", keys)
    return side


def _is_there(url: str) -> bool:
    """Whether the name of the sandbox is known. One that is known and does not answer is an error later, no outside."""
    place = urlsplit(url)
    if not place.hostname or not place.port:
        raise ConfigurationError(f"sandbox: {url!r} is no address; accepted: such as http://sandbox:8099")
    try:
        socket.getaddrinfo(place.hostname, place.port)
    except socket.gaierror:
        return False
    return True


def _write_keys(into: Path) -> Path:
    folder = into / "sandbox-keys"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for (service_id, name), key in KEYS.items():
        (folder / f"{service_id}_{name}".lower()).write_text(key)
    return folder


def _link(link: Path, target: Path) -> None:
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.absolute())
    fresh.replace(link)
