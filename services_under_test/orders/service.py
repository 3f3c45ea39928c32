"""The orders service: its HTTP interface, and how its parts are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from protos import inventory_pb2_grpc, order_pb2_grpc
from services_under_test.common import rpc
from services_under_test.common.background import load
from services_under_test.common.breaker import Breaker
from services_under_test.common.http_app import Refused, Rows, idempotency_key, json_object, text_field, whole_field
from services_under_test.common.http_client import HttpClient
from services_under_test.common.idempotency import Keys
from services_under_test.common.outbox import Outbox
from services_under_test.common.runner import Built, Host
from services_under_test.orders.book import Book, Item
from services_under_test.orders.desk import CHANNEL, Answer, Desk, Draft
from services_under_test.orders.partners import Inventory, Payments
from services_under_test.orders.servicer import Orders
from services_under_test.orders.settings import Settings

TOPIC = "orders"


class _Api:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, request: Request) -> JSONResponse:
        """POST /api/orders: 201 confirmed; 402, 409 it never will be; 503 not now, or not known yet."""
        payload = await json_object(request)
        user_id = text_field(payload, "userId")
        draft = Draft(
            user_id=user_id,
            items=_items(payload),
            marker=text_field(payload, "marker", default=""),
            scope=f"POST /api/orders {user_id}",
            key=idempotency_key(request),
        )
        return _response(await self._desk.place(draft))

    async def of_user(self, request: Request) -> JSONResponse:
        """GET /api/orders/user/{userId}: the user's orders."""
        return JSONResponse({"data": [order.view() for order in self._desk.orders_of(request.path_params["user_id"])]})

    async def show(self, request: Request) -> JSONResponse:
        """GET /api/orders/{id}: one order."""
        order = self._desk.find(request.path_params["order_id"])
        if order is None:
            raise Refused(404, "not_found", "there is no such order")
        return JSONResponse({"data": order.view()})


def _items(payload: Mapping[str, Any]) -> tuple[Item, ...]:
    raw = payload.get("items")
    if not isinstance(raw, list) or not raw or not all(isinstance(item, dict) for item in raw):
        raise Refused(400, "bad_request", f"items: expected a list with at least one object, got {raw!r:.100}")
    items = tuple(
        Item(
            product_id=text_field(item, "productId"),
            quantity=whole_field(item, "quantity", least=1),
            price_minor=whole_field(item, "price_minor", least=0),
        )
        for item in raw
    )
    if not any(item.price_minor for item in items):
        raise Refused(400, "bad_request", "items: an order must cost something")
    return items


def _response(answer: Answer) -> JSONResponse:
    headers = {"idempotency-replayed": "true"} if answer.replayed else {}
    if answer.retry_after_s is not None:
        headers["retry-after"] = str(answer.retry_after_s)
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=headers)


def build(host: Host) -> Built:
    """Put the orders service together."""
    settings = Settings.from_env(host.env)
    kafka = host.env.text("KAFKA_BOOTSTRAP")
    client = HttpClient(host.env.required("PAYMENTS_URL"), strategies=host.strategies, telemetry=host.telemetry)
    breaker = _breaker(host, settings)
    channel = rpc.channel(
        host.env.required("INVENTORY_TARGET"), telemetry=host.telemetry, reconnect_ms=settings.reconnect_ms
    )
    stub = inventory_pb2_grpc.InventoryServiceStub(channel)  # type: ignore[no-untyped-call]
    book, outbox = Book(host.store), Outbox(host.store, host.telemetry)
    desk = Desk(
        host,
        settings,
        book=book,
        keys=Keys(host.store),
        outbox=outbox,
        payments=Payments(host, client, settings.payments, breaker),
        inventory=Inventory(host, stub, settings.inventory),
        publishes=bool(kafka),
    )
    api = _Api(desk)

    def effects() -> Rows:
        return [*book.effects(), *outbox.effects()]

    async def start() -> None:
        if kafka:
            _publish_to(kafka, host, outbox)
        host.background.start("resume", desk.resume)

    async def stop() -> None:
        await client.close()
        await channel.close(None)

    return Built(
        routes=[
            Route("/api/orders", api.create, methods=["POST"]),
            Route("/api/orders/user/{user_id}", api.of_user),
            Route("/api/orders/{order_id}", api.show),
        ],
        effects=effects,
        rpc=lambda server: order_pb2_grpc.add_OrderServiceServicer_to_server(Orders(desk), server),  # type: ignore[no-untyped-call]
        start=start,
        stop=stop,
    )


def _breaker(host: Host, settings: Settings) -> Breaker:
    return host.strategies.breaker(
        failures=settings.breaker_failures,
        wait_s=settings.breaker_wait_s,
        successes=settings.breaker_successes,
        clock=host.clock,
    )


def _publish_to(bootstrap: str, host: Host, outbox: Outbox) -> None:
    async def relay() -> None:
        kafka = await load("services_under_test.common.kafka")
        host.telemetry.broker("aiokafka")
        async with kafka.Publisher(bootstrap, TOPIC, host.strategies) as publisher:
            await outbox.relay(CHANNEL, publisher.publish)

    host.background.keep("kafka relay", relay)
