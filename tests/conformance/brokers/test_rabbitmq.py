"""A real RabbitMQ through its recipe and its observer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.rabbitmq.erlang import Erlang
from pytest_chaos.brokers.rabbitmq.queues import OWN
from pytest_chaos.errors import ChaosError, PublishError
from tests.conformance.brokers.conftest import wait_until

aio_pika = pytest.importorskip("aio_pika")
BROKER = RabbitMQ("bus", exchanges=("events",), dead_letter_queues=("work.dead",))
PUBLISHER, CONSUMER = "orders -> it", "analytics -> it"
TOPIC = aio_pika.ExchangeType.TOPIC


@contextlib.asynccontextmanager
async def connected(address: str):
    connection = await aio_pika.connect(address)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def declare(channel):
    exchange = await channel.declare_exchange("events", TOPIC, durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "work.dead"}
    queue = await channel.declare_queue("work", durable=True, arguments=arguments)
    await channel.declare_queue("work.dead", durable=True)
    await queue.bind(exchange, "user.#")
    return exchange, queue


async def publish(address: str, *ids: str) -> None:
    async with connected(address) as channel:
        exchange, _ = await declare(channel)
        for one in ids:
            message = aio_pika.Message(
                f'{{"id": "{one}"}}'.encode(), message_id=f"m-{one}", correlation_id="c-1",
                headers={"traceparent": "00-t-s-01"},
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )  # fmt: skip
            await exchange.publish(message, "user.created")


async def take(address: str, action: str) -> str:
    async with connected(address) as channel:
        _, queue = await declare(channel)
        incoming = await queue.get(timeout=5)
        await (incoming.ack() if action == "ack" else incoming.reject(requeue=False))
        return incoming.message_id or ""


@pytest.fixture(autouse=True)
def empty(broker):
    async def purge() -> None:
        async with connected(broker.address(PUBLISHER)) as channel:
            _, queue = await declare(channel)
            await queue.purge()
            await (await channel.get_queue("work.dead")).purge()

    asyncio.run(purge())


def test_it_says_its_version_and_listens_where_the_links_lead(broker):
    major, minor, *_ = broker.recipe.version(broker.plan.direct, {}).split(".")
    assert (int(major), int(minor)) >= (3, 10)
    assert broker.relays[PUBLISHER].connections > 0
    assert broker.relays[CONSUMER].connections == 0


def test_it_needs_no_epmd_and_listens_on_loopback_only(broker):
    names = [(Path("/proc") / str(pid) / "comm").read_text().strip() for pid in broker.family()]
    assert "epmd" not in names
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False).stdout
    ours = [line for line in listening.splitlines() if any(f"pid={pid}," in line for pid in broker.family())]
    assert all("127.0.0.1" in line for line in ours), ours


def test_what_is_published_is_seen_with_its_carriers(broker, observer):
    asyncio.run(publish(broker.address(PUBLISHER), "before"))
    observer.begin()
    assert observer.messages() == []
    asyncio.run(publish(broker.address(PUBLISHER), "e1", "e2"))
    one, two = observer.messages()
    assert (one.marker, two.marker) == ("e1", "e2")
    assert (one.event, one.channel, one.key, one.broker) == ("published", "events", "user.created", "bus")
    assert (one.correlation_id, one.traceparent, one.body) == ("c-1", "00-t-s-01", '{"id": "e1"}')
    assert one.at_ns <= two.at_ns
    observer.begin()
    assert observer.messages() == []


def test_backlog_counts_what_is_ready_and_what_is_not_acknowledged(broker, observer):
    observer.begin()
    assert observer.backlog() == {"queue work": 0}
    asyncio.run(publish(broker.address(PUBLISHER), "a", "b"))
    assert observer.backlog() == {"queue work": 2}

    async def hold() -> dict[str, int]:
        async with connected(broker.address(CONSUMER)) as channel:
            _, queue = await declare(channel)
            await queue.get(timeout=5)
            await queue.get(timeout=5)
            return await asyncio.to_thread(observer.backlog)

    assert asyncio.run(hold()) == {"queue work": 2}, "delivered and unacknowledged is not drained"
    for _ in range(2):
        asyncio.run(take(broker.address(CONSUMER), "ack"))
    assert observer.backlog() == {"queue work": 0}


def test_a_dead_lettered_message_is_seen_and_left_where_it_is(broker, observer):
    asyncio.run(publish(broker.address(PUBLISHER), "dead before"))
    asyncio.run(take(broker.address(CONSUMER), "reject"))
    observer.begin()
    asyncio.run(publish(broker.address(PUBLISHER), "poison"))
    asyncio.run(take(broker.address(CONSUMER), "reject"))
    for _ in range(2):
        dead = [message for message in observer.messages() if message.event == "dead"]
        assert [(message.marker, message.channel, message.correlation_id) for message in dead] == [
            ("poison", "work.dead", "c-1")
        ]
    assert "queue work.dead" not in observer.backlog()


def test_an_exchange_that_comes_later_is_observed_from_its_first_message_on(broker):
    late = BROKER.kind, {**BROKER.options, "exchanges": ("later",)}
    observer = broker.recipe.observe("bus", broker.plan.direct, late[1])
    try:
        observer.begin()

        async def story() -> None:
            async with connected(broker.address(PUBLISHER)) as channel:
                exchange = await channel.declare_exchange("later", TOPIC, auto_delete=False)
                await exchange.publish(aio_pika.Message(b"plain", message_id="m-9"), "k", mandatory=False)

        asyncio.run(story())
        (message,) = observer.messages()
        assert (message.marker, message.channel, message.key) == ("m-9", "later", "k")
    finally:
        observer.close()


def test_what_no_queue_takes_is_returned_although_it_is_observed(broker, observer):
    observer.begin()

    async def story() -> None:
        connection = await aio_pika.connect(broker.address(PUBLISHER))
        try:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange, _ = await declare(channel)
            with pytest.raises(aio_pika.exceptions.DeliveryError):
                await exchange.publish(aio_pika.Message(b"x"), "nobody.wants.this", mandatory=True)
        finally:
            await connection.close()

    asyncio.run(story())
    assert [message.key for message in observer.messages()] == ["nobody.wants.this"]


def test_an_observer_of_no_exchange_in_particular_sees_all_but_its_own(broker):
    observer = broker.recipe.observe("bus", broker.plan.direct, {})
    try:
        observer.begin()
        asyncio.run(publish(broker.address(PUBLISHER), "e1"))

        async def straight() -> None:
            async with connected(broker.address(PUBLISHER)) as channel:
                await channel.default_exchange.publish(aio_pika.Message(b"", message_id="m-1"), "work")

        asyncio.run(straight())
        assert [(one.marker, one.channel) for one in observer.messages()] == [("e1", "events"), ("m-1", "work")]
    finally:
        observer.close()


def test_a_killed_broker_is_not_called_drained_and_keeps_durable_messages(broker, observer):
    observer.begin()
    asyncio.run(publish(broker.address(PUBLISHER), "kept"))
    assert [message.marker for message in observer.messages()] == ["kept"]
    broker.kill()
    assert observer.backlog() == {"queues": -1}
    broker.start()
    assert wait_until(lambda: observer.backlog().get("queue work")) == 1

    asyncio.run(publish(broker.address(PUBLISHER), "after"))

    def seen() -> bool:
        try:
            return "after" in [message.marker for message in observer.messages()]
        except ChaosError:  # the connection comes back within a moment
            return False

    assert wait_until(seen), "published once, before the observer is back or after"


def test_closing_leaves_no_queue_and_no_process(broker):
    observer = broker.observer()
    observer.begin()
    observer.backlog()
    observer.close()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert all(
        "erl" not in (Path("/proc") / pid / "cmdline").read_text() or int(pid) in broker.family() for pid in children
    )
    other = broker.observer()
    try:
        other.begin()
        assert other._queues is not None
        counted = other._queues.count() or {}
        assert sum(name.startswith("pytest-chaos.") for name in counted) == 1
    finally:
        other.close()


def test_the_driver_publishes_a_message_with_its_identity_and_says_when_nobody_takes_it(broker, observer):
    async def prepare() -> None:
        async with connected(broker.address(CONSUMER)) as channel:
            await declare(channel)

    asyncio.run(prepare())
    observer.begin()
    publisher = broker.recipe.publisher("bus", broker.address(PUBLISHER))
    sent = {"x-correlation-id": "c-9", "message-id": "m-9"}
    try:
        assert publisher.publish("events", {"id": "p1"}, key="user.created", headers=sent, timeout_s=10) == "m-9"
        publisher.publish("", b"straight", key="work", headers={"message-id": "m-10"}, timeout_s=10)
        with pytest.raises(PublishError, match="bus: : ") as unroutable:
            publisher.publish("", b"nowhere", key="no.such.queue", headers={}, timeout_s=10)
        assert unroutable.value.certain
        with pytest.raises(PublishError, match=r"no exchange 'no\.such'") as absent:
            publisher.publish("no.such", b"nowhere", key="", headers={}, timeout_s=10)
        assert absent.value.certain
        publisher.publish("", b"and on", key="work", headers={"message-id": "m-11"}, timeout_s=10)
    finally:
        publisher.close()
        publisher.close()
    (message,) = wait_until(lambda: [one for one in observer.messages() if one.event == "published"])
    assert (message.marker, message.correlation_id) == ("p1", "c-9")
    assert [asyncio.run(take(broker.address(CONSUMER), "ack")) for _ in range(3)] == ["m-9", "m-10", "m-11"]


def test_a_publish_to_a_rabbitmq_that_is_away_certainly_failed(broker):
    publisher = broker.recipe.publisher("bus", "amqp://guest:guest@127.0.0.1:1/")
    with pytest.raises(PublishError, match="bus: events: ") as away:
        publisher.publish("events", b"x", key="", headers={}, timeout_s=3)
    assert away.value.certain
    publisher.close()


def test_what_the_node_cannot_evaluate_is_an_error_in_its_own_words(broker):
    erlang = Erlang.of(broker.plan.direct)
    try:
        assert erlang.ask('"a\\nb".') == ["a", "b"]
        with pytest.raises(ChaosError, match="badmatch"):
            erlang.ask("1 = 2.")
        assert erlang.ask('"still there".') == ["still there"]
    finally:
        erlang.close()


def test_an_observers_queue_is_made_anew_with_its_bindings(broker):
    name = f"{OWN}kept"

    async def story():
        async with connected(broker.recipe.address(broker.plan.upstreams[PUBLISHER])) as channel:
            queue = await channel.declare_queue(name, durable=True, arguments={"x-expires": 60_000})
            await queue.bind("amq.topic", "a.#")
            restore = await asyncio.to_thread(broker.recipe.keep, broker.plan.direct)
            await queue.delete(if_unused=False, if_empty=False)
            await asyncio.to_thread(restore)
            await asyncio.to_thread(restore)
            exchange = await channel.get_exchange("amq.topic")
            await exchange.publish(aio_pika.Message(b"x"), "a.b")
            again = await channel.declare_queue(name, durable=True, arguments={"x-expires": 60_000})
            assert (await again.get(timeout=5, no_ack=True)).body == b"x"
            await again.delete()

    asyncio.run(story())
