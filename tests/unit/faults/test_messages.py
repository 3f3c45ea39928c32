"""Message faults read alike on every broker: what they compile to hits the calls that their names promise."""

from __future__ import annotations

import pytest

from pytest_chaos.faults.messages import ConfirmLost, DelayFetch, DropConnectionAt, HoldDelivery
from pytest_chaos.model.fault import WireRule
from pytest_chaos.wire.table import Facts, Table

LINK = "orders -> bus"


def hit(fault, operation, *, protocol, named=False, answered=True):
    """Give the kinds and phases of what happens to a call."""
    table = Table(1)
    rules = [action for action in fault.actions("f1") if isinstance(action, WireRule)]
    table.install("s", "t", rules)
    plan = table.decide(LINK, Facts(operation=operation, protocol=protocol, named=named, answered=answered))
    return [(step.kind, "request") for step in plan.request] + [(step.kind, "response") for step in plan.response]


@pytest.mark.parametrize(
    ("protocol", "operation"),
    [("amqp", "publish events user.created"), ("kafka", "Produce orders"), ("resp", "XADD user.activity")],
)
def test_a_lost_confirm_hits_publishes_and_nothing_else(protocol, operation):
    fault = ConfirmLost(LINK)
    assert hit(fault, operation, protocol=protocol) == [("answer_lost", "response")]
    assert hit(fault, operation, protocol=protocol, answered=False) == []
    for other in ("ack q", "deliver q", "Fetch orders", "GET k", "declare q"):
        assert hit(fault, other, protocol=protocol, named=True) == []


def test_a_named_operation_takes_the_place_of_the_usual_ones():
    fault = ConfirmLost(LINK, operation="publish events user.*")
    assert hit(fault, "publish events user.created", protocol="amqp")
    assert not hit(fault, "publish events order.created", protocol="amqp")


@pytest.mark.parametrize(
    ("protocol", "operation", "answered", "phase"),
    [
        ("amqp", "deliver q", True, "request"),
        ("resp", "deliver news", False, "request"),
        ("kafka", "Fetch orders", True, "response"),
        ("kafka", "Fetch", True, "response"),
        ("resp", "XREADGROUP s", True, "response"),
    ],
)
def test_a_held_delivery_is_held_where_the_message_is(protocol, operation, answered, phase):
    wanted = [("hold", phase)]
    assert hit(HoldDelivery(LINK), operation, protocol=protocol, named=True, answered=answered) == wanted
    named = HoldDelivery(LINK, operation=operation, for_s=1)
    assert hit(named, operation, protocol=protocol, named=True, answered=answered) == wanted


def test_a_delayed_fetch_is_late_on_its_way_to_the_broker():
    assert hit(DelayFetch(LINK, 5), "Fetch orders", protocol="kafka", named=True) == [("latency", "request")]
    assert hit(DelayFetch(LINK, 5), "Produce orders", protocol="kafka") == []


def test_a_connection_is_dropped_at_the_call_that_is_named():
    assert hit(DropConnectionAt(LINK, "ack q"), "ack q", protocol="amqp") == [("reset", "request")]
    assert hit(DropConnectionAt(LINK, "Produce**", at="response"), "Produce t", protocol="kafka") == [
        ("reset", "response")
    ]
    assert hit(DropConnectionAt(LINK, "ack q", nth=2), "ack q", protocol="amqp") == []
