"""The laws of orders: one order for one key, a saga that ends in balance whatever is lost, held, refused or killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import httpx
import pytest

from protos import inventory_pb2, inventory_pb2_grpc, order_pb2, order_pb2_grpc
from tests.shop.conftest import Shop
from tests.shop.kit import Service, Stub, eventually


def test_a_key_is_one_order_with_one_answer(shop: Shop) -> None:
    run = shop
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: run.order(key="k1"), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert run.order(key="k1").text == answers[0].text
    assert run.order(key="k1", quantity=3).status_code == 422
    assert len(run.new_orders()) == 1
    assert run.acquirer.new_effects() == 1
    assert run.balanced()


def test_correlation_id_reaches_the_last_hop_and_every_answer(shop: Shop) -> None:
    run = shop
    items = [{"productId": "book", "quantity": 1, "price_minor": 500}]
    answer = run.orders.post("/api/orders", {"userId": "u1", "items": items}, **{"x-correlation-id": "c-42"})
    assert answer.headers["x-correlation-id"] == "c-42"
    assert [request.headers["x-correlation-id"] for request in run.acquirer.requests] == ["c-42"]
    bad = run.orders.post("/api/orders", {"userId": ""}, **{"x-correlation-id": "c-43"})
    assert (bad.status_code, bad.headers["x-correlation-id"]) == (400, "c-43")
    long = httpx.get(f"{run.orders.url}/nowhere", headers={"x-correlation-id": "x" * 129})
    assert long.status_code == 404
    assert long.headers["x-correlation-id"] not in ("", "x" * 129)


def test_grpc_places_the_same_order_once(shop: Shop) -> None:
    run = shop
    with grpc.insecure_channel(run.orders.target) as channel:
        stub = order_pb2_grpc.OrderServiceStub(channel)
        items = [order_pb2.OrderItem(product_id="book", quantity=1, price_minor=500)]
        request = order_pb2.CreateOrderRequest(user_id="u2", items=items, idempotency_key="g1", marker="m1")
        first, call = stub.CreateOrder.with_call(request, timeout=5, metadata=[("x-correlation-id", "c-9")])
        again = stub.CreateOrder(request, timeout=5)
        listed = stub.GetUserOrders(order_pb2.GetUserOrdersRequest(user_id="u2"), timeout=5)
        assert ("x-correlation-id", "c-9") in [(key, value) for key, value in call.trailing_metadata()]
        bad = order_pb2.CreateOrderRequest(user_id="")
        with pytest.raises(grpc.RpcError) as refused:
            stub.CreateOrder(bad, timeout=5, metadata=[("x-correlation-id", "c-8")])
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert ("x-correlation-id", "c-8") in [(key, value) for key, value in refused.value.trailing_metadata()]
    assert first == again
    assert (first.order.total_minor, first.order.status) == (500, order_pb2.CONFIRMED)
    assert [order.id for order in listed.orders] == [first.order.id]


def test_a_lost_answer_charges_once(shop: Shop) -> None:
    run = shop
    run.between.lose = lambda request: request.number == 0
    assert run.order().status_code == 201
    first, second = run.between.of("/payments")
    assert (first.key, first.body, first.headers["x-correlation-id"]) == (
        second.key,
        second.body,
        second.headers["x-correlation-id"],
    )
    assert run.acquirer.new_effects() == 1
    assert run.balanced()


def test_a_payment_that_nobody_knows_of_is_undone(shop: Shop) -> None:
    run = shop
    run.between.lose = lambda request: request.path == "/payments"
    answer = run.order(key="k5")
    assert answer.status_code in (409, 503)
    eventually(run.at_rest)
    assert run.state(answer.json()["data"]["id"]) == "COMPENSATED"
    assert {request.path for request in run.acquirer.requests} == {"/charges", "/refunds"}
    assert run.acquirer.new_effects() == 2
    assert run.balanced()
    assert run.order(key="k5").status_code == 409


def test_a_held_payment_is_answered_in_time_and_undone_later(shop: Shop) -> None:
    run = shop
    release = threading.Event()
    run.between.after = lambda request: release.wait(5) and None if request.path == "/payments" else None
    began_s = time.monotonic()
    answer = run.order(key="k6")
    assert time.monotonic() - began_s < 1.5 + 0.3
    assert answer.status_code == 503
    assert answer.json()["data"]["status"] in ("PENDING", "COMPENSATING")
    starts = [request.at_s - began_s for request in run.between.of("/payments")]
    assert max(starts) <= 1.5
    release.set()
    eventually(run.at_rest)
    assert run.balanced()


def test_a_refund_that_fails_at_first_is_repeated_and_does_not_hold_up_the_release(shop: Shop) -> None:
    run = shop
    refunds = run.between.of
    run.between.lose = lambda request: request.path == "/payments"
    run.between.answer = lambda request: (
        (503, {}) if "refunds" in request.path and len(refunds(request.path)) < 3 else None
    )
    run.order()
    eventually(run.at_rest)
    assert len(run.between.of("/payments/refunds")) == 3
    assert run.balanced()


def test_a_refusal_is_not_repeated(shop: Shop) -> None:
    run = shop
    run.acquirer.answer = lambda _: (402, {"error": "no money"})
    answer = run.order()
    assert (answer.status_code, answer.json()["error"]) == (402, "declined")
    assert len(run.between.of("/payments")) == 1
    assert run.order(product="rare", quantity=2).json()["error"] == "out_of_stock"
    assert run.balanced()


def test_an_open_circuit_rejects_at_once_probes_one_at_a_time_and_closes_after_three(shop: Shop) -> None:
    run = shop
    run.orders.start()  # a circuit that has seen nothing
    run.between.answer = lambda _: (503, {})
    while (answer := run.order()).headers.get("retry-after") is None:
        assert answer.status_code in (409, 503)
    assert len(run.between.requests) == 5
    began_s = time.monotonic()
    rejected = run.order(key="k9")
    assert time.monotonic() - began_s < 0.1
    assert (rejected.status_code, rejected.headers["retry-after"], rejected.json()["detail"]) == (
        503,
        "1",
        "circuit_open",
    )
    run.between.answer = lambda _: None
    eventually(run.at_rest)
    assert run.order(key="k9").status_code == 201
    for _ in range(3):
        assert run.order().status_code == 201
    assert run.balanced()


def test_orders_killed_after_the_payment_was_answered_ends_in_balance(shop: Shop) -> None:
    run = shop

    def kill(request: Any) -> None:
        if request.number == 0:
            run.orders.kill()

    run.between.after = kill
    with suppress(httpx.TransportError):
        run.order(key="k10")
    run.orders.start()
    eventually(run.at_rest)
    assert run.order(key="k10").status_code == 201
    assert len(run.new_orders()) == 1
    assert run.balanced()


class _StubbornInventory(inventory_pb2_grpc.InventoryServiceServicer):
    def __init__(self) -> None:
        self.calls: list[tuple[str, float | None]] = []

    def Reserve(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._reply("reserve", request, context)

    def Release(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._reply("release", request, context)

    def Confirm(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._reply("confirm", request, context)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")

    def _reply(self, name: str, request: Any, context: Any) -> Any:
        self.calls.append((name, context.time_remaining()))
        return inventory_pb2.ReservationReply(order_id=request.order_id)


def test_a_refused_confirm_is_undone_in_reverse_and_the_caller_told(
    service: Callable[..., Service], stub: Callable[..., Stub]
) -> None:
    inventory, payments = _StubbornInventory(), stub()
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        inventory_pb2_grpc.add_InventoryServiceServicer_to_server(inventory, server)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        orders = service("orders", PAYMENTS_URL=payments.url, INVENTORY_TARGET=target).start()
        seen: list[str] = []
        payments.after = lambda request: seen.extend([*(name for name, _ in inventory.calls), request.path])
        items = [{"productId": "book", "quantity": 1, "price_minor": 500}]
        answer = orders.post("/api/orders", {"userId": "u1", "items": items})
        orders.stop()
        server.stop(None)
    assert (answer.status_code, answer.json()["error"]) == (409, "confirm_failed")
    assert answer.json()["data"]["status"] == "COMPENSATED"
    assert [name for name, _ in inventory.calls] == ["reserve", "confirm", "release"]
    assert [request.path for request in payments.requests] == ["/payments", "/payments/refunds"]
    assert seen[-1] == "/payments/refunds"
    assert "release" not in seen
    assert all(left is not None and left <= 0.55 for _, left in inventory.calls)


def test_sigterm_ends_it_with_status_0(shop: Shop) -> None:
    run = shop
    assert run.order().status_code == 201
    assert [one.stop() for one in (run.orders, run.payments, run.inventory)] == [0, 0, 0]
