"""`GET /metrics`: what all processes counted and how the system stands, in Prometheus' text formats."""

from __future__ import annotations

from collections.abc import Iterator

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from converter.api.gauges import Gauges, Sources
from converter.api.sources import Broker, Source
from converter.bootstrap import Engine
from converter.delivering import ALERT, WEBHOOK
from converter.enqueue import PULSE_KEY, QUEUES
from converter.observability.counting import Counting


def metrics_routes(engine: Engine, counting: Counting) -> APIRouter:
    """The route of the scraper."""
    router, limiter = APIRouter(), CapacityLimiter(1)
    broker = Broker(engine.settings.redis_url, QUEUES, PULSE_KEY)
    gauging, away = engine.ledger.gauging(), (SQLAlchemyError, OSError)
    sources = Sources(
        ledger=Source(gauging.figures, away),
        ended=Source(gauging.ended, away, kept=60.0, stale=600.0),
        broker=Source(broker.look, (RedisError, OSError, ValueError)),  # ValueError: no URL of Redis is configured
    )
    settings = engine.settings
    receivers = [WEBHOOK + one.id for one in settings.webhooks] + [ALERT + one.id for one in settings.alerts.sinks]
    gauges = Gauges(engine.desk.policy, engine.commons.breakers, sources, receivers)

    def scraped(accept: str) -> Response:
        encode, media_type = choose_encoder(accept)
        return Response(encode(_All(counting, gauges)), media_type=media_type)

    @router.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        """Tell the metrics."""
        return await to_thread.run_sync(scraped, request.headers.get("accept", ""), limiter=limiter)

    return router


class _All(Collector):
    """Counters of all processes, then how the system stands."""

    def __init__(self, counting: Counting, gauges: Gauges) -> None:
        self._counting = counting
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Everything."""
        yield from self._counting.registry().collect()
        yield from self._gauges.collect()
