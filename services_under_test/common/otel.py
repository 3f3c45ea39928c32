"""OpenTelemetry: export in batches over OTLP/gRPC, and the instrumentations, with their traps handled."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services_under_test.common import correlation
from services_under_test.common.telemetry import Kind, Mark, Telemetry

if TYPE_CHECKING:
    import httpx

_SHUT_DOWN_S = 2.0
_KINDS = {"internal": trace.SpanKind.INTERNAL, "consumer": trace.SpanKind.CONSUMER, "producer": trace.SpanKind.PRODUCER}


class _LateExporter(SpanExporter):
    """Imports and connects in the exporting thread.

    The OTLP exporter takes longer to load than the rest of a service.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: SpanExporter | None = None

    def made(self) -> SpanExporter:
        """Give the real exporter."""
        with self._lock:
            if self._made is None:
                from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

                self._made = OTLPSpanExporter()
            return self._made

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch."""
        return self.made().export(spans)

    def shutdown(self) -> None:
        """Close the real exporter, if it was ever needed."""
        if self._made is not None:
            self._made.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing is held here."""
        return True


class _CauseProcessor(SpanProcessor):
    """Writes the correlation id and the baggage of the cause on every span."""

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        """Add the attributes."""
        if correlation_id := correlation.current():
            span.set_attribute("correlation_id", correlation_id)
        for name, value in baggage.get_all(parent_context).items():
            span.set_attribute(name, str(value))


class _SpanMark(Mark):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: str | int) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)

    def failed(self, reason: str) -> None:
        """Set the status to ERROR."""
        self._span.set_status(trace.StatusCode.ERROR, reason)


class OpenTelemetry(Telemetry):
    """Tracing to the OTLP endpoint that the standard environment variables name."""

    def __init__(self, service: str) -> None:
        resource = Resource({"service.name": service, "process.pid": os.getpid()}).merge(
            OTELResourceDetector().detect()
        )
        self._exporter = _LateExporter()
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(_CauseProcessor())
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))
        trace.set_tracer_provider(self._provider)
        self._tracer = trace.get_tracer("services_under_test")

    def carrier(self) -> dict[str, str]:
        """Give the current context as headers."""
        found: dict[str, str] = {}
        propagate.inject(found)
        return found

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        carrier: Mapping[str, str] | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Iterator[Mark]:
        """Cover a block; a carrier's context becomes parent and link: both ways of reading a message's trace work."""
        parent = propagate.extract(dict(carrier)) if carrier else context.get_current()
        cause = trace.get_current_span(parent).get_span_context()
        links = [trace.Link(cause)] if carrier and cause.is_valid else []
        token = context.attach(parent)
        try:
            with self._tracer.start_as_current_span(
                name, kind=_KINDS[kind], links=links, attributes=attributes
            ) as span:
                yield _SpanMark(span)
        finally:
            context.detach(token)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Suppress the instrumentations' spans."""
        from opentelemetry.instrumentation.utils import suppress_instrumentation  # noqa: PLC0415

        with suppress_instrumentation():
            yield

    def wrap_app(self, app: Any, route_of: Callable[[Mapping[str, Any]], str]) -> Any:
        """Add server spans, without the two that the middleware makes of every send and receive."""
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415
        from opentelemetry.util.http import ExcludeList  # noqa: PLC0415

        def details(scope: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
            route = route_of(scope)
            method = str(scope.get("method", "HTTP"))
            return (f"{method} {route}", {"http.route": route}) if route else (method, {})

        return OpenTelemetryMiddleware(
            app,
            excluded_urls=ExcludeList(["/health", "/effects"]),
            default_span_details=details,
            exclude_spans=["receive", "send"],
        )

    def http_client(self, client: httpx.AsyncClient, attempt: Callable[[], int]) -> None:
        """Add client spans, one an attempt, with ``http.request.resend_count`` on those after the first."""
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor  # noqa: PLC0415

        async def count(span: trace.Span, _: object) -> None:
            if number := attempt():
                span.set_attribute("http.request.resend_count", number)

        HTTPXClientInstrumentor.instrument_client(client, request_hook=count)

    def rpc_client(self) -> Sequence[Any]:
        """Give the instrumentation's interceptors."""
        from opentelemetry.instrumentation.grpc import aio_client_interceptors  # noqa: PLC0415

        return list(aio_client_interceptors())  # type: ignore[no-untyped-call]

    def rpc_server(self) -> Sequence[Any]:
        """Give the instrumentation's interceptor."""
        from opentelemetry.instrumentation.grpc import aio_server_interceptor  # noqa: PLC0415

        return [aio_server_interceptor()]  # type: ignore[no-untyped-call]

    def broker(self, library: Literal["aio_pika", "aiokafka", "redis"]) -> None:
        """Instrument a client library; called before its first use."""
        if library == "aio_pika":
            from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor  # noqa: PLC0415

            AioPikaInstrumentor().instrument()
        elif library == "aiokafka":
            from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor  # noqa: PLC0415

            AIOKafkaInstrumentor().instrument()
        else:
            from opentelemetry.instrumentation.redis import RedisInstrumentor  # noqa: PLC0415

            RedisInstrumentor().instrument()

    def warm_up(self) -> None:
        """Load the exporter."""
        self._exporter.made()

    def shut_down(self) -> None:
        """Flush and close, in a thread that is left behind when the receiver does not answer.

        Flushing keeps no time limit.
        """
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_SHUT_DOWN_S)
