"""Beside others on one stack (`-n 2`): each test's faults hit its own requests, and its verdict is about its own."""

from __future__ import annotations

import pytest

from fixtures.shop import ORDER, USER
from pytest_chaos import Chaos, Correlation, Delivery, FailFirst

BROKERS = ("rabbitmq", "kafka", "redis")
pytestmark = pytest.mark.chaos(needs=BROKERS, isolation="shared")


def test_one_id_on_every_carrier(chaos: Chaos) -> None:
    users = chaos.client("users")
    user = users.post("/api/users", json=USER).json()["data"]["id"]
    assert users.post(f"/api/users/{user}/orders", json={"items": ORDER["items"]}).status_code == 201
    chaos.check(Correlation(rules=("X1", "X5")))
    assert {message.broker for message in chaos.history().messages} == {"bus", "events", "keys"}


def test_a_handler_whose_effect_fails_is_not_committed_past(chaos: Chaos) -> None:
    with chaos.fault(FailFirst("analytics -> warehouse", 2, operation="POST /rows", status=503)):
        for _ in range(2):
            assert chaos.client("orders").post("/api/orders", json=ORDER).status_code == 201
        chaos.settle()
    chaos.check(
        Delivery(
            "events",
            channel="orders",
            effects="warehouse",
            subscriber="analytics",
            group="analytics",
            rules=("D1", "D12"),
        )
    )
