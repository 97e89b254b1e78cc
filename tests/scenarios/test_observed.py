"""A running system that is watched: its metrics agree with its ledger, its logs tell no secret, one trace leads from a
request over the tasks to the calls that leave."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from converter.domain.conversions import State
from converter.domain.money import plain
from converter.local.sandbox_config import sandbox_environment
from converter.local.stack import Stack, StackOptions

from .world import SERVICES, World, until

AMOUNT = "0.7319"
TOKEN = "a-token-that-nobody-may-read"


@dataclass(frozen=True)
class Span:
    process: str
    name: str
    trace: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What an OTLP collector was sent."""

    url: str
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Span]:
        return [span for body in list(self.bodies) for span in _spans(body)]

    def traces(self, name: str) -> set[str]:
        return {span.trace for span in self.spans() if span.name == name}


def _spans(body: bytes) -> Iterator[Span]:
    for process in ExportTraceServiceRequest.FromString(body).resource_spans:
        name = next(one.value.string_value for one in process.resource.attributes if one.key == "service.name")
        for scope in process.scope_spans:
            for span in scope.spans:
                values = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
                yield Span(name, span.name, span.trace_id.hex(), values)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[World]:
    """Three conversions over HTTP, one of which loses the answer to its order and goes through a reconciliation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONVERTER_", "OTEL_"))}
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    options = StackOptions(sandbox_speed=5.0, services=SERVICES, api_port=0)
    environ = {**kept, **more, "CONVERTER_KEY_API_TOKEN": TOKEN}
    stack = Stack(tmp_path_factory.mktemp("observed"), environ, sandbox=True, options=options)
    stack.start()
    running = World(stack)
    try:
        running.fault("btcpay_lightning", "reset_after_execute", operations=["order"], count=1)
        for number in range(3):
            asked(running, number)
        until(lambda: finished(running) == 3, 60, lambda: f"all end: {finished(running)}")
        yield running
    finally:
        running.close()
        stack.stop()


def asked(world: World, number: int) -> str:
    """Ask for a conversion over HTTP; its id."""
    body = {"fromCoin": "ETH", "toCoin": "BTC", "amount": AMOUNT, "address": world.address()}
    headers = {"Idempotency-Key": f"observed-{number}", "Authorization": f"Bearer {TOKEN}"}
    headers["X-Request-Id"] = f"request-{number}"
    answer = requests.post(f"{world.stack.api_url}/api/v1/conversions", json=body, headers=headers, timeout=10)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def finished(world: World) -> int:
    return int(world.converter.get_stats()["states"][State.COMPLETED])


def metrics(world: World) -> Callable[..., float]:
    """The sum of a metric over all series with these labels."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    text = requests.get(f"{world.stack.api_url}/metrics", headers=headers, timeout=10).text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())

    return total


def lines(world: World, process: str) -> list[dict[str, Any]]:
    """What a process said; what Python itself says before its logs are set up is no object."""
    text = (world.stack.home / "logs" / f"{process}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def server_log(world: World) -> str:
    return world.stack._api.name if world.stack._api is not None else ""


def test_the_metrics_agree_with_the_ledger(world: World) -> None:
    total = metrics(world)
    attempts = [one for each in all_conversions(world) for one in world.attempts(each.id)]
    operations = [operation for attempt in attempts for operation in world.operations(attempt)]
    assert total("converter_events_total", event="conversion:accepted") == 3
    assert total("converter_events_total", event="conversion:completed") == 3
    assert total("converter_slippage_ratio_count") == 3
    assert total("converter_operations_total") == sum(one.sends for one in operations)
    assert total("converter_operations_total", outcome="unknown") == 1
    assert total("converter_tasks_total", task="conversions.start", state="success") >= 3
    assert total("converter_http_requests_total", method="POST", route="/api/v1/conversions", status="201") == 3
    assert total("converter_quotes_total", outcome="ok") > 0
    assert total("converter_sweep_age_seconds") < 30
    assert {one for one in SERVICES if total("converter_service_check_age_seconds", service=one) < 60} == set(SERVICES)


def all_conversions(world: World) -> list[Any]:
    with world._ledger.begin() as work:
        return work.conversions.page(limit=100)


def test_no_log_tells_a_key_an_address_or_an_amount(world: World) -> None:
    logs = {file.name: file.read_text() for file in (world.stack.home / "logs").iterdir()}
    assert len(logs["worker.log"]) > 5000
    assert world.stack.redis is not None
    secrets = {*sandbox_environment().values(), TOKEN, world.stack.redis.url.split("@")[0].rpartition(":")[2]}
    for conversion in all_conversions(world):
        secrets |= {conversion.request.address, AMOUNT, plain(conversion.promised), plain(conversion.delivered)}
        for attempt in world.attempts(conversion.id):
            secrets |= {plain(attempt.minimum_net), attempt.deposit_address}
        with world._ledger.begin() as work:
            offers = [row.quote for row in work.quotes.of_round(conversion.id, 1) if row.quote is not None]
        secrets |= {plain(amount) for offer in offers for amount in (offer.net, offer.gross)}
    told = {(name, secret) for name, text in logs.items() for secret in secrets if len(secret) > 4 and secret in text}
    assert told == set()


def test_every_line_says_when_who_and_about_what(world: World) -> None:
    for process in ("worker", "beat", server_log(world)):
        for line in lines(world, process):
            assert {"time", "level", "event", "logger", "process"} <= set(line), line
    worker, server = lines(world, "worker"), lines(world, server_log(world))
    assert {line["process"].partition("@")[0] for line in worker} == {"worker"}
    ids = {one.id for one in all_conversions(world)}
    assert {line["conversionId"] for line in worker if line.get("task") == "conversions.execute"} == ids
    assert {"request-0", "request-1", "request-2"} <= {str(line.get("requestId")) for line in server}
    assert [line for line in worker if line["level"] in ("error", "critical")] == []


def test_one_trace_leads_from_the_request_over_the_tasks_to_the_calls(world: World, collector: Collector) -> None:
    wanted = ("POST /api/v1/conversions", "task conversions.start", "task rates.query", "task conversions.execute")

    def joined() -> set[str]:
        return set.intersection(*(collector.traces(name) for name in wanted))

    assert len(until(joined, 15, lambda: str(sorted({one.name for one in collector.spans()})))) >= 1
    spans = [span for span in collector.spans() if span.trace in joined()]
    of_one = [span for span in spans if span.trace == spans[0].trace]
    calls = [span for span in of_one if span.name in ("GET", "POST")]
    assert {span.process for span in of_one} == {"converter-api", "converter-worker"}
    assert calls
    assert {span.attributes["server.address"] for span in calls} == {"127.0.0.1"}
    assert {str(span.attributes.get("converter.conversion.id", "")) for span in of_one} & {
        one.id for one in all_conversions(world)
    }


def test_no_trace_tells_a_key_an_address_or_an_amount(world: World, collector: Collector) -> None:
    secrets = {*sandbox_environment().values(), TOKEN, AMOUNT}
    secrets |= {one.request.address for one in all_conversions(world)}
    body = b"".join(collector.bodies)
    assert len(body) > 1000
    assert [secret for secret in secrets if len(secret) > 4 and secret.encode() in body] == []
    known = {"http.request.method", "http.route", "http.response.status_code", "server.address", "server.port"}
    known |= {"celery.task_name", "messaging.message.id", "error.type"}
    known |= {"converter.conversion.id", "converter.service.id"}
    assert {name for span in collector.spans() for name in span.attributes} <= known


@pytest.mark.chaos
def test_a_worker_that_is_killed_leaves_no_dent_in_the_counters(world: World) -> None:
    before = metrics(world)("converter_events_total", event="conversion:completed")
    world.stack.workers[0].kill()
    assert world.stack.watch() == ["worker died and was started again"]
    assert metrics(world)("converter_events_total", event="conversion:completed") == before
    assert metrics(world)("converter_tasks_running") == 0
    asked(world, 4)
    until(lambda: finished(world) == 4, 60, "it ends")
    until(lambda: metrics(world)("converter_events_total", event="conversion:completed") == before + 1, 10, "counted")
