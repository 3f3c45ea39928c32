"""Kafka: a row for every order event, in order, committed after the effect, whatever dies or stands still."""

from __future__ import annotations

from typing import Literal

import pytest

from fixtures.shop import ORDER
from pytest_chaos import (
    Chaos,
    ConfirmLost,
    Delivery,
    DropConnectionAt,
    FailFirst,
    ForceRebalance,
    KillAt,
    Pause,
    PoisonMessage,
    Redeliver,
)

pytestmark = pytest.mark.chaos(needs=("kafka",))


def rows(*rules: str) -> Delivery:
    return Delivery(
        "events", channel="orders", effects="warehouse", subscriber="analytics", group="analytics", rules=rules
    )


def place(chaos: Chaos, orders: int) -> None:
    client = chaos.client("orders")
    for _ in range(orders):
        assert client.post("/api/orders", json=ORDER).status_code == 201


def test_a_consumer_killed_in_its_handler_loses_nothing(chaos: Chaos) -> None:
    with chaos.fault(KillAt("analytics", "analytics -> warehouse", operation="POST /rows", phase="before_send")):
        place(chaos, 2)
        chaos.wait_until(
            lambda: any(event.event == "killed" for event in chaos.history().node_events), what="the kill of analytics"
        )
    chaos.check(rows("D1", "D3", "D4"))


def test_a_handler_whose_effect_fails_is_not_committed_past(chaos: Chaos) -> None:
    with chaos.fault(FailFirst("analytics -> warehouse", 2, operation="POST /rows", status=503)):
        place(chaos, 2)
        chaos.settle()
    chaos.check(rows("D1", "D12"))


def test_a_broker_that_stands_still_delays_and_loses_nothing(chaos: Chaos) -> None:
    with chaos.fault(Pause("events")):
        place(chaos, 2)
    chaos.check(rows("D1", "D3", "D4"))


def test_an_event_whose_produce_answer_was_lost_is_sent_again_and_is_one_row(chaos: Chaos) -> None:
    with chaos.fault(ConfirmLost("orders -> events", operation="Produce orders", nth=1)):
        place(chaos, 1)
        chaos.wait_until(lambda: seen(chaos, "Produce orders") > 1, what="the second Produce")
    chaos.check(rows("D1", "D3"))
    published = [one.marker for one in chaos.history().messages if one.broker == "events" and one.event == "published"]
    assert len(published) == len(set(published)) > 0, "the producer is idempotent: the broker drops the repeat"


def test_a_commit_whose_connection_breaks_makes_no_second_row(chaos: Chaos) -> None:
    with chaos.fault(DropConnectionAt("analytics -> events", "OffsetCommit analytics", nth=1)):
        place(chaos, 2)
        chaos.wait_until(lambda: seen(chaos, "OffsetCommit analytics") > 1, what="a commit that breaks, and one more")
    chaos.check(rows("D1", "D3", "D4"))


@pytest.mark.parametrize("how", ["join", "evict"])
def test_a_group_that_shares_its_partitions_anew_while_orders_come_loses_nothing(
    chaos: Chaos, how: Literal["join", "evict"]
) -> None:
    place(chaos, 1)
    chaos.settle()
    with chaos.fault(ForceRebalance("events", "analytics", how=how)):
        place(chaos, 2)
    chaos.check(rows("D1", "D3", "D4"))


def test_a_record_that_nobody_can_read_is_parked_and_those_behind_it_are_stored(chaos: Chaos) -> None:
    place(chaos, 1)
    chaos.settle()
    with chaos.fault(PoisonMessage("events", "orders")):
        place(chaos, 2)
    chaos.check(rows("D1", "D3", "D12"))
    assert any(row.state == "PARKED" for row in chaos.state("analytics", "parked"))


def test_records_that_are_delivered_again_are_stored_once(chaos: Chaos) -> None:
    place(chaos, 2)
    chaos.settle()
    with chaos.fault(Redeliver("events", "orders", group="analytics", count=2)):
        chaos.settle()
    chaos.check(rows("D1", "D3"))


def seen(chaos: Chaos, operation: str) -> int:
    return sum(one.operation == operation for one in chaos.history().attempts)
