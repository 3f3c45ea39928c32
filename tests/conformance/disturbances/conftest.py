"""Kafka, RabbitMQ and Redis behind links, as processes and as containers, and faults that they play themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pytest_chaos.brokers.base import recipe_for
from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import Fault
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.journal import UndoRecord
from pytest_chaos.parts import java, kafka, rabbitmq, redis
from pytest_chaos.testing.strategies import installed
from tests.conformance.runtimes import boxes, kit

_numbers = itertools.count(1)


@dataclass
class Outcome:
    """What a fault did, once it is lifted."""

    record: FaultRecord | None = None
    undo: UndoRecord | None = None

    @property
    def hits(self) -> int:
        assert self.record is not None
        return self.record.hits

    @property
    def proof(self) -> str:
        assert self.record is not None
        return self.record.proof


@dataclass
class Up:
    """The running brokers."""

    client: KeeperClient
    state: StackState
    runtime: str

    def address(self, broker: str) -> str:
        """Where a client reaches a broker on the driver's link."""
        kinds = {"events": "kafka", "bus": "rabbitmq", "keys": "redis"}
        return recipe_for(kinds[broker]).address(self.state.links[f"test -> {broker}"])

    @contextlib.contextmanager
    def fault(self, fault: Fault) -> Iterator[Outcome]:
        """Have a fault for the length of the block; every undo must be proved."""
        name = f"s{next(_numbers)}"
        outcome = Outcome()
        self.client.install(kit.schedule(installed(fault, "f1"), name=name))
        try:
            yield outcome
        finally:
            (outcome.record,) = self.client.uninstall(name)
        outcome.undo = self.client.undos()[-1]
        assert outcome.undo.ok, outcome.undo.error
        assert outcome.undo.proof
        assert not outcome.undo.error, "the undo itself did it, no escalation"


@pytest.fixture(scope="package", params=["processes", "containers"])
def up(request) -> Iterator[Up]:
    if request.param == "containers" and boxes.missing():
        pytest.skip(boxes.missing())
    absent = [part for part in (java, kafka, rabbitmq, redis) if part.find(os.environ).found is None]
    if request.param == "processes" and absent:
        pytest.skip("needs Kafka, RabbitMQ and Redis: make setup")
    spec = kit.spec_of(Kafka("events"), RabbitMQ("bus"), Redis("keys", persistent=True))
    with kit.keeper(dataclasses.replace(spec, runtime=request.param)) as (client, state):
        yield Up(client, state, request.param)


@pytest.fixture
def name(request) -> str:
    """A name for a queue, a topic or a stream that no other test has."""
    return f"{request.node.originalname[5:35]}-{next(_numbers)}"
