"""The sandbox's server: every service of the outside world on one port, with faults, behind `/<service_id>/`."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Self
from urllib.parse import parse_qs, unquote

from converter.sandbox.callbacks import Callbacks
from converter.sandbox.chain import EvmChain
from converter.sandbox.control import Control
from converter.sandbox.evm_networks import ETC
from converter.sandbox.faults import AFTER, BEFORE, FaultBook, Verdict
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import Mount, TwinMount, build_twins
from converter.sandbox.rpc import ChainMount
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, Response, World
from converter.sandbox.utxo_chain import UtxoChain
from converter.sandbox.utxo_chains import UtxoChains
from converter.sandbox.utxo_rpc import UtxoMount
from converter.sandbox.wire import HTML, BadRequest, Connection, Incoming

DRIP_PAUSE = 0.2  # seconds between two bytes of a dripped answer
HOLD = 60.0  # seconds for which a silent connection is kept
MAX_PROBLEMS = 20


class Sandbox:
    """The outside world in a box, in threads of this process: `with Sandbox() as sandbox: … sandbox.url …`.

    `speed` divides the waiting times of orders and blocks; the market and the faults keep the clock's time. Stopped
    and started again, it keeps its port and its state. `services` names the twins to load; all of them when absent.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 7,
        speed: float = 1.0,
        services: Collection[str] | None = None,
    ) -> None:
        self.host, self.port, self.speed = host, port, speed
        self.truth = TruthBook(time.time)
        self.market = SeededMarket(seed, time.time)
        self.faults = FaultBook(seed)
        self.chain = EvmChain(self.truth, time.time, speed=speed, seed=seed)
        self.etc = EvmChain(self.truth, time.time, ETC, speed=speed, seed=seed)
        self.utxo = UtxoChains(lambda coin: UtxoChain(coin, self.truth, time.time, speed=speed, seed=seed))
        self.callbacks = Callbacks(self.faults)
        self.problems: list[str] = []
        """Tracebacks of twins that failed by themselves: a fault of the sandbox, never one that was asked for."""
        self._lock = threading.RLock()
        self._verdicts: dict[str, Verdict] = {}
        self.twins = build_twins(self._world(), services)
        self.mounts: Mapping[str, Mount] = {
            **{service_id: TwinMount(twin) for service_id, twin in self.twins.items()},
            **{chain.network.service_id: ChainMount(chain) for chain in (self.chain, self.etc)},
            **{ticker.lower(): UtxoMount(self.utxo, ticker) for ticker in self.utxo},
        }
        self._control = Control(self.truth, self.market, self.faults, self.mounts, self.problems)
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._threads: list[threading.Thread] = []

    def _world(self) -> World:
        return World(
            market=self.market,
            truth=self.truth,
            chain=self.chain,
            now=time.time,
            speed=self.speed,
            wrong_rate=self._rate_factor,
            wrong_amount=self._amount_factor,
            utxo=self.utxo,
            accounts={"ETC": self.etc},
            callback=self.callbacks.post,
        )

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> Self:
        """Listen and serve; returns at once."""
        if self._listener:
            return self
        self._stopping = threading.Event()
        self._listener = socket.create_server((self.host, self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)
        self._spawn(self._tick)
        self.callbacks.start()
        return self

    def stop(self) -> None:
        """Cut every connection and wait until no thread is left."""
        if not self._listener:
            return
        self._stopping.set()
        with suppress(OSError):  # wakes the thread that accepts
            socket.create_connection((self.host, self.port), timeout=1).close()
        for connection in list(self._connections):
            connection.interrupt()
        while self._threads:
            self._threads.pop().join()
        self.callbacks.stop()
        self._listener.close()
        self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=f"sandbox-{target.__name__}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _forget_finished(self) -> None:
        for thread in list(self._threads):
            if not thread.is_alive():
                with suppress(ValueError):  # `stop` took it meanwhile
                    self._threads.remove(thread)

    def _tick(self) -> None:
        pause = min(0.1, max(0.01, 0.1 / self.speed))
        while not self._stopping.wait(pause):
            with self._lock:
                self.market.advance()
                for mount in self.mounts.values():
                    try:
                        mount.tick()
                    except Exception:  # noqa: BLE001 - one broken twin must not stop the others' time
                        self._note_problem()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _peer = listener.accept()
            except OSError:  # aborted by the client, or too many open files: the next one may do better
                self._stopping.wait(0.01)
                continue
            if self._stopping.is_set():
                sock.close()
                return
            self._forget_finished()
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, self._stopping)
        self._connections.add(connection)
        try:
            while not self._stopping.is_set() and (incoming := connection.read()):
                if not self._answer(connection, incoming) or not incoming.keeps_alive:
                    break
        except BadRequest as error:
            with suppress(OSError):
                connection.send(Response(400, {"error": str(error)}, {"Connection": "close"}))
        except OSError:  # the client left: no news
            pass
        finally:
            connection.close()
            self._connections.discard(connection)

    def _answer(self, connection: Connection, incoming: Incoming) -> bool:
        """Answer one request; false when the connection is over."""
        path, _, raw_query = incoming.target.partition("?")
        service_id, _, rest = unquote(path).lstrip("/").partition("/")
        query = parse_qs(raw_query, keep_blank_values=True)
        request = Request(incoming.method, f"/{rest}", raw_query, query, incoming.headers, incoming.body)
        if service_id == "_sandbox":
            with self._lock:
                response = self._control.handle(request)
            connection.send(response)
            return True
        mount = self.mounts.get(service_id)
        if mount is None:
            connection.send(Response(404, {"error": f"no service {service_id!r}; here are: {', '.join(self.mounts)}"}))
            return True
        return self._play(connection, service_id, mount, request)

    def _play(self, connection: Connection, service_id: str, mount: Mount, request: Request) -> bool:
        """Let a service answer, with whatever faults strike this request."""
        route = mount.find(request)
        operation, executes = (route.operation, route.executes) if route else ("", False)
        verdict = self.faults.strike(service_id, operation, executes=executes)
        if verdict.delay:
            self._stopping.wait(verdict.delay)
        if verdict.kind in BEFORE:
            refuse = partial(mount.refuse, operation, request)
            return self._misbehave(connection, verdict, lambda: self._execute(service_id, verdict, refuse)[0])
        response, executed = self._execute(service_id, verdict, partial(mount.handle, request))
        if verdict.kind in AFTER and executes and not executed:
            self.faults.spare(service_id, verdict)  # it was refused: there is nothing after which to strike
        elif verdict.kind in AFTER:
            return self._misbehave(connection, verdict, lambda: response)
        connection.send(response)
        return True

    def _execute(self, service_id: str, verdict: Verdict, act: Callable[[], Response]) -> tuple[Response, bool]:
        """Let the outside world act; only here is its lock held, and never while a connection waits. Also whether the
        service executed anything."""
        with self._lock:
            self._verdicts[service_id] = verdict
            before = self.truth.executed_by(service_id)
            try:
                return act(), self.truth.executed_by(service_id) > before
            except Exception:  # noqa: BLE001 - shown in /_sandbox/health, answered like a service that broke
                self._note_problem()
                return Response(500, {"error": "the twin failed; see /_sandbox/health"}), True
            finally:
                del self._verdicts[service_id]

    def _misbehave(self, connection: Connection, verdict: Verdict, honest: Callable[[], Response]) -> bool:
        """Act out a fault of the connection; `honest` gives the answer that the service itself would send."""
        kind = verdict.kind.removesuffix("_before_execute").removesuffix("_after_execute")
        if kind in ("down", "reset"):
            connection.reset()
            return False
        if kind in ("timeout", "hang"):
            connection.hold(HOLD)
            return False
        if kind in ("drip", "drip_headers"):
            connection.drip(honest(), DRIP_PAUSE, headers=kind == "drip_headers")
            return True
        if kind == "half_body":
            connection.send_half(honest())
            return False
        connection.send(honest() if kind == "refuse" else _page(kind, verdict))
        return True

    def _rate_factor(self, service_id: str) -> Decimal:
        verdict = self._verdicts.get(service_id)
        return verdict.rate_factor if verdict else Decimal(1)

    def _amount_factor(self, service_id: str) -> Decimal:
        verdict = self._verdicts.get(service_id)
        return verdict.amount_factor if verdict else Decimal(1)

    def _note_problem(self) -> None:
        self.problems.append(traceback.format_exc())
        del self.problems[:-MAX_PROBLEMS]


def _page(kind: str, verdict: Verdict) -> Response:
    """What stands between a client and a service likes to answer: pages in HTML."""
    status, title = {"5xx": (502, "Bad Gateway"), "429": (429, "Too Many Requests")}.get(kind, (200, "Welcome"))
    headers = dict(HTML)
    if status == 429 and verdict.fault:
        headers["Retry-After"] = str(verdict.fault.retry_after_s)
    return Response(status, f"<html><head><title>{title}</title></head><body>{title}</body></html>".encode(), headers)
