"""A real Kafka through its recipe and its observer: clients stay on their links, records are seen with their fate."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.errors import ChaosError, PublishError
from tests.conformance.brokers.conftest import wait_until

aiokafka = pytest.importorskip("aiokafka")
BROKER = Kafka("events", topics=("orders",), partitions=2)
PRODUCER, CONSUMER = "orders -> it", "analytics -> it"


async def publish(address: str, *ids: str, topic: str = "orders") -> None:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    try:
        for one in ids:
            headers = [("X-Correlation-Id", b"c-1"), ("traceparent", b"00-t-s-01")]
            await producer.send_and_wait(topic, json.dumps({"id": one}).encode(), key=one.encode(), headers=headers)
    finally:
        await producer.stop()


async def consume(address: str, count: int, *, group: str, commit: bool = True) -> list[str]:
    consumer = aiokafka.AIOKafkaConsumer(
        "orders", bootstrap_servers=address, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found = [json.loads((await asyncio.wait_for(consumer.getone(), 10)).value)["id"] for _ in range(count)]
        if commit:
            await consumer.commit()
        return found
    finally:
        await consumer.stop()


def test_it_is_a_kafka_4(broker):
    assert broker.recipe.version(broker.plan.direct, __import__("os").environ).startswith("4.")


def test_metadata_names_only_the_address_of_the_link_that_it_was_asked_on(broker):
    async def told(address: str) -> set[str]:
        client = aiokafka.AIOKafkaProducer(bootstrap_servers=address)
        await client.start()
        try:
            return {f"{node.host}:{node.port}" for node in client.client.cluster.brokers()}
        finally:
            await client.stop()

    for link, relay in broker.relays.items():
        assert asyncio.run(told(broker.address(link))) == {relay.address}
    assert asyncio.run(told(broker.plan.direct)) == {broker.plan.direct}


def test_producer_and_consumer_stay_on_their_links(broker):
    before = {name: relay.connections for name, relay in broker.relays.items()}
    asyncio.run(publish(broker.address(PRODUCER), "a", "b"))
    between = {name: relay.connections for name, relay in broker.relays.items()}
    assert between[PRODUCER] >= before[PRODUCER] + 2, "the bootstrap connection is not the one that carries records"
    assert between[CONSUMER] == before[CONSUMER]
    found = asyncio.run(consume(broker.address(CONSUMER), 2, group="links"))
    assert sorted(found) == ["a", "b"]
    assert broker.relays[CONSUMER].connections > between[CONSUMER]
    assert broker.relays[PRODUCER].connections == between[PRODUCER]


def test_a_record_goes_from_pending_to_settled_in_each_group(broker, observer):
    asyncio.run(publish(broker.address(PRODUCER), "before"))
    observer.begin()
    assert [message for message in observer.messages() if message.event == "published"] == []
    before = time.monotonic_ns()
    asyncio.run(publish(broker.address(PRODUCER), "e1", "e2"))
    messages = observer.messages()
    published = [message for message in messages if message.event == "published"]
    assert sorted(message.marker for message in published) == ["e1", "e2"]
    one = published[0]
    assert (one.channel, one.key, one.correlation_id, one.traceparent) == ("orders", one.marker, "c-1", "00-t-s-01")
    assert one.at_ns > before
    asyncio.run(consume(broker.address(CONSUMER), 5, group="analytics", commit=False))
    asyncio.run(consume(broker.address(CONSUMER), 5, group="analytics"))
    ended = {(message.marker, message.event) for message in observer.messages() if message.group == "analytics"}
    assert ended == {("e1", "settled"), ("e2", "settled")}
    assert observer.backlog()["orders group analytics"] == 0
    asyncio.run(publish(broker.address(PRODUCER), "e3"))
    assert observer.backlog()["orders group analytics"] == 1
    late = {(message.marker, message.event) for message in observer.messages() if message.group == "analytics"}
    assert ("e3", "pending") in late


def test_work_that_a_member_holds_without_any_commit_is_backlog(broker, observer):
    observer.begin()

    async def story() -> dict[str, int]:
        consumer = aiokafka.AIOKafkaConsumer(
            "orders", bootstrap_servers=broker.address(CONSUMER), group_id="new", enable_auto_commit=False
        )
        await consumer.start()
        await consumer.seek_to_end()
        try:
            await publish(broker.address(PRODUCER), "held")
            await asyncio.wait_for(consumer.getone(), 10)
            return await asyncio.to_thread(observer.backlog)
        finally:
            await consumer.stop()

    assert asyncio.run(story())["orders group new"] == 1


def test_only_declared_topics_are_observed(broker, observer):
    observer.begin()
    asyncio.run(publish(broker.address(PRODUCER), "x", topic="private"))
    assert [message.channel for message in observer.messages() if message.event == "published"] == []


def test_a_killed_broker_is_not_called_drained_and_comes_back_with_its_records(broker, observer):
    observer.begin()
    asyncio.run(publish(broker.address(PRODUCER), "kept"))
    broker.kill()
    assert set(observer.backlog().values()) == {-1}
    broker.start()
    markers = wait_until(lambda: markers_of(observer))
    assert "kept" in markers


def markers_of(observer) -> list[str]:
    try:
        return [message.marker for message in observer.messages() if message.event == "published"]
    except ChaosError:  # the client finds the restarted broker after a moment
        return []


def test_the_driver_publishes_a_record_with_its_key_and_identity(broker, observer):
    observer.begin()
    publisher = broker.recipe.publisher("events", broker.address(PRODUCER))
    try:
        where = publisher.publish("orders", {"id": "p1"}, key="k", headers={"x-correlation-id": "c-9"}, timeout_s=10)
        again = publisher.publish("orders", {"id": "p2"}, key="k", headers={}, timeout_s=10)
    finally:
        publisher.close()
        publisher.close()
    (partition, first), (same, second) = (one.split("/") for one in (where, again))
    assert (partition, int(second)) == (same, int(first) + 1)
    found = {message.marker: message for message in observer.messages() if message.event == "published"}
    assert (found["p1"].correlation_id, found["p2"].correlation_id) == ("c-9", "")
    assert found["p1"].key == "k"


def test_a_publish_to_a_kafka_that_is_away_certainly_failed(broker):
    publisher = broker.recipe.publisher("events", "127.0.0.1:1")
    try:
        with pytest.raises(PublishError, match="events: orders: ") as away:
            publisher.publish("orders", b"x", key="", headers={}, timeout_s=3)
        assert away.value.certain
    finally:
        publisher.close()


def test_a_publish_whose_connection_breaks_is_unknown_and_the_next_one_goes_through(broker):
    publisher = broker.recipe.publisher("events", broker.address(PRODUCER))
    try:
        publisher.publish("orders", b"1", key="", headers={}, timeout_s=10)
        upstream, broker.relays[PRODUCER].upstream = broker.relays[PRODUCER].upstream, "127.0.0.1:1"
        try:
            broker.relays[PRODUCER].cut()
            with pytest.raises(PublishError) as broken:
                publisher.publish("orders", b"2", key="", headers={}, timeout_s=2)
            assert not broken.value.certain
        finally:
            broker.relays[PRODUCER].upstream = upstream
        publisher.publish("orders", b"3", key="", headers={}, timeout_s=10)
    finally:
        publisher.close()
