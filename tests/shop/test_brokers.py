"""The laws of what goes through brokers.

Nothing is lost, every effect comes once, poison stops nobody. On real brokers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.shop.conftest import NOWHERE
from tests.shop.kit import Service, Stub, eventually

USER = {"email": "a@example.org", "firstName": "Ada"}


def _users(service: Callable[..., Service], **env: str) -> Service:
    return service("users", **{"ORDERS_URL": NOWHERE, "NOTIFICATIONS_URL": NOWHERE, **env}).start()


class _Post:
    def __init__(self, service: Callable[..., Service], stub: Callable[..., Stub], amqp_url: str) -> None:
        self.mailgate = stub()
        self.email = service("email", AMQP_URL=amqp_url, MAILGATE_URL=self.mailgate.url, EMAIL_ATTEMPTS="3").start()
        self.users = _users(service, AMQP_URL=amqp_url)

    def noted(self, markers: set[str]) -> bool:
        return {row["marker"] for row in self.email.rows("mails") if row["state"] == "SENT"} >= markers


@pytest.fixture(scope="module")
def _one_post(service: Callable[..., Service], stub: Callable[..., Stub], amqp_url: str) -> _Post:
    return _Post(service, stub, amqp_url)


@pytest.fixture
def post(_one_post: _Post) -> _Post:
    """Give users, email and the mail gateway, with nothing wrong and nothing seen."""
    _one_post.mailgate.reset()
    return _one_post


@pytest.fixture(scope="module")
def _one_mesh(service: Callable[..., Service], stub: Callable[..., Stub], kafka: str) -> _Mesh:
    return _Mesh(service, stub, KAFKA_BOOTSTRAP=kafka)


@pytest.fixture
def mesh(_one_mesh: _Mesh) -> _Mesh:
    """Give orders and analytics with Kafka between them, with nothing wrong and nothing seen."""
    _one_mesh.warehouse.reset()
    return _one_mesh


def _drained(*services: Service) -> bool:
    return not any(one.rows("outbox") for one in services)


def _markers(mailgate: Stub, wanted: set[str]) -> set[str]:
    return {request.json["marker"] for request in mailgate.effects.values()} & wanted


def _create(users: Service, *markers: str) -> set[str]:
    for marker in markers:
        assert (
            users.post("/api/users", {**USER, "marker": marker}, **{"x-correlation-id": f"c-{marker}"}).status_code
            == 201
        )
    return set(markers)


def test_users_answers_without_brokers_and_publishes_when_they_come(
    service: Callable[..., Service], stub: Callable[..., Stub], amqp_url: str, redis_url: str
) -> None:
    users = _users(service, AMQP_URL="amqp://127.0.0.1:9", REDIS_URL="redis://127.0.0.1:9")
    wanted = _create(users, "away-1", "away-2")
    assert {row["key"]: row["count"] for row in users.rows("outbox")} == {"amqp": 2, "redis": 2}
    users.kill()
    users.start(AMQP_URL=amqp_url, REDIS_URL=redis_url)
    mailgate = stub()
    email = service("email", AMQP_URL=amqp_url, MAILGATE_URL=mailgate.url).start()
    eventually(lambda: _drained(users) and _markers(mailgate, wanted) == wanted)
    email.stop()


def test_a_user_is_mailed_once_with_the_id_of_its_cause(post: _Post) -> None:
    wanted = _create(post.users, "once-1", "once-2", "once-3")
    eventually(lambda: post.noted(wanted))
    assert post.mailgate.new_effects() == len(post.mailgate.requests) == 3
    ids = {request.json["marker"]: request.headers["x-correlation-id"] for request in post.mailgate.requests}
    assert all(ids[marker] == f"c-{marker}" for marker in wanted)


def test_email_killed_between_effect_and_ack_mails_once_and_what_came_meanwhile_too(post: _Post) -> None:
    mailgate, held, free = post.mailgate, threading.Event(), threading.Event()

    def hold(request: Any) -> None:
        if request.json["marker"] == "kill-1" and not held.is_set():
            held.set()
            free.wait(5)

    mailgate.after = hold
    _create(post.users, "kill-1")
    assert held.wait(5)
    post.email.kill()
    free.set()
    _create(post.users, "kill-2", "kill-3")
    post.email.start()
    eventually(lambda: post.noted({"kill-1", "kill-2", "kill-3"}))
    asked = [request for request in mailgate.requests if request.json["marker"] == "kill-1"]
    assert len(asked) == 2
    assert len({request.key for request in asked}) == 1


def test_a_mail_that_is_refused_is_a_dead_letter_and_holds_up_no_other(post: _Post) -> None:
    mailgate = post.mailgate
    mailgate.answer = lambda request: (503, {}) if request.json["marker"] == "dead" else None
    _create(post.users, "dead", "alive")
    eventually(lambda: _markers(mailgate, {"alive"}))
    parked = eventually(lambda: post.email.rows("parked"))
    assert [row["marker"] for row in parked] == ["dead"]
    assert len([request for request in mailgate.requests if request.json["marker"] == "dead"]) == 3


def test_side_work_neither_delays_nor_fails_its_caller_and_is_bounded(
    service: Callable[..., Service], stub: Callable[..., Stub]
) -> None:
    slow, free, open_now, most = stub(), threading.Event(), [0], [0]
    lock = threading.Lock()

    def hold(_: Any) -> None:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        free.wait(5)
        with lock:
            open_now[0] -= 1

    slow.after = hold
    users = _users(
        service, NOTIFICATIONS_URL=slow.url, NOTIFY_CONCURRENCY="3", NOTIFY_BACKLOG="4", NOTIFY_TIMEOUT_S="0.5"
    )
    _create(users, *(f"side-{number}" for number in range(12)))
    failed = eventually(
        lambda: {row["state"]: row["count"] for row in users.rows("welcomes")}.get("FAILED") == 7 or None
    )
    assert failed
    assert {row["state"]: row["count"] for row in users.rows("welcomes")} == {"DROPPED": 5, "FAILED": 7}
    # Three at once from users; what it gave up is still in the stub's own threads.
    assert len(slow.requests) == 7
    free.set()


class _Mesh:
    def __init__(self, service: Callable[..., Service], stub: Callable[..., Stub], **env: str) -> None:
        self.warehouse = stub()
        self.inventory = service("inventory").start()
        self.orders = service(
            "orders",
            PAYMENTS_URL=stub().url,
            INVENTORY_TARGET=self.inventory.target,
            KAFKA_BOOTSTRAP=env["KAFKA_BOOTSTRAP"],
        ).start()
        self.analytics = service("analytics", WAREHOUSE_URL=self.warehouse.url, **env)

    def order(self) -> str:
        items = [{"productId": "book", "quantity": 1, "price_minor": 500}]
        answer = self.orders.post("/api/orders", {"userId": "u1", "items": items}, **{"x-correlation-id": "c-k"})
        assert answer.status_code == 201
        return str(answer.json()["data"]["id"])

    def kinds(self, marker: str) -> list[str]:
        rows = self.analytics.rows("rows")
        return [row["kind"] for row in rows if row["marker"] == marker]


def test_order_events_become_rows_once_in_order_through_a_kill_in_the_handler(mesh: _Mesh) -> None:
    held, free = threading.Event(), threading.Event()

    def hold(request: Any) -> None:
        if request.number == 0:
            held.set()
            free.wait(5)

    mesh.warehouse.after = hold
    first = mesh.order()
    mesh.analytics.start()
    assert held.wait(10)
    mesh.analytics.kill()
    free.set()
    second = mesh.order()
    mesh.analytics.start()
    # Two orders may be on two partitions, of which either may be read first.
    whole = ["order.created", "order.confirmed"]
    eventually(lambda: _drained(mesh.orders) and mesh.kinds(first) == mesh.kinds(second) == whole, within_s=15)
    asked = mesh.warehouse.requests
    assert [request.key for request in asked].count(asked[0].key) == 2
    assert mesh.warehouse.new_effects() == 4
    assert {request.headers["x-correlation-id"] for request in asked} == {"c-k"}


def test_a_row_that_fails_is_repeated_and_one_that_never_can_be_is_parked(mesh: _Mesh) -> None:
    mesh.warehouse.answer = lambda request: (503, {}) if request.number < 2 else None
    first = mesh.order()
    eventually(lambda: mesh.kinds(first) == ["order.created", "order.confirmed"], within_s=15)
    mesh.warehouse.answer = lambda request: (422, {}) if request.json["kind"] == "order.created" else None
    second = mesh.order()
    eventually(lambda: mesh.kinds(second) == ["order.confirmed"])
    assert [row["marker"] for row in mesh.analytics.rows("parked")] == [second]


def test_stream_entries_survive_their_consumer(
    service: Callable[..., Service], stub: Callable[..., Stub], redis_url: str
) -> None:
    warehouse, held, free = stub(), threading.Event(), threading.Event()

    def hold(request: Any) -> None:
        if request.number == 0:
            held.set()
            free.wait(5)

    warehouse.after = hold
    analytics = service("analytics", WAREHOUSE_URL=warehouse.url, REDIS_URL=redis_url).start()
    users = _users(service, REDIS_URL=redis_url)
    _create(users, "stream-1")
    assert held.wait(5)
    analytics.kill()
    free.set()
    _create(users, "stream-2")
    analytics.start()
    wanted = {"stream-1", "stream-2"}
    eventually(lambda: wanted <= {row["marker"] for row in analytics.rows("rows")})
    key = warehouse.requests[0].key
    assert len([request for request in warehouse.requests if request.key == key]) == 2
    ids = {request.headers["x-correlation-id"] for request in warehouse.requests}
    assert {"c-stream-1", "c-stream-2"} <= ids


def test_a_broker_that_stands_still_loses_nothing(mesh: _Mesh, kafka_process: tuple[str, int]) -> None:
    before = mesh.order()
    eventually(lambda: mesh.kinds(before) == ["order.created", "order.confirmed"], within_s=15)
    os.killpg(kafka_process[1], signal.SIGSTOP)
    try:
        during = mesh.order()
        eventually(lambda: [row["count"] for row in mesh.orders.rows("outbox")] == [2])
        time.sleep(1.5)
    finally:
        os.killpg(kafka_process[1], signal.SIGCONT)
    eventually(
        lambda: mesh.kinds(during) == ["order.created", "order.confirmed"] and _drained(mesh.orders), within_s=20
    )
    assert len({request.key for request in mesh.warehouse.requests}) == 4
