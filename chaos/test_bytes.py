"""Byte faults by a real Toxiproxy on the gRPC link.

Slow, narrow and cut connections are survived within the deadline.
"""

from __future__ import annotations

import dataclasses

import pytest

from fixtures.shop import ORDER, ORDER_SAGA
from pytest_chaos import Bandwidth, Chaos, Deadline, Latency, LimitData, Timeout

LINK = "orders -> inventory"
pytestmark = pytest.mark.chaos(needs=("toxiproxy",))


def test_latency_with_jitter_and_little_bandwidth_is_survived(chaos: Chaos) -> None:
    with chaos.fault(Latency(LINK, 80, jitter_ms=40), Bandwidth(LINK, 64)):
        assert chaos.client("orders").post("/api/orders", json=ORDER).status_code == 201
    chaos.check(Deadline("test -> orders", within_s=4.5, rules=("T5",)))


def test_connections_cut_after_some_bytes_leave_no_half_done_order(chaos: Chaos) -> None:
    with chaos.fault(LimitData(LINK, 400)):
        for _ in range(3):
            chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(dataclasses.replace(ORDER_SAGA, rules=("G1", "G10")))


def test_a_latency_beyond_the_deadline_ends_by_it(chaos: Chaos) -> None:
    with chaos.fault(Latency(LINK, 2000)):
        chaos.client("orders").post("/api/orders", json=ORDER)
    chaos.check(chaos.policy(Timeout, LINK, rules=["T1", "T2"]))
