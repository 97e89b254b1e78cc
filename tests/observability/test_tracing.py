"""A trace holds names, ids of ours, hosts and statuses, goes along with messages, and costs nothing while it is off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from converter.observability import tracing
from converter.ports import Deadline
from converter.transport import watching
from converter.transport.http import AnswerLost, HttpClient, RequestNotSent


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def kept() -> Iterator[Kept]:
    """This process is traced; what was sent is there after `sent`."""
    exporter = Kept()
    assert tracing.start({}, "test", exporter)
    yield exporter
    tracing._Process.tracer = None
    watching.watch_calls(watching._nobody)


def sent(kept: Kept) -> dict[str, ReadableSpan]:
    assert tracing._Process.tracer is not None
    tracing._Process.tracer.span_processor.force_flush()  # type: ignore[attr-defined]
    return {span.name: span for span in kept.spans}


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            assert "traceparent" not in self.headers, "the services are told nothing of it"
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    assert seen


def call(url: str, path: str) -> None:
    client = HttpClient(url)
    headers = {"Api-Key": "very-secret"}
    client.send("GET", path, deadline=Deadline.after(5), params="address=bc1qsecret", headers=headers, body=None)
    client.close()


def test_a_call_that_leaves_is_a_span_below_what_it_is_made_for(kept: Kept, service: str) -> None:
    with tracing.span("task rates.query", "consumer", {"converter.conversion.id": "cv_1"}):
        call(service, "/orders/4711")
    spans = sent(kept)
    task, outgoing = spans["task rates.query"], spans["GET"]
    assert outgoing.parent is not None
    assert outgoing.parent.span_id == task.context.span_id
    assert dict(outgoing.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(service.rpartition(":")[2]),
        "http.response.status_code": 200,
    }


def test_neither_paths_queries_headers_nor_texts_of_errors_are_told(kept: Kept, service: str) -> None:
    call(service, "/missing/4711")
    with suppress(AnswerLost, RequestNotSent):
        call("http://127.0.0.1:1", "/orders/4711")
    with suppress(ValueError), tracing.span("task a", "consumer", {}):
        raise ValueError("bc1qsecret")
    sent(kept)
    told = " ".join(span.to_json() for span in kept.spans)
    for secret in ("4711", "bc1qsecret", "very-secret", "address="):
        assert secret not in told
    assert [span.attributes["error.type"] for span in kept.spans if span.attributes] == [
        "404",
        "ConnectionError",
        "ValueError",
    ]


def test_a_message_carries_its_span_along(kept: Kept) -> None:
    headers: dict[str, Any] = {"id": "a task's"}
    with tracing.span("POST", "server", {}):
        tracing.carry(headers)
    with tracing.span("task b", "consumer", {}, headers):
        pass
    spans = sent(kept)
    assert spans["task b"].context.trace_id == spans["POST"].context.trace_id
    assert spans["task b"].parent is not None
    assert spans["task b"].parent.span_id == spans["POST"].context.span_id


@pytest.mark.parametrize("carried", [None, {}, {"traceparent": ""}, {"traceparent": "nonsense"}])
def test_what_carries_no_span_begins_a_trace(kept: Kept, carried: dict[str, str] | None) -> None:
    with tracing.span("task c", "consumer", {}, carried):
        pass
    assert sent(kept)["task c"].parent is None


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert not tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "test")
    headers: dict[str, Any] = {}
    with tracing.span("task d", "consumer", {}) as span:
        span.note("a", 1)
        tracing.carry(headers)
    assert headers == {}


def test_without_the_extra_an_endpoint_is_a_warning_and_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
    assert not tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "test")
    assert "the extra `otel` is not installed" in caplog.text
