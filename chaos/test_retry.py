"""Retry: it goes on until it succeeds, waits as declared, and never repeats what must not be repeated."""

from __future__ import annotations

import pytest

from fixtures.shop import ORDER, USER
from pytest_chaos import AnswerLost, Chaos, FailFirst, Hold, Retry, Status

PAY = "POST /payments"


def orders_of_a_user(chaos: Chaos) -> str:
    """Make a user, and give the path of her orders at the users service."""
    user = chaos.client("users").post("/api/users", json=USER).json()["data"]["id"]
    return f"/api/users/{user}/orders"


@pytest.mark.chaos
def test_payment_is_retried_until_it_succeeds(chaos: Chaos) -> None:
    with chaos.fault(FailFirst("orders -> payments", 3, operation=PAY, status=503)):
        answer = chaos.client("orders").post("/api/orders", json=ORDER)
    assert answer.status_code == 201
    chaos.check(chaos.policy(Retry, "orders -> payments", rules=["R1", "R2", "R4", "R11"]))


@pytest.mark.chaos
def test_reading_a_users_orders_is_retried_until_it_succeeds(chaos: Chaos) -> None:
    path = orders_of_a_user(chaos)
    with chaos.fault(FailFirst("users -> orders", 2, operation="GET /api/orders/user/*", status=503)):
        answer = chaos.client("users").get(path)
    assert answer.status_code == 200
    chaos.check(chaos.policy(Retry, "users -> orders", rules=["R1", "R2", "R11"]))


@pytest.mark.chaos
@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_is_not_retried(chaos: Chaos, status: int) -> None:
    path = orders_of_a_user(chaos)
    with chaos.fault(Status("users -> orders", status, operation="GET /api/orders/user/*")):
        chaos.client("users").get(path)
    chaos.check(chaos.policy(Retry, "users -> orders", rules=["R4"]))


@pytest.mark.chaos
def test_a_refused_payment_is_not_retried(chaos: Chaos) -> None:
    with chaos.fault(Status("orders -> payments", 400, operation=PAY)):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(chaos.policy(Retry, "orders -> payments", rules=["R4"]))


@pytest.mark.chaos
def test_retries_respect_the_total_deadline(chaos: Chaos) -> None:
    with chaos.fault(Hold("orders -> payments", operation=PAY)):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(chaos.policy(Retry, "orders -> payments", rules=["R1", "R7"]))


@pytest.mark.chaos
def test_a_lost_answer_is_asked_for_again_with_the_same_key(chaos: Chaos) -> None:
    with chaos.fault(AnswerLost("orders -> payments", operation=PAY, nth=1)):
        answer = chaos.client("orders").post("/api/orders", json=ORDER)
    assert answer.status_code == 201
    chaos.check(chaos.policy(Retry, "orders -> payments", rules=["R1", "R5", "R11"]))
