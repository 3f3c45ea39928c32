"""A broker that restarts has its data, or has lost it; the harness's own observers see what comes either way."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pytest_chaos import Kill, PublishError, RestartEmpty
from pytest_chaos.brokers.base import observer_for, recipe_for
from tests.conformance.disturbances.test_kafka import until

pytest.importorskip("aiokafka")
aio_pika = pytest.importorskip("aio_pika")
redis = pytest.importorskip("redis")
KINDS = {"events": "kafka", "bus": "rabbitmq", "keys": "redis"}
TO = {"events": ("t", ""), "bus": ("", "q"), "keys": ("t", "")}


@pytest.fixture(params=KINDS)
def broker(request, up):
    """A broker, an observer of it, and how the driver publishes to it."""
    name = request.param
    recipe = recipe_for(KINDS[name])
    observer = observer_for(KINDS[name], up.state.direct[name], {}, name=name)
    yield name, recipe, observer
    observer.close()


def publish(up, broker, text: str, *, timeout_s: float = 20) -> None:
    name, recipe, _ = broker
    channel, key = TO[name]
    publisher = recipe.publisher(name, up.address(name))
    try:
        publisher.publish(channel, {"id": text}, key=key, headers={}, timeout_s=timeout_s)
    finally:
        publisher.close()


def declare(up) -> None:
    """Have the queue, as a service that starts does."""

    async def do():
        connection = await aio_pika.connect(up.address("bus"))
        await (await connection.channel()).declare_queue("q", durable=True)
        await connection.close()

    asyncio.run(do())


def there(up, name: str) -> int:
    """How many messages the broker has, asked on the link as a client does; 0 where it knows of no such channel."""
    if name == "keys":
        with redis.Redis.from_url(up.address("keys")) as client:
            return int(client.xlen("t"))
    return asyncio.run({"bus": _in_queue, "events": _in_topic}[name](up))


async def _in_queue(up) -> int:
    connection = await aio_pika.connect(up.address("bus"))
    try:
        queue = await (await connection.channel()).declare_queue("q", passive=True)
        return int(queue.declaration_result.message_count)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return 0
    finally:
        with contextlib.suppress(aio_pika.exceptions.AMQPError):
            await connection.close()


async def _in_topic(up) -> int:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    deadline = asyncio.get_running_loop().time() + 15
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=up.address("events"))
        try:
            await admin.start()
            topics = await admin.list_topics()
            break
        except KafkaError:  # it accepts before it is registered again
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)
        finally:
            await admin.close()
    if "t" not in topics:
        return 0
    consumer = AIOKafkaConsumer(bootstrap_servers=up.address("events"))
    await consumer.start()
    try:
        return int((await consumer.end_offsets([TopicPartition("t", 0)]))[TopicPartition("t", 0)])
    finally:
        await consumer.stop()


def published(observer) -> list[str]:
    return [one.marker for one in observer.messages() if one.event == "published"]


def test_with_its_data_and_without(up, broker):
    name, _, observer = broker
    if name == "bus":
        declare(up)
    publish(up, broker, "before")
    had = there(up, name)
    observer.begin()
    with up.fault(Kill(name)) as down, pytest.raises(PublishError):
        publish(up, broker, "nobody is there", timeout_s=0.5)
    assert down.hits == 1
    assert there(up, name) == had >= 1
    publish(up, broker, "between")
    observer.hold()
    ports = up.client.state().ports
    with up.fault(RestartEmpty(name)) as empty:
        assert there(up, name) == 0
    assert empty.hits == 1
    assert "its data is removed" in empty.proof
    assert up.client.state().ports == ports
    wiped = next(event for event in reversed(up.client.node_events()) if event.event == "wiped")
    assert wiped.node == name
    if name == "bus":
        declare(up)
    publish(up, broker, "after")
    assert there(up, name) == 1
    observer.lost(wiped.at_ns)
    asyncio.run(until(lambda: published(observer) == ["between", "after"], "what was lost, and what came then"))
    observer.begin()
    assert published(observer) == []
