"""`GET /healthz` and `GET /readyz`: this process answers; everything that a conversion needs is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy.exc import SQLAlchemyError

from converter.api.shapes import Alive, Readiness
from converter.enqueue import PULSE_KEY
from converter.ports import Ledger

OK = "ok"
BROKER_WITHIN = 0.5
ANSWER_WITHIN = 2.0
"""Seconds in which the answer is there, whatever hangs."""
PULSE_WITHIN = 15.0
"""Seconds since a worker ran a sweep, which comes every 2 s."""


class _Probe:
    """One question that may hang. It is asked once at a time; who comes meanwhile waits for the same answer."""

    def __init__(self, ask: Callable[[], tuple[str, ...]], otherwise: tuple[str, ...]) -> None:
        self._ask = ask
        self._otherwise = otherwise
        self._thread = CapacityLimiter(1)
        self._asking: asyncio.Task[tuple[str, ...]] | None = None

    async def answer(self) -> tuple[str, ...]:
        """What is said within the time, else `otherwise`."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(to_thread.run_sync(self._ask, limiter=self._thread))
        done, _ = await asyncio.wait({self._asking}, timeout=ANSWER_WITHIN)
        return self._asking.result() if done else self._otherwise


def readiness_routes(ledger: Ledger, redis_url: str) -> APIRouter:
    """The routes; whoever watches the process asks here, so nobody has to show who he is."""
    router = APIRouter(tags=["health"])
    silent = f"did not answer within {ANSWER_WITHIN:.0f} s"
    probes = _Probe(lambda: (_ledger(ledger),), (silent,)), _Probe(lambda: _broker(redis_url), (silent, silent))

    @router.get("/healthz", operation_id="health", response_model=Alive)
    async def healthz() -> dict[str, str]:
        """Say that this process answers; the state of the system is `GET /readyz`."""
        return {"status": OK}

    @router.get(
        "/readyz",
        operation_id="readiness",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Something is missing; what, stands beside it."}},
    )
    async def readyz() -> JSONResponse:
        """Say whether the ledger and the broker answer and a worker was seen a moment ago."""
        (kept,), (broker, workers) = await asyncio.gather(*(probe.answer() for probe in probes))
        ready = kept == broker == workers == OK
        facts = {"ready": ready, "ledger": kept, "broker": broker, "workers": workers}
        return JSONResponse(facts, 200 if ready else 503)

    return router


def _ledger(ledger: Ledger) -> str:
    try:
        with ledger.begin() as work:
            work.outbox.last()
    except SQLAlchemyError as error:
        return f"did not answer ({type(error).__name__})"
    return OK


def _broker(redis_url: str) -> tuple[str, str]:
    """The broker's state, and the workers' by the pulse that they leave there."""
    unseen = "not seen: the broker does not answer"
    if not redis_url:
        return "none is configured", unseen
    within = {"socket_timeout": BROKER_WITHIN, "socket_connect_timeout": BROKER_WITHIN}
    try:
        with Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0), **within) as client:
            client.ping()
            pulse = client.get(PULSE_KEY)
    except (RedisError, OSError, ValueError) as error:
        return f"did not answer ({type(error).__name__})", unseen
    return OK, _workers(pulse)


def _workers(pulse: object) -> str:
    if not isinstance(pulse, bytes) or not pulse.isdigit():
        return "not seen: no worker has run a sweep"
    age = time.time() - int(pulse) / 1000
    return OK if age <= PULSE_WITHIN else f"not seen for {age:.0f} s"
