"""Traces by OpenTelemetry: one from an HTTP request over the tasks that it leads to, to the calls that leave.

Off unless the extra `otel` is installed and an endpoint is named (`OTEL_EXPORTER_OTLP_ENDPOINT`). A span holds names,
ids of ours, hosts and statuses. It never holds a path, a query, a header, an error's text or an argument, so the spans
are made here and not by instrumentation of libraries: that of `requests` does not see our transport, which goes past
the session, and would send its header to the services; that of Celery leaves the span of a task sent by its name open.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from converter.transport.watching import watch_calls

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

_LAST_MOMENT = 2.0
"""Seconds that spans which are not sent yet have when the process ends."""

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Kind = Literal["server", "client", "consumer"]


class Span:
    """Around something that is traced. What goes wrong in it is told by its name alone, and passes unchanged."""

    def __init__(self, name: str, kind: Kind, attributes: Mapping[str, Any], carrier: Mapping[str, str] | None) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415  an extra

        self._opened = _Process.tracer.start_as_current_span(  # type: ignore[union-attr]
            name,
            context=_Process.propagator.extract(carrier) if carrier else None,
            kind=SpanKind[kind.upper()],
            attributes=dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        )

    def __enter__(self) -> Self:
        self._span = self._opened.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        self._opened.__exit__(kind, error, trace)

    def note(self, name: str, value: str | int) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        """It went wrong, in this way."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  an extra

        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


class _Nothing:
    """A span while nothing is traced."""

    def note(self, name: str, value: str | int) -> None:
        """Nothing."""

    def rename(self, name: str) -> None:
        """Nothing."""

    def fail(self, kind: str) -> None:
        """Nothing."""


class _Process:
    tracer: Tracer | None = None
    propagator: Any = None


def start(environ: Mapping[str, str], process: str, exporter: SpanExporter | None = None) -> bool:
    """Trace this process from now on, if an endpoint is named (or an exporter is given); says whether it does."""
    if exporter is None and not any(environ.get(name) for name in ENDPOINTS):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415
    except ImportError:
        log.warning("nothing is traced: an endpoint is named, but the extra `otel` is not installed")
        return False
    name = environ.get("OTEL_SERVICE_NAME") or f"converter-{process}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    atexit.register(_end, provider)
    _Process.propagator = TraceContextTextMapPropagator()
    _Process.tracer = provider.get_tracer("converter")
    watch_calls(_outgoing)
    return True


def _end(provider: TracerProvider) -> None:
    """Send what is left. By itself it would try for half a minute where nobody listens, and a stop would be a kill."""
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(_LAST_MOMENT)


def span(
    name: str, kind: Kind, attributes: Mapping[str, Any], carrier: Mapping[str, str] | None = None
) -> AbstractContextManager[Span | _Nothing]:
    """A span under the present one, or under the one that `carrier` brought along (its `traceparent`)."""
    return nullcontext(_Nothing()) if _Process.tracer is None else Span(name, kind, attributes, carrier)


def carry(headers: MutableMapping[str, Any]) -> None:
    """Let a message carry the present span along."""
    if _Process.tracer is not None:
        _Process.propagator.inject(headers)


class _outgoing:  # noqa: N801  a watch of the transport
    """The span of a call that leaves."""

    def __init__(self, method: str, host: str) -> None:
        name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdecimal() else (host, "", "")
        attributes: dict[str, Any] = {"http.request.method": method, "server.address": name}
        if port:
            attributes["server.port"] = int(port)
        self._span = span(method, "client", attributes)

    def __enter__(self) -> Any:
        self._entered = self._span.__enter__()
        return self._tell

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._span.__exit__(kind, error, trace)

    def _tell(self, status: int) -> None:
        self._entered.note("http.response.status_code", status)
        if status >= 400:
            self._entered.fail(str(status))
