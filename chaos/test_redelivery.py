"""Redelivery: the network hands a request over twice, or after its caller has gone, and the money is taken once."""

from __future__ import annotations

import pytest

from fixtures.shop import CHARGES, ORDER, USER
from pytest_chaos import Chaos, DeliverLate, DeliverTwice, Idempotency, Status


@pytest.mark.chaos
def test_a_payment_that_is_delivered_twice_charges_once(chaos: Chaos) -> None:
    with chaos.fault(DeliverTwice("orders -> payments", operation="POST /payments", nth=1, whom=chaos.mine)):
        answer = chaos.client("orders").post("/api/orders", json=ORDER)
    assert answer.status_code == 201
    chaos.check(Idempotency(effects=CHARGES, link="orders -> payments", rules=("I1",)))


@pytest.mark.chaos
def test_a_payment_that_arrives_after_its_retry_charges_once(chaos: Chaos) -> None:
    late = DeliverLate("orders -> payments", operation="POST /payments", how="reset", ms=1500, first=1, per="op")
    with chaos.fault(late):
        answer = chaos.client("orders").post("/api/orders", json=ORDER)
        chaos.settle()
    assert answer.status_code == 201
    chaos.check(Idempotency(effects=CHARGES, link="orders -> payments", rules=("I1",)))


@pytest.mark.chaos
def test_an_order_that_is_delivered_twice_is_placed_once(chaos: Chaos) -> None:
    users = chaos.client("users")
    user = users.post("/api/users", json=USER).json()["data"]["id"]
    with chaos.fault(DeliverTwice("users -> orders", operation="POST /api/orders", nth=1)):
        answer = users.post(f"/api/users/{user}/orders", json={"items": ORDER["items"]})
    assert answer.status_code == 201
    chaos.check(Idempotency(effects=CHARGES, rules=("I1",)))


@pytest.mark.chaos
def test_the_first_try_of_every_payment_fails_and_every_order_is_paid_once(chaos: Chaos) -> None:
    charged = "POST /payments"
    worked = Status("orders -> payments", 503, operation=charged, retry_after_s=1, first=1, per="op", forward=True)
    with chaos.fault(worked):
        client = chaos.client("orders")
        answers = [client.post("/api/orders", json=ORDER) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    chaos.check(Idempotency(effects=CHARGES, link="orders -> payments", rules=("I1",)))
