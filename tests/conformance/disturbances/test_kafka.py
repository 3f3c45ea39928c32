"""A real Kafka whose groups are made to rebalance, are set back, and are given poison."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pytest_chaos import BrokerFull, ForceRebalance, PoisonMessage, Redeliver, Unroutable
from pytest_chaos.errors import ChaosError, FaultError

aiokafka = pytest.importorskip("aiokafka")


class Consumer(aiokafka.ConsumerRebalanceListener):
    """Commits behind each record; notes records, and which partitions it was given and lost."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.given: list[int] = []
        self.lost: list[int] = []

    async def on_partitions_assigned(self, assigned):
        self.given.append(len(assigned))

    async def on_partitions_revoked(self, revoked):
        self.lost.append(len(revoked))

    async def run(self, address: str, topic: str, group: str, instance: str | None) -> None:
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=address, group_id=group, group_instance_id=instance, enable_auto_commit=False,
            auto_offset_reset="earliest", session_timeout_ms=2000, heartbeat_interval_ms=100,
        )  # fmt: skip
        consumer.subscribe([topic], listener=self)
        await consumer.start()
        try:
            while True:
                record = await consumer.getone()
                self.values.append(record.value)
                with contextlib.suppress(aiokafka.errors.CommitFailedError):  # it may come in the middle of a rebalance
                    where = aiokafka.TopicPartition(record.topic, record.partition)
                    await consumer.commit({where: record.offset + 1})
        finally:
            await consumer.stop()


@contextlib.asynccontextmanager
async def consuming(up, topic: str, group: str, *, instance: str | None = None):
    one = Consumer()
    task = asyncio.create_task(one.run(up.address("events"), topic, group, instance))
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def publish(up, topic: str, *values: bytes) -> None:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=up.address("events"), acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def until(condition, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + 15
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)


async def lifted(up, fault, during=None):
    """Have a fault while `during` waits, without stopping this loop's consumers."""
    entered = up.fault(fault)
    outcome = await asyncio.to_thread(entered.__enter__)
    try:
        if during is not None:
            await during()
    finally:
        await asyncio.to_thread(entered.__exit__, None, None, None)
    return outcome


@pytest.mark.parametrize(("how", "rounds", "rebalances"), [("join", 1, 2), ("evict", 2, 2)])
@pytest.mark.parametrize("instance", [None, "i-1"])
def test_members_share_the_partitions_anew_and_read_on(up, name, how, rounds, rebalances, instance):
    async def story():
        await publish(up, name, b"0")
        async with consuming(up, name, name, instance=instance) as consumer:
            await until(lambda: consumer.values == [b"0"], "the first record")
            before = len(consumer.given)
            fault = await lifted(up, ForceRebalance("events", name, how=how, times=rounds))
            assert fault.hits == rebalances
            assert "none of ours" in fault.undo.proof or "no member of ours" in fault.undo.proof
            await until(lambda: len(consumer.given) == before + rebalances, "each assignment")
            assert consumer.given[before:] == [1] * rebalances
            await publish(up, name, b"1")
            await until(lambda: consumer.values[-1] == b"1", "the next record")

    asyncio.run(story())


def test_records_that_were_committed_past_are_delivered_again(up, name):
    async def story():
        await publish(up, name, b"0", b"1", b"2")
        async with consuming(up, name, name) as consumer:
            await until(lambda: len(consumer.values) == 3, "three records")

            async def again():
                await until(lambda: len(consumer.values) == 5, "two of them again")

            fault = await lifted(up, Redeliver("events", name, group=name, count=2), again)
            assert consumer.values == [b"0", b"1", b"2", b"1", b"2"]
            assert fault.hits == 2
            assert "by itself" in fault.undo.proof

    asyncio.run(story())


def test_a_group_that_reads_nothing_again_is_put_back_where_it_was(up, name):
    async def story():
        await publish(up, name, b"0", b"1")
        async with consuming(up, name, name) as consumer:
            await until(lambda: len(consumer.values) == 2, "two records")
        fault = await lifted(up, Redeliver("events", name, group=name))
        assert fault.hits == 0
        assert "put there again on 1 partitions" in fault.undo.proof
        await publish(up, name, b"2")
        async with consuming(up, name, name) as consumer:
            await until(lambda: consumer.values, "a record")
            assert consumer.values == [b"2"]

    asyncio.run(story())


def test_poison_is_a_record_like_others_and_says_what_it_is(up, name):
    async def story():
        await publish(up, name, b"0")
        async with consuming(up, name, name) as consumer:

            async def read():
                await until(lambda: len(consumer.values) == 3, "poison")

            fault = await lifted(up, PoisonMessage("events", name, message="{", count=2), read)
            assert consumer.values == [b"0", b"{", b"{"]
            assert fault.hits == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (BrokerFull("events"), "events is a Kafka: it has no answer that says so.*Kill"),
        (Unroutable("events", "x"), "events is a Kafka: its topics have no routes"),
        (PoisonMessage("events", "nowhere"), "channel='nowhere'.*no such topic"),
        (Redeliver("events", "nowhere"), "group=''.*must name the group"),
        (Redeliver("events", "nowhere", group="nobody"), "Redeliver: group='nobody'.*no such group"),
        (ForceRebalance("events", "nobody"), "ForceRebalance: group='nobody'.*no such group"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_there_is(up, fault, says):
    with pytest.raises((FaultError, ChaosError), match=says), up.fault(fault):
        pass


def test_a_group_without_members_cannot_rebalance(up, name):
    async def story():
        await publish(up, name, b"0")
        async with consuming(up, name, name) as consumer:
            await until(lambda: consumer.values, "a record")
        with pytest.raises(FaultError, match="it has no members"):
            await lifted(up, ForceRebalance("events", name))

    asyncio.run(story())
