"""The order saga: reserve, pay, confirm.

Whatever breaks, it ends, the books balance, and the caller is told the truth.
"""

from __future__ import annotations

import dataclasses

import httpx
import pytest

from fixtures.shop import ORDER, ORDER_SAGA
from pytest_chaos import AnswerLost, Chaos, FailFirst, GrpcStatus, KillAt, Saga

CONFIRM = "/inventory.InventoryService/Confirm"


def saga(*rules: str) -> Saga:
    return dataclasses.replace(ORDER_SAGA, rules=rules)


@pytest.mark.chaos
def test_a_failing_confirm_is_compensated_in_reverse_order(chaos: Chaos) -> None:
    with chaos.fault(GrpcStatus("orders -> inventory", "FAILED_PRECONDITION", operation=CONFIRM)):
        answer = chaos.client("orders").post("/api/orders", json=ORDER)
    assert answer.status_code >= 400
    chaos.check(saga("G1", "G2", "G3", "G10", "H1"))


@pytest.mark.chaos
def test_a_refund_that_fails_at_first_is_tried_until_it_succeeds(chaos: Chaos) -> None:
    with chaos.fault(
        GrpcStatus("orders -> inventory", "FAILED_PRECONDITION", operation=CONFIRM),
        FailFirst("orders -> payments", 2, operation="POST /payments/refunds", status=503),
    ):
        chaos.client("orders").post("/api/orders", json=ORDER)
        chaos.settle()
    chaos.check(saga("G2", "G4"))


@pytest.mark.chaos
def test_a_payment_whose_outcome_is_unknown_is_not_forgotten(chaos: Chaos) -> None:
    with chaos.fault(AnswerLost("orders -> payments", operation="POST /payments")):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(saga("T4", "G2", "G10"))


@pytest.mark.chaos
def test_killed_after_the_payment_it_ends_the_saga_when_it_is_back(chaos: Chaos) -> None:
    killed = KillAt("orders", "orders -> payments", operation="POST /payments", phase="after_answer")
    with chaos.fault(killed), pytest.raises(httpx.TransportError):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(saga("G1", "G7", "G10"))
