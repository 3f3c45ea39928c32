"""What faults of brokers compile to, and what they refuse."""

from __future__ import annotations

import base64

import pytest

from pytest_chaos.errors import FaultError
from pytest_chaos.faults.broker import BrokerFull, ForceRebalance, PoisonMessage, Redeliver, RestartEmpty, Unroutable
from pytest_chaos.model.fault import BrokerAction, NodeAction


def test_poison_travels_as_base64_and_nothing_stays_nothing():
    (action,) = PoisonMessage("bus", "q", message=b"\xff\x00", headers={"a": "b"}, count=3).actions("f1")
    assert isinstance(action, BrokerAction)
    assert (action.id, action.fault, action.broker, action.verb) == ("f1.1", "f1", "bus", "poison")
    assert base64.b64decode(action.params["message"]) == b"\xff\x00"
    assert (action.params["channel"], action.params["headers"], action.params["count"]) == ("q", {"a": "b"}, 3)
    (text,) = PoisonMessage("bus", "q", message="ä").actions("f1")
    assert base64.b64decode(text.params["message"]).decode() == "ä"
    (default,) = PoisonMessage("bus", "q").actions("f1")
    assert default.params["message"] is None


def test_a_restart_without_data_is_a_nodes_own_affair():
    (action,) = RestartEmpty("bus").actions("f1")
    assert action == NodeAction(id="f1.1", fault="f1", node="bus", verb="wipe")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PoisonMessage("bus", " "), "PoisonMessage: channel=' ': must name a channel of bus"),
        (lambda: PoisonMessage("bus", "q", message=5), "PoisonMessage: message=5: must be bytes or a string"),
        (lambda: PoisonMessage("bus", "q", count=0), "PoisonMessage: count=0: must be a whole number from 1 to 1000"),
        (lambda: PoisonMessage("bus", "q", headers={"a": 1}), "headers=.*strings"),
        (lambda: Unroutable("bus", ""), "Unroutable: exchange='': must name an exchange of bus"),
        (lambda: ForceRebalance("events", ""), "ForceRebalance: group=''"),
        (lambda: ForceRebalance("events", "g", how="kick"), "how='kick'.*'join', 'evict'"),
        (lambda: ForceRebalance("events", "g", times=1.5), "times=1.5: must be a whole number from 1 to 1000"),
        (lambda: Redeliver("bus", ""), "Redeliver: channel=''"),
        (lambda: Redeliver("bus", "q", count=1001), "count=1001"),
        (lambda: BrokerFull("a -> b"), "BrokerFull: broker='a -> b': must be the name of a broker"),
        (lambda: RestartEmpty(""), "RestartEmpty: broker=''"),
    ],
)
def test_bad_values_are_refused_by_field_value_and_range(make, says):
    with pytest.raises(FaultError, match=says):
        make()
