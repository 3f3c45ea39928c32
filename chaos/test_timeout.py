"""Timeouts: however slow the callee is, each attempt ends in time, and so does the caller's wait."""

from __future__ import annotations

import pytest

from fixtures.shop import ORDER
from pytest_chaos import Chaos, Deadline, Drip, Hold, Timeout

ANSWER_S = 4.5
"""The order's own 3 s, and what its compensation and the way back may take."""


@pytest.mark.chaos
def test_an_answer_that_is_held_is_not_waited_for(chaos: Chaos) -> None:
    with chaos.fault(Hold("orders -> payments", operation="POST /payments")):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(
        chaos.policy(Timeout, "orders -> payments", rules=["T1"]),
        Deadline("test -> orders", within_s=ANSWER_S, rules=("T5",)),
    )


@pytest.mark.chaos
def test_an_answer_that_drips_is_not_waited_for(chaos: Chaos) -> None:
    with chaos.fault(Drip("orders -> payments", operation="POST /payments", interval_ms=100)):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(
        chaos.policy(Timeout, "orders -> payments", rules=["T1"]),
        Deadline("test -> orders", within_s=ANSWER_S, rules=("T5",)),
    )


@pytest.mark.chaos
def test_grpc_calls_carry_a_deadline_and_end_by_it(chaos: Chaos) -> None:
    with chaos.fault(Hold("orders -> inventory", operation="/inventory.InventoryService/Reserve")):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(chaos.policy(Timeout, "orders -> inventory", rules=["T1", "T2"]))
