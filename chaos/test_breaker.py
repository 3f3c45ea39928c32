"""Circuit breaker: trips after five failures, rejects at once while open, closes after three single probes."""

from __future__ import annotations

import pytest

from fixtures.shop import ORDER
from pytest_chaos import Chaos, CircuitBreaker, Hold, Status

LINK = "orders -> payments"
MOST_CALLS = 40


def place(chaos: Chaos) -> int:
    return chaos.client("orders").post("/api/orders", json=ORDER).status_code


def trip(chaos: Chaos) -> None:
    """Fail payments until the breaker turns calls away, which the caller sees as 503 with Retry-After."""
    with chaos.fault(Status(LINK, 503)):
        for _ in range(MOST_CALLS):
            answer = chaos.client("orders").post("/api/orders", json=ORDER)
            if "retry-after" in answer.headers:
                return
    pytest.fail("the breaker never turned a call away")


@pytest.mark.chaos
def test_it_trips_rejects_fast_and_closes_after_three_successes(chaos: Chaos) -> None:
    trip(chaos)
    for _ in range(5):
        assert place(chaos) == 503
    chaos.wait_until(lambda: place(chaos) == 201, timeout_s=10, what="the breaker to let a probe through")
    for _ in range(2):
        assert place(chaos) == 201
    # Closed means that calls run side by side again.
    with chaos.fault(Hold(LINK, operation="POST /payments", for_s=0.3)):
        assert chaos.burst(5, lambda _: place(chaos)) == [201] * 5
    chaos.check(chaos.policy(CircuitBreaker, LINK, rules=["B1", "B3", "B5", "B7"]))


@pytest.mark.chaos
def test_a_failed_probe_opens_it_again(chaos: Chaos) -> None:
    trip(chaos)
    chaos.wait_until(lambda: place(chaos) == 201, timeout_s=10, what="the breaker to let a probe through")
    with chaos.fault(Status(LINK, 503, operation="POST /payments", nth=1)):
        place(chaos)
        for _ in range(3):
            place(chaos)
    chaos.check(chaos.policy(CircuitBreaker, LINK, rules=["B3", "B5"]))


@pytest.mark.chaos
def test_half_open_admits_one_probe_at_a_time(chaos: Chaos) -> None:
    trip(chaos)
    with chaos.fault(Hold(LINK, operation="POST /payments", for_s=0.6)):
        # Two callers that go on until they are served: while the probe of one is held, the other one keeps knocking.
        chaos.burst(
            2, lambda _: chaos.wait_until(lambda: place(chaos) == 201, timeout_s=12, what="a probe to be let through")
        )
    chaos.check(chaos.policy(CircuitBreaker, LINK, rules=["B4"]))
