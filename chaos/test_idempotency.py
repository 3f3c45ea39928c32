"""Idempotency: whatever answer is lost, and whoever asks again, the money is taken once."""

from __future__ import annotations

import pytest

from fixtures.shop import CHARGES, ORDER, USER
from pytest_chaos import AnswerLost, Chaos, Idempotency, Retry


@pytest.mark.chaos
def test_a_lost_payment_answer_charges_once(chaos: Chaos) -> None:
    with chaos.fault(AnswerLost("orders -> payments", operation="POST /payments", nth=1)):
        answer = chaos.client("orders").post("/api/orders", json=ORDER)
    assert answer.status_code == 201
    chaos.check(
        Idempotency(effects=CHARGES, link="orders -> payments", rules=("I1", "I9")),
        chaos.policy(Retry, "orders -> payments", rules=["R5"]),
    )


@pytest.mark.chaos
def test_a_lost_answer_of_the_acquirer_charges_once(chaos: Chaos) -> None:
    with chaos.fault(AnswerLost("payments -> acquirer", operation="POST /charges", nth=1)):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(Idempotency(effects=CHARGES, link="payments -> acquirer", rules=("I1",)))


@pytest.mark.chaos
def test_a_lost_answer_to_users_places_one_order(chaos: Chaos) -> None:
    users = chaos.client("users")
    user = users.post("/api/users", json=USER).json()["data"]["id"]
    with chaos.fault(AnswerLost("users -> orders", operation="POST /api/orders", nth=1)):
        answer = users.post(f"/api/users/{user}/orders", json={"items": ORDER["items"]})
    assert answer.status_code == 201
    chaos.check(
        Idempotency(effects=CHARGES, link="users -> orders", rules=("I1", "I9")),
        chaos.policy(Retry, "users -> orders", rules=["R5"]),
    )
