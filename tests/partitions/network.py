"""Network namespaces joined by cables that can be cut without a sound (Linux, root).

A namespace stands for a place: a region, the ledger's host, the outside world. A cable is a veth pair. It is cut by
taking down its far end: what is sent into the near end then vanishes, and nobody is told. Neighbours are entered by
hand, since a host that does not answer ARP is reported as unreachable after a few seconds, which is not silence.
Addresses repeat in every run; only the names of namespaces are seen by others, and they carry our process id.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_HERE = Path("/proc/thread-self/ns/net")


class Place:
    """One namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespace = f"cv{os.getpid()}{name}"
        self.addresses: dict[str, str] = {}
        """Address of the other place, by its name."""
        _ip("netns", "add", self.namespace)
        _ip("-n", self.namespace, "link", "set", "lo", "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is there: its new sockets, and the processes that it starts."""
        home = os.open(_HERE, os.O_RDONLY)
        there = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def remove(self) -> None:
        """With all cables that end there."""
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.namespace)


class Cable:
    """From a region (the near end) to what it needs (the far end). Cuts may overlap; the last one to end heals it."""

    def __init__(self, near: Place, far: Place, number: int) -> None:
        self.near, self.far = near, far
        self.name = f"{near.name}-{far.name}"
        self._ends = [(near, f"to-{far.name}", f"10.99.{number}.1"), (far, f"to-{near.name}", f"10.99.{number}.2")]
        self._macs = [f"02:00:00:00:{number:02x}:01", f"02:00:00:00:{number:02x}:02"]
        self._cuts = 0
        self._lock = threading.Lock()
        (_, here, _), (_, there, _) = self._ends
        peer = ("peer", "name", there, "netns", far.namespace)
        _ip("-n", near.namespace, "link", "add", here, "type", "veth", *peer)
        for (place, end, address), mac in zip(self._ends, self._macs, strict=True):
            _ip("-n", place.namespace, "link", "set", end, "address", mac)
            _ip("-n", place.namespace, "addr", "add", f"{address}/24", "dev", end)
            _ip("-n", place.namespace, "link", "set", end, "up")
        near.addresses[far.name], far.addresses[near.name] = self._ends[1][2], self._ends[0][2]
        self._introduce()

    @property
    def is_cut(self) -> bool:
        """Whether packets vanish."""
        return self._cuts > 0

    def cut(self) -> None:
        """From now on packets vanish, both ways."""
        with self._lock:
            self._cuts += 1
            if self._cuts == 1:
                _ip("-n", self.far.namespace, "link", "set", self._ends[1][1], "down")

    def heal(self) -> None:
        """End one cut."""
        with self._lock:
            self._cuts -= 1
            if self._cuts == 0:
                _ip("-n", self.far.namespace, "link", "set", self._ends[1][1], "up")
                self._introduce()

    def _introduce(self) -> None:
        """Each end knows the other without asking; the far end forgets it when it goes down."""
        for mine, other in ((0, 1), (1, 0)):
            place, end, _ = self._ends[mine]
            entry = (self._ends[other][2], "lladdr", self._macs[other], "dev", end, "nud", "permanent")
            _ip("-n", place.namespace, "neigh", "replace", *entry)


class Network:
    """Places and the cables between them, removed at the end."""

    def __init__(self, places: Sequence[str], cables: Sequence[tuple[str, str]]) -> None:
        self.places: dict[str, Place] = {}
        self.cables: dict[str, Cable] = {}
        try:
            for name in places:
                self.places[name] = Place(name)
            for number, (near, far) in enumerate(cables, start=1):
                cable = Cable(self.places[near], self.places[far], number)
                self.cables[cable.name] = cable
        except BaseException:
            self.remove()
            raise

    def heal(self) -> None:
        """End all cuts."""
        for cable in self.cables.values():
            while cable.is_cut:
                cable.heal()

    def remove(self) -> None:
        """Leave nothing behind."""
        for place in self.places.values():
            place.remove()


@contextmanager
def network(places: Sequence[str], cables: Sequence[tuple[str, str]]) -> Iterator[Network]:
    _remove_leftovers()
    made = Network(places, cables)
    try:
        yield made
    finally:
        made.remove()


def _remove_leftovers() -> None:
    """What a run that was killed left behind."""
    for found in Path("/run/netns").glob("cv*"):
        owner = re.match(r"cv(\d+)", found.name)
        if owner is not None and not Path(f"/proc/{owner[1]}").exists():
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", found.name)


@cache
def why_not() -> str:
    """What stands in the way of namespaces here; empty when nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the `ip` command (iproute2)"
    try:
        with network(("try-a", "try-b"), [("try-a", "try-b")]):
            return ""
    except (subprocess.CalledProcessError, OSError) as error:
        return f"no network namespaces here: {getattr(error, 'stderr', '') or error}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)


def _enter(descriptor: int) -> None:
    if _libc().setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
