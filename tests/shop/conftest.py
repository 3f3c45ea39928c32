"""Fixtures: services, stubs, and real brokers where they can be had."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_chaos.brokers.base import recipe_for
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.plan import NodeSpec
from tests.shop.kit import Service, Stub, eventually, free_port

QUICK = {
    "PAYMENTS_BACKOFF_BASE_S": "0.05",
    "PAYMENTS_ATTEMPT_TIMEOUT_S": "0.5",
    "PAYMENTS_TOTAL_TIMEOUT_S": "1.5",
    "PAYMENTS_BREAKER_WAIT_S": "0.7",
    "INVENTORY_TIMEOUT_S": "0.5",
    "GRPC_RECONNECT_BACKOFF_MS": "100",
    "ACQUIRER_TIMEOUT_S": "0.3",
    "ORDERS_BACKOFF_BASE_S": "0.05",
    "ORDERS_ATTEMPT_TIMEOUT_S": "0.8",
    "ORDERS_TOTAL_TIMEOUT_S": "3",
    "EMAIL_BACKOFF_BASE_S": "0.05",
    "ANALYTICS_BACKOFF_BASE_S": "0.02",
    "ANALYTICS_BACKOFF_CAP_S": "0.1",
    "KAFKA_SESSION_TIMEOUT_S": "1",
}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def stub() -> Iterator[Callable[..., Stub]]:
    """Make stubs."""
    made: list[Stub] = []

    def make(**more: str) -> Stub:
        made.append(Stub(**more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Make services, each with a data folder of its own; they are started by their users and killed at the end."""
    made: list[Service] = []

    def make(name: str, **env: str) -> Service:
        made.append(Service(name, tmp_path_factory.mktemp(name), {**QUICK, **env}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def one_shop(service: Callable[..., Service], stub: Callable[..., Stub]) -> Shop:
    """Start inventory, payments, a stub between orders and payments that forwards, and orders."""
    return Shop(service, stub)


@pytest.fixture
def shop(one_shop: Shop) -> Shop:
    """Give the shop with nothing wrong and nothing seen."""
    one_shop.reset()
    return one_shop


class Shop:
    """The part of the shop that takes orders."""

    def __init__(self, service: Callable[..., Service], stub: Callable[..., Stub], **env: str) -> None:
        self.acquirer = stub()
        self.inventory = service("inventory")
        self.payments = service("payments", ACQUIRER_URL=self.acquirer.url)
        self.between = stub(forward=self.payments.url)
        self.orders = service("orders", PAYMENTS_URL=self.between.url, INVENTORY_TARGET=self.inventory.target, **env)
        for one in (self.inventory, self.payments, self.orders):
            one.start()

    def reset(self) -> None:
        """Take every fault away, and everything that happened for granted."""
        for stub in (self.between, self.acquirer):
            stub.reset()
        eventually(self.at_rest)
        self._old = {row["key"] for row in self.orders.rows("orders")}

    def new_orders(self) -> list[dict[str, Any]]:
        """List the orders since the reset."""
        return [row for row in self.orders.rows("orders") if row["key"] not in self._old]

    def order(self, *, key: str = "", quantity: int = 2, product: str = "book") -> Any:
        """Place an order of 500 a piece."""
        items = [{"productId": product, "quantity": quantity, "price_minor": 500}]
        return self.orders.post("/api/orders", {"userId": "u1", "items": items}, key=key)

    def state(self, order_id: str) -> str:
        """Give an order's state."""
        return next(str(row["state"]) for row in self.orders.rows("orders") if row["key"] == order_id)

    def at_rest(self) -> bool:
        """Tell whether every saga has ended."""
        return all(row["state"] in ("CONFIRMED", "COMPENSATED") for row in self.orders.rows("orders"))

    def balanced(self) -> bool:
        """Tell whether money and stock agree with the orders (rule G10), in the ledger of the acquirer itself."""
        effects = self.acquirer.effects.values()
        moved = sum(request.json["amount_minor"] * (1 if request.path == "/charges" else -1) for request in effects)
        sold = sum(row["count"] for row in self.inventory.rows("stock") if row["state"] == "sold")
        held = sum(row["count"] for row in self.inventory.rows("stock") if row["state"] == "reserved")
        confirmed = [row for row in self.orders.rows("orders") if row["state"] == "CONFIRMED"]
        return bool(moved == sum(row["amount_minor"] for row in confirmed) and sold * 500 == moved and held == 0)


def _broker(kind: str, home: Path) -> Iterator[tuple[str, int]]:
    ports: list[int] = []

    def take() -> int:
        ports.append(free_port())
        return ports[-1]

    recipe = recipe_for(kind)
    node = NodeSpec(name=kind, kind="broker", broker=kind)
    try:
        plan = recipe.prepare(node, home, {}, dict(os.environ), take)
    except ChaosError as missing:
        pytest.skip(str(missing))
    with (home.parent / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            plan.command, env={**os.environ, **plan.env}, cwd=plan.cwd, stdout=log, stderr=log, start_new_session=True
        )
    try:
        eventually(lambda: process.poll() is None and _listens(plan.ports["tcp"]), within_s=40)
        yield recipe.address(f"127.0.0.1:{plan.ports['tcp']}"), process.pid
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Redis."""
    for address, _ in _broker("redis", tmp_path_factory.mktemp("redis") / "home"):
        yield address


@pytest.fixture(scope="session")
def amqp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start RabbitMQ."""
    for address, _ in _broker("rabbitmq", tmp_path_factory.mktemp("rabbitmq") / "home"):
        yield address


@pytest.fixture(scope="session")
def kafka_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Start Kafka; give its address and its process id."""
    yield from _broker("kafka", tmp_path_factory.mktemp("kafka") / "home")


@pytest.fixture(scope="session")
def kafka(kafka_process: tuple[str, int]) -> str:
    """Start Kafka; give its address."""
    return kafka_process[0]
