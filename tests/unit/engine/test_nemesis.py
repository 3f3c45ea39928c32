"""What the player of schedules checks and does before anything is installed."""

from __future__ import annotations

import pytest

from pytest_chaos.brokers.redis import Redis
from pytest_chaos.engine.nemesis import Nemesis, alters
from pytest_chaos.errors import FaultError, TopologyError
from pytest_chaos.faults.answers import FailFirst
from pytest_chaos.faults.bodies import DropHeader, ForeignBody, Truncate, WrongLength
from pytest_chaos.faults.broker import BrokerFull, RestartEmpty
from pytest_chaos.faults.bytes import Corrupt, Latency
from pytest_chaos.faults.timing import Delay, Hold
from pytest_chaos.model.topology import Service, Topology
from pytest_chaos.testing.strategies import installed

LINK = "orders -> payments"
TOPOLOGY = Topology(Service("orders", command=["true"], uses={"REDIS_URL": "keys"}), Redis("keys"))


class Keeper:
    def __init__(self, done):
        self._done = done

    def install(self, schedule):
        self._done.append(schedule)


def test_a_brokers_fault_is_for_a_broker_of_the_topology():
    nemesis = Nemesis(Keeper([]), TOPOLOGY, "t")
    with pytest.raises(FaultError, match="BrokerFull: broker='orders': is no broker; the topology has: keys"):
        nemesis.install([BrokerFull("orders")])
    with pytest.raises(TopologyError, match="bus"):
        nemesis.install([BrokerFull("bus")])


def test_what_a_broker_is_about_to_lose_is_read_before():
    done = []
    nemesis = Nemesis(Keeper(done), TOPOLOGY, "t", before_wipe=lambda broker: done.append(f"read {broker}"))
    schedule = nemesis.install([RestartEmpty("keys"), BrokerFull("keys")])
    assert done == ["read keys", schedule]
    assert [len(fault.brokers) for fault in schedule.faults] == [0, 1]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        *((one, True) for one in (WrongLength(LINK, by=3), ForeignBody(LINK), Truncate(LINK, bytes=4))),
        *((one, True) for one in (Corrupt(LINK, at=3), DropHeader(LINK, name="etag"), FailFirst(LINK, n=2))),
        *((one, False) for one in (Delay(LINK, 50), Hold(LINK), Latency(LINK, 50), BrokerFull("keys"))),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_caller_is_told_may_be_another_answer_by_what_wire_does(fault, expected):
    assert alters(installed(fault, "f1")) is expected
