"""The laws of tracing.

One trace from the first hop to the last, through every carrier, and a receiver that is away hurts nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.shop.conftest import NOWHERE
from tests.shop.kit import Service, Stub, eventually, free_port

TRACE = "0af7651916cd43dd8448eb211c80319c"
CAUSE = {
    "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    "baggage": "chaos.correlation_id=c-77",
    "x-correlation-id": "c-77",
}
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Receiver(grpc.GenericRpcHandler):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def service(self, details: Any) -> Any:
        if details.method != _EXPORT:
            return None

        def keep(request: Any, _: Any) -> Any:
            self.requests.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

        return grpc.unary_unary_rpc_method_handler(
            keep,
            request_deserializer=trace_service_pb2.ExportTraceServiceRequest.FromString,
            response_serializer=trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
        )

    def spans(self) -> list[tuple[str, Any]]:
        """List (service, span) of the trace."""
        found = []
        for request in list(self.requests):
            for resource in request.resource_spans:
                name = next(
                    item.value.string_value for item in resource.resource.attributes if item.key == "service.name"
                )
                found += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        return [(name, span) for name, span in found if span.trace_id.hex() == TRACE]


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, dict[str, str]]]:
    """Receive OTLP."""
    handler = Receiver()
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=(handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield handler, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        server.stop(None)


def _attributes(span: Any) -> dict[str, Any]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_one_trace_leads_from_the_first_hop_to_the_last_through_every_carrier(
    service: Callable[..., Service], stub: Callable[..., Stub], receiver: Any, amqp_url: str, redis_url: str, kafka: str
) -> None:
    handler, otel = receiver
    money, mailgate, warehouse = stub(), stub(), stub()
    inventory = service("inventory", **otel).start()
    payments = service("payments", ACQUIRER_URL=money.url, **otel).start()
    orders = service(
        "orders", PAYMENTS_URL=payments.url, INVENTORY_TARGET=inventory.target, KAFKA_BOOTSTRAP=kafka, **otel
    ).start()
    users = service(
        "users", ORDERS_URL=orders.url, NOTIFICATIONS_URL=NOWHERE, AMQP_URL=amqp_url, REDIS_URL=redis_url, **otel
    ).start()
    service("email", AMQP_URL=amqp_url, MAILGATE_URL=mailgate.url, **otel).start()
    service("analytics", KAFKA_BOOTSTRAP=kafka, REDIS_URL=redis_url, WAREHOUSE_URL=warehouse.url, **otel).start()

    created = users.post("/api/users", {"email": "a@example.org", "marker": "t"}, **CAUSE).json()["data"]["id"]
    items = [{"productId": "book", "quantity": 1, "price_minor": 500}]
    assert users.post(f"/api/users/{created}/orders", {"items": items}, **CAUSE).status_code == 201

    def complete() -> list[tuple[str, Any]] | None:
        spans = handler.spans()
        seen = {(name, span.name) for name, span in spans}
        kinds = {(name, span.name, Span.SpanKind.Name(span.kind)) for name, span in spans}
        enough = sum(span.name == "POST" for _, span in spans) >= 7
        return spans if enough and processed_by <= seen and on_the_way <= kinds else None

    processed_by = {
        ("email", "process user.created"),
        ("analytics", "process user.activity"),
        ("analytics", "process orders"),
    }
    on_the_way = {
        ("users", "POST /api/users", "SPAN_KIND_SERVER"),
        ("orders", "POST /api/orders", "SPAN_KIND_SERVER"),
        ("payments", "POST /payments", "SPAN_KIND_SERVER"),
        ("inventory", "/inventory.InventoryService/Reserve", "SPAN_KIND_SERVER"),
        ("orders", "/inventory.InventoryService/Reserve", "SPAN_KIND_CLIENT"),
        ("analytics", "process orders", "SPAN_KIND_CONSUMER"),
    }

    def orphans() -> list[tuple[str, str]]:
        spans = handler.spans()
        ids = {span.span_id for _, span in spans} | {bytes.fromhex("b7ad6b7169203331")}
        return [(name, span.name) for name, span in spans if span.parent_span_id not in ids]

    # Each service exports on its own schedule, a span when it has ended: its children's come before its own.
    eventually(complete, within_s=20)
    eventually(lambda: orphans() == [], within_s=10)
    spans = handler.spans()
    processed = [span for _, span in spans if span.name == "process orders"]
    assert all(span.links and span.links[0].trace_id.hex() == TRACE for span in processed)
    assert {_attributes(span).get("chaos.correlation_id") for _, span in spans} == {"c-77"}
    sent = [*money.requests, *mailgate.requests, *warehouse.requests]
    assert {request.headers["x-correlation-id"] for request in sent} == {"c-77"}


def test_resends_are_numbered(service: Callable[..., Service], stub: Callable[..., Stub], receiver: Any) -> None:
    handler, otel = receiver
    orders = stub()
    orders.answer = lambda request: (503, {}) if request.number < 2 else (200, {"data": []})
    users = service("users", ORDERS_URL=orders.url, NOTIFICATIONS_URL=NOWHERE, **otel).start()
    user_id = users.post("/api/users", {"email": "a@example.org"}).json()["data"]["id"]
    assert users.post(f"/api/users/{user_id}/orders", {"items": []}, **CAUSE).status_code == 200
    users.stop()
    counts = [
        _attributes(span).get("http.request.resend_count")
        for _, span in handler.spans()
        if span.kind == Span.SPAN_KIND_CLIENT
    ]
    assert counts == [None, 1, 2]


def test_a_receiver_that_is_away_slows_nothing(service: Callable[..., Service]) -> None:
    notifications = service(
        "notifications", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}", OTEL_BSP_SCHEDULE_DELAY="20"
    ).start()
    for number in range(20):
        began_s = time.monotonic()
        body = {"userId": "u", "message": f"m{number}"}
        assert notifications.post("/api/notifications", body).status_code == 201
        assert time.monotonic() - began_s < 1.0
    began_s = time.monotonic()
    assert notifications.stop() == 0
    assert time.monotonic() - began_s < 5.0
