"""Partitions: orders and payments do not reach each other, in both ways or in one; what began before the heal ends."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.shop import CHARGES, ORDER, ORDER_SAGA
from pytest_chaos import Chaos, Idempotency, Partition, Saga


def saga(*rules: str) -> Saga:
    return dataclasses.replace(ORDER_SAGA, rules=rules)


def place(chaos: Chaos) -> int:
    return chaos.client("orders").post("/api/orders", json=ORDER).status_code


@pytest.mark.chaos
def test_payments_that_are_made_and_cannot_be_answered_are_taken_back(chaos: Chaos) -> None:
    with chaos.fault(Partition(["payments"], ["orders"], one_way=True)):
        assert place(chaos) >= 500
    chaos.wait_until(lambda: place(chaos) == 201, what="an order that goes through after the heal")
    chaos.check(saga("G1", "G2", "G10", "H1"), Idempotency(effects=CHARGES, rules=("I1",)))


@pytest.mark.chaos
def test_an_order_that_is_caught_in_a_partition_goes_through_when_it_heals(chaos: Chaos) -> None:
    with ThreadPoolExecutor() as pool, chaos.fault(Partition.one_against_rest("payments")):
        order = pool.submit(place, chaos)
        chaos.wait_until(lambda: any(one.hits for one in chaos.history().faults), what="a request that is lost")
        chaos.heal()
        assert order.result() == 201
    chaos.check(saga("G1", "G10"))
