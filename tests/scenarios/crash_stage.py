"""Plays all deaths of the table on one system, and keeps what was seen right after each, before anything came back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from converter import MultiServiceConverter
from converter.client import ConversionHandle
from converter.domain.conversions import OperationState, State
from converter.domain.errors import AuthenticationFailed
from converter.domain.events import CONVERSION_COMPLETED
from converter.enqueue import TaskSender, celery_settings
from converter.local.processes import Child
from converter.sandbox.clients import KEYS, saving
from converter.security.keys import variable
from converter.services.kraken_orders import client_id

from .crash_points import DYING, DYING_NEXT, FLUSHED, FLUSHING, FLUSHING_NEXT, PLAYS, REKEYED, Play
from .world import ENDED, World, until

PATIENCE, ENDED_WITHIN = 50.0, 120.0
OTHER_KEYS = {variable(*name): "re:placed" for name in KEYS if name[0] in REKEYED.values() or name == ("wallet", "RVN")}


@dataclass
class Seen:
    """A conversion right after a death: its state, its latest operation, and what the outside world did for it."""

    state: State
    operation: tuple[str, OperationState] | None
    executed: Counter[str]


@dataclass
class Stage:
    """What happened."""

    world: World
    converters: dict[str, MultiServiceConverter] = field(default_factory=dict)
    handles: dict[Play, ConversionHandle] = field(default_factory=dict)
    seen: dict[tuple[Play, int], Seen] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)
    """Of the workers that were to die, one for each wave."""
    clients: dict[str, list[subprocess.CompletedProcess[str]]] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    """How many conversions to a client's address there were once it was dead."""
    heard: list[str] = field(default_factory=list)
    redelivered: int = 0
    refused: set[Play] = field(default_factory=set)
    unhinted: ConversionHandle | None = None
    keyless: ConversionHandle | None = None

    def play(self) -> None:
        """From the first death to the end of every conversion."""
        self.world.converter.on(CONVERSION_COMPLETED, lambda payload: self.heard.append(payload["conversionId"]))
        clients = Clients(self)
        self._kill_beat()
        clients.wait_for_the_follower()
        self._wave(DYING)
        clients.begin_again()
        self._wave(DYING_NEXT)
        with self._other_keys():
            self._wave(FLUSHING)
        self._wave(FLUSHING_NEXT)
        self._wait()
        clients.end()

    def close(self) -> None:
        """Give connections back."""
        for converter in self.converters.values():
            converter.close()

    def _wait(self) -> None:
        """Until every conversion has ended, or has had its time: each test looks at its own."""
        going_on = list(self.world.handles)
        end = time.monotonic() + ENDED_WITHIN

        def over() -> bool:
            self.world.stack.watch()
            going_on[:] = [handle for handle in going_on if handle.state not in ENDED]
            return not going_on or time.monotonic() > end

        until(over, ENDED_WITHIN + PATIENCE, "over", pause=0.3)

    def deaths(self) -> list[dict[str, Any]]:
        """What the dying noted."""
        file = self.world.stack.home / "deaths"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _kill_beat(self) -> None:
        """The only one who could find this conversion dies when it is about to send the sweep."""
        (self.world.stack.home / "beat-crash-at").write_text("sweep")
        self.unhinted = self._accept("binance")
        until(self.deaths, PATIENCE, "beat died")

    def _wave(self, wave: int) -> None:
        """Everyone is caught, and the worker dies with them."""
        caught = [play for play in PLAYS if wave in play.deaths]
        new = [play for play in caught if play not in self.handles]
        with self._standing_still():
            for play in new:
                self.handles[play] = self._accept(play.service_id, play.coin, play.amount)
            points = {self.handles[play].id: play.deaths[wave] for play in caught}
            trap = self._write("crash-at", {"points": points, "flush": wave in FLUSHED})
        self.world.stack.watch()  # starts the worker that died in the wave before
        if wave == DYING_NEXT:
            self.redelivered = deliver_again(self.world.stack.environment["CONVERTER_REDIS_URL"])
        for play in new:
            self._hint(self.handles[play])
        self.pids.append(self._worker.pid or 0)
        until(lambda: not self._worker.is_alive, PATIENCE, lambda: f"wave {wave}: {self._strays(caught)}")
        assert not trap.exists(), f"wave {wave}: the worker died elsewhere"
        truth = self.world.truth()["executions"]
        self.seen.update({(play, wave): self._look(play, truth) for play in caught})

    @property
    def _worker(self) -> Child:
        return self.world.stack.workers[0]

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        """A worker that is alive finds nothing before its trap is set."""
        pid = self._worker.pid if self._worker.is_alive else None
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
        yield
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def _other_keys(self) -> Iterator[None]:
        """The worker that comes now has keys that are refused; the one after it has the right ones again."""
        keys = self._write("keys.json", OTHER_KEYS)
        self.world.stack.watch()
        self.keyless = asking = self._accept("coinpayments")
        self._hint(asking)

        def refused() -> bool:
            self.refused |= {play for play in REKEYED if AuthenticationFailed.__name__ in self._reasons(play)}
            return self.refused == REKEYED.keys() and asking.state is State.WAITING

        until(refused, PATIENCE, lambda: f"refused: {[(one.name, self._reasons(one)) for one in REKEYED]}")
        yield
        keys.unlink()

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        """A file for the worker, whole from its first moment."""
        file = self.world.stack.home / name
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.rename(file)
        return file

    def _accept(self, service_id: str, coin: str = "ETH", amount: str = "0.5") -> ConversionHandle:
        """A conversion at one service, of which no worker is told."""
        if service_id not in self.converters:
            services = [{"id": service_id, "priority": 1, "weight": 1}]
            self.converters[service_id] = MultiServiceConverter(services=services, home=self.world.stack.home)
            self.converters[service_id]._sender = TaskSender("")
        address = self.world.address()
        for place, settings in saving([address]).items() if service_id == "kraken" else ():
            self.world.configure(place, **settings)
        handle = self.converters[service_id].convert(from_coin=coin, to_coin="BTC", amount=amount, address=address)
        self.world.handles.append(handle)
        return handle

    def _hint(self, handle: ConversionHandle) -> None:
        assert self.world.converter._sender.send("conversions.start", handle.id)

    def _look(self, play: Play, truth: Sequence[dict[str, Any]]) -> Seen:
        handle = self.handles[play]
        operations = [one for attempt in self.world.attempts(handle.id) for one in self.world.operations(attempt)]
        ours = {transfer.txid for one in operations if (transfer := self.world.transfer(one)) is not None}
        ours |= {client_id(one.key) for one in operations}  # what kraken knows them by
        mark = handle.id.removeprefix("cv_")
        did = [
            one["operation"]
            for one in truth
            if str(one.get("reference") or "").startswith(mark) or {one.get("reference"), one.get("txid")} & ours
        ]
        last = (str(operations[-1].kind), operations[-1].state) if operations else None
        return Seen(handle.state, last, Counter(did))

    def _strays(self, caught: Sequence[Play]) -> list[tuple[str, str, str, str]]:
        return [(one.name, self.handles[one].id, self.handles[one].state, self._reasons(one)) for one in caught]

    def _reasons(self, play: Play) -> str:
        handle = self.handles[play]
        operations = [one for attempt in self.world.attempts(handle.id) for one in self.world.operations(attempt)]
        return " | ".join([handle.details().reason, *(one.error for one in operations)])


class Clients:
    """Pool backends: two that ask under an idempotency key, and one that follows what is completed."""

    ASKING = ("accepted", "inserted")

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: dict[str, subprocess.Popen[str]] = {}
        for point in self.ASKING:
            stage.addresses[point] = stage.world.address()
            self._start(point, "convert", f"key-{point}", stage.addresses[point], point)
        self._start("heard", "follow", "heard")

    def wait_for_the_follower(self) -> None:
        """It hears what happens from now on."""
        stdout = self._running["heard"].stdout
        assert stdout is not None
        assert stdout.readline() == "following\n"

    def begin_again(self) -> None:
        """Once all are dead each is started again, and not killed."""
        world = self._stage.world
        for point in (*self.ASKING, "heard"):
            self._running[point].wait(PATIENCE)
            self._finish(point)
        for point in self.ASKING:
            self._stage.found[point] = len(world.converting_to(self._stage.addresses[point]))
            self._start(point, "convert", f"key-{point}", self._stage.addresses[point])
        self._start("heard", "follow")
        self.wait_for_the_follower()
        for point in self.ASKING:
            self._finish(point)
            for identity in self._stage.clients[point][-1].stdout.split():
                world.handles.append(world.converter.get(identity))

    def end(self) -> None:
        """The follower has heard enough when it has heard of the last that was completed."""
        told = [one.conversion_id for one in self._stage.world.told() if one.name == CONVERSION_COMPLETED]
        self._finish("heard", f"{told[-1]}\n")

    def _start(self, point: str, *words: str) -> None:
        self._running[point] = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.crashing_client", *words],
            env={**self._stage.world.stack.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _finish(self, point: str, last_word: str | None = None) -> None:
        process = self._running.pop(point)
        try:
            out, err = process.communicate(last_word, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        self._stage.clients.setdefault(point, []).append(done)


def deliver_again(redis_url: str) -> int:
    """Let the broker give out again what was taken and not acknowledged, as it does by itself after fifteen minutes."""
    with Celery(set_as_current=False) as app:
        app.conf.update(celery_settings(redis_url))
        with app.connection_for_write() as connection:
            channel = connection.default_channel
            channel.visibility_timeout = 0
            held: int = channel.client.zcard(channel.unacked_index_key)
            channel.qos.restore_visible(num=1000)
            return held - int(channel.client.zcard(channel.unacked_index_key))
