"""The law of the planted defects: each does the wrong thing that its file describes, and does it on a real service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

from tests.shop.conftest import NOWHERE, Shop
from tests.shop.kit import Service, eventually

Make = Callable[..., Any]
ITEMS = [{"productId": "book", "quantity": 1, "price_minor": 500}]


def _user(users: Service, marker: str) -> str:
    return str(users.post("/api/users", {"email": "a@example.org", "marker": marker}).json()["data"]["id"])


def test_saga_3_keeps_the_money_of_a_payment_without_an_answer(service: Make, stub: Make) -> None:
    run = Shop(service, stub, SHOP_DEFECTS="SAGA-3")
    run.between.lose = lambda request: request.path == "/payments"
    assert run.order().status_code == 409
    eventually(run.at_rest)
    assert not run.between.of("/payments/refunds")
    assert not run.balanced()


def test_saga_1_gives_up_compensating_and_hides_why(service: Make, stub: Make) -> None:
    run = Shop(service, stub, SHOP_DEFECTS="SAGA-1")
    run.between.lose = lambda request: request.path == "/payments"
    run.between.answer = lambda request: (503, {}) if "refunds" in request.path else None
    assert run.order().status_code == 500
    time.sleep(0.3)
    assert len(run.between.of("/payments/refunds")) == 1
    assert [row["state"] for row in run.orders.rows("orders")] == ["COMPENSATING"]
    assert [row["state"] for row in run.inventory.rows("reservations")] == ["RESERVED"]


def test_corr_1_sends_nothing_on_and_rt_4_tries_after_its_deadline(service: Make, stub: Make) -> None:
    run = Shop(service, stub, SHOP_DEFECTS="CORR-1,RT-4")
    free = threading.Event()
    run.between.after = lambda request: free.wait(3) if request.path == "/payments" else None
    began_s = time.monotonic()
    answer = run.orders.post("/api/orders", {"userId": "u", "items": ITEMS}, **{"x-correlation-id": "c-1"})
    assert answer.headers["x-correlation-id"] == "c-1"
    assert all("x-correlation-id" not in request.headers for request in run.between.requests)
    assert run.between.of("/payments")[-1].at_s - began_s > 1.5
    free.set()


def test_grpc_1_waits_for_inventory_for_ever(service: Make, stub: Make) -> None:
    with _Deaf() as deaf:
        for defect, ended in (("", True), ("GRPC-1", False)):
            orders = service(
                "orders", PAYMENTS_URL=stub().url, INVENTORY_TARGET=deaf.target, SHOP_DEFECTS=defect
            ).start()
            assert orders.post("/api/orders", {"userId": "u", "items": ITEMS}).status_code == 503
            time.sleep(0.3)
            assert (orders.rows("orders")[0]["state"] == "COMPENSATING") is ended
            orders.kill()


def test_rest_2_orders_twice_and_rr_1_knows_no_bounds(service: Make, stub: Make) -> None:
    orders, slow, free = stub(), stub(), threading.Event()
    orders.lose = lambda request: request.number == 0
    slow.after = lambda _: free.wait(5)
    users = service(
        "users", ORDERS_URL=orders.url, NOTIFICATIONS_URL=slow.url, NOTIFY_CONCURRENCY="2", NOTIFY_BACKLOG="1",
        NOTIFY_TIMEOUT_S="0.1", SHOP_DEFECTS="REST-2,RR-1",
    ).start()  # fmt: skip
    user_id = _user(users, "m")
    assert users.post(f"/api/users/{user_id}/orders", {"items": ITEMS}).status_code == 200
    assert len(orders.effects) == len(orders.requests) == 2
    for number in range(9):
        _user(users, f"m-{number}")
    eventually(lambda: len(slow.requests) == 10)
    assert users.rows("welcomes") == []
    free.set()


def test_rmq_11_mails_twice(service: Make, stub: Make, amqp_url: str) -> None:
    mailgate, held, free = stub(), threading.Event(), threading.Event()
    mailgate.after = lambda _: (held.set(), free.wait(5))
    email = service("email", AMQP_URL=amqp_url, MAILGATE_URL=mailgate.url, SHOP_DEFECTS="RMQ-11").start()
    users = service("users", ORDERS_URL=NOWHERE, NOTIFICATIONS_URL=NOWHERE, AMQP_URL=amqp_url).start()
    _user(users, "twice")
    assert held.wait(8)
    email.kill()
    free.set()
    email.start()
    eventually(lambda: len(mailgate.effects) == 2)
    email.stop()


def test_rmq_4_loses_what_comes_while_it_is_away(service: Make, stub: Make, amqp_url: str) -> None:
    mailgate = stub()
    email = service("email", AMQP_URL=amqp_url, MAILGATE_URL=mailgate.url, SHOP_DEFECTS="RMQ-4").start()
    users = service(
        "users", ORDERS_URL=NOWHERE, NOTIFICATIONS_URL=NOWHERE, AMQP_URL=amqp_url, SHOP_DEFECTS="RMQ-4"
    ).start()
    eventually(lambda: _user(users, "first") and mailgate.requests)
    eventually(lambda: not users.rows("outbox"))
    email.kill()
    _user(users, "lost")
    eventually(lambda: not users.rows("outbox"))
    email.start()
    # Again and again: its new queue is bound some time after the service answers.
    eventually(lambda: _user(users, "after") and "after" in {request.json["marker"] for request in mailgate.requests})
    assert "lost" not in {request.json["marker"] for request in mailgate.requests}
    email.stop()


def test_kfk_1_passes_over_a_record_whose_effect_failed(service: Make, stub: Make, kafka: str) -> None:
    warehouse = stub()
    warehouse.answer = lambda request: (503, {}) if request.json["kind"] == "order.created" else None
    inventory = service("inventory").start()
    orders = service(
        "orders", PAYMENTS_URL=stub().url, INVENTORY_TARGET=inventory.target, KAFKA_BOOTSTRAP=kafka
    ).start()
    analytics = service("analytics", WAREHOUSE_URL=warehouse.url, KAFKA_BOOTSTRAP=kafka, SHOP_DEFECTS="KFK-1").start()
    answer = orders.post("/api/orders", {"userId": "u", "items": ITEMS})
    marker = answer.json()["data"]["id"]
    eventually(
        lambda: [row["kind"] for row in analytics.rows("rows") if row["marker"] == marker] == ["order.confirmed"]
    )
    assert analytics.rows("parked") == []
    keys = [request.key for request in warehouse.requests]
    assert len(keys) == len(set(keys))


class _Deaf:
    """An inventory that takes a call and never answers."""

    def __enter__(self) -> Self:
        from concurrent.futures import ThreadPoolExecutor

        import grpc

        from protos import inventory_pb2_grpc

        free = self._free = threading.Event()

        class Inventory(inventory_pb2_grpc.InventoryServiceServicer):
            def Reserve(self, request: Any, context: Any) -> Any:  # noqa: N802
                free.wait(10)
                context.abort(grpc.StatusCode.CANCELLED, "over")

            Release = Reserve

        self._pool = ThreadPoolExecutor(16)
        self._server = grpc.server(self._pool)
        inventory_pb2_grpc.add_InventoryServiceServicer_to_server(Inventory(), self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._free.set()
        self._server.stop(None).wait()
        self._pool.shutdown()


def test_an_unknown_defect_ends_the_start_with_the_ids_that_exist(service: Make) -> None:
    notifications = service("notifications", SHOP_DEFECTS="NO-SUCH")
    try:
        notifications.start()
        raise AssertionError
    except (AssertionError, httpx.TransportError):
        assert "NO-SUCH" in notifications.log()
        assert "CB-1" in notifications.log()
