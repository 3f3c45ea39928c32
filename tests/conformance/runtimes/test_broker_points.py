"""A node killed at a broker's call, before the broker has it or after: RabbitMQ, Kafka and Redis, their own clients."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pytest_chaos.brokers.base import recipe_for
from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.faults.lifecycle import KillAt
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import Schedule
from pytest_chaos.testing.strategies import installed
from tests.conformance.runtimes import kit

aio_pika = pytest.importorskip("aio_pika")
aiokafka = pytest.importorskip("aiokafka")
redis = pytest.importorskip("redis.asyncio")
BROKERS = {"bus": RabbitMQ("bus"), "events": Kafka("events", topics=("orders",)), "keys": Redis("keys")}
BOTH = pytest.mark.parametrize("phase", ["before_send", "after_answer"])
Do = Callable[[str, str], Awaitable[object]]


@dataclasses.dataclass
class Up:
    client: KeeperClient
    state: StackState

    def killed_at(self, node: str, phase: str, operation: str, do: Do, **fields: Any) -> dict[str, Any]:
        """Kill `victim` when the driver's client reaches the point; give that call, checked against the kill's time."""
        link, name = f"test -> {node}", uuid.uuid4().hex
        wanted = operation.replace("NAME", name)
        fault = KillAt("victim", link, operation=wanted, phase=phase, **fields)  # type: ignore[arg-type]
        compiled = installed(fault, "f1", links=[link], nodes=["victim"])
        self.client.install(Schedule(id=name, owner=name, faults=(compiled,)))
        before = self.client.mark().offset
        try:
            address = recipe_for(BROKERS[node].kind).address(self.state.links[link])
            asyncio.run(asyncio.wait_for(do(address, name), 20))  # type: ignore[arg-type]
            kit.until(lambda: "victim" not in self.client.running(), what="the kill")
        finally:
            (record,) = self.client.uninstall(name)
        assert (record.hits, record.engine) == (1, "runtime"), record
        killed = [one.at_ns for one in self.client.node_events() if one.event == "killed"][-1]
        calls = self._calls(before, wanted)
        (call,) = [one for one in calls if "faults" in one]
        assert calls.index(call) + 1 == fields.get("nth", 1)
        if phase == "before_send":
            assert killed <= call["forwarded_ns"], "the broker has it only once the node is gone"
        else:
            assert call["forwarded_ns"] <= killed <= call["ended_ns"], "the broker had it, and the client waited"
        return call

    def _calls(self, start: int, operation: str) -> list[dict[str, Any]]:
        lines = self.client.attempts_spool.read_bytes()[start : self.client.mark().offset].splitlines()
        rows = [json.loads(line) for line in lines]
        return [row for row in rows if row["k"] == "a" and row["operation"] == operation]


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    with kit.keeper(kit.spec_of(kit.service("victim"), *BROKERS.values())) as (client, state):
        if state.missing:
            pytest.skip("; ".join(state.missing.values()))
        yield Up(client, state)


@pytest.fixture
def up(running: Up) -> Up:
    running.client.baseline()
    return running


async def publish(address: str, name: str) -> None:
    """One message, confirmed, by an exchange and a key."""
    async with await aio_pika.connect(address) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name, "topic", durable=False)
        await exchange.publish(aio_pika.Message(b"{}"), "user.created", mandatory=False)


async def work(address: str, name: str) -> None:
    """A message that is published, delivered and acknowledged, and another one behind it."""
    async with await aio_pika.connect(address) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name)
        for _ in range(2):
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), name)
        async with queue.iterator() as messages:
            for _ in range(2):
                await (await anext(messages)).ack()
        await queue.delete(if_empty=True)


async def produce(address: str, name: str) -> None:
    """One record."""
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(name, b"{}")


async def commit(address: str, name: str) -> None:
    """One record, read by a group and committed."""
    await produce(address, name)
    consumer = aiokafka.AIOKafkaConsumer(
        name, bootstrap_servers=address, group_id=name, auto_offset_reset="earliest", enable_auto_commit=False
    )
    async with consumer:
        await consumer.getone()
        await consumer.commit()


async def append(address: str, name: str) -> None:
    """One entry of a stream, acknowledged by its group."""
    async with redis.from_url(address) as client:
        await client.xgroup_create(name, "g", mkstream=True)
        await client.xadd(name, {"a": "1"})
        ((_, ((entry, _),)),) = await client.xreadgroup("g", "me", {name: ">"})
        assert await client.xack(name, "g", entry) == 1


@BOTH
@pytest.mark.parametrize(
    ("node", "operation", "do"),
    [
        ("bus", "publish NAME user.created", publish),
        ("bus", "ack NAME", work),
        ("bus", "deliver NAME", work),
        ("events", "Produce NAME", produce),
        ("events", "OffsetCommit NAME", commit),
        ("keys", "XADD NAME", append),
        ("keys", "XACK NAME", append),
    ],
)
def test_a_node_is_killed_at_a_brokers_call(up: Up, phase: str, node: str, operation: str, do: Do) -> None:
    call = up.killed_at(node, phase, operation, do)
    assert ("answered_ns" in call) == (not operation.startswith("ack"))


def test_the_second_of_them_is_meant_where_it_is_asked_for(up: Up) -> None:
    up.killed_at("bus", "after_answer", "publish amq.default NAME", work, nth=2)
