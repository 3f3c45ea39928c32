"""Correlation: one id from the first request to the last message, over HTTP, gRPC, AMQP, Kafka and Redis streams."""

from __future__ import annotations

import pytest

from fixtures.shop import ORDER, USER
from pytest_chaos import Chaos, Correlation, FailFirst

BROKERS = ("rabbitmq", "kafka", "redis")


@pytest.mark.chaos(needs=BROKERS)
def test_one_id_on_every_carrier(chaos: Chaos) -> None:
    users = chaos.client("users")
    with chaos.fault(FailFirst("orders -> payments", 1, operation="POST /payments", status=503)):
        user = users.post("/api/users", json=USER).json()["data"]["id"]
        assert users.post(f"/api/users/{user}/orders", json={"items": ORDER["items"]}).status_code == 201
    chaos.check(Correlation(rules=("X1", "X5")))
    carriers = {message.broker for message in chaos.history().messages if message.correlation_id}
    assert carriers == {"bus", "events", "keys"}


@pytest.mark.chaos
def test_an_error_carries_the_id_as_well(chaos: Chaos) -> None:
    answer = chaos.client("users").get("/api/users/nobody", headers={"x-correlation-id": "asked-with-this"})
    assert answer.status_code == 404
    assert answer.headers["x-correlation-id"] == "asked-with-this"
    chaos.check(Correlation(rules=("X5",)))
