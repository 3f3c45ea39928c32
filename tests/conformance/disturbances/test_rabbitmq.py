"""A real RabbitMQ that loses routes, has no disk left, is given poison, and takes deliveries back."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pytest_chaos import BrokerFull, ForceRebalance, PoisonMessage, Redeliver, Unroutable
from pytest_chaos.errors import ChaosError, FaultError

aio_pika = pytest.importorskip("aio_pika")


@contextlib.asynccontextmanager
async def channel(up):
    connection = await aio_pika.connect(up.address("bus"))
    try:
        yield await connection.channel(on_return_raises=True)
    finally:
        await connection.close()


async def publish(exchange, key: str, *, mandatory: bool = True, timeout_s: float = 5, **headers: object) -> str:
    """Give what the client sees: confirmed, returned or nothing."""
    message = aio_pika.Message(b"{}", headers=headers)
    try:
        await exchange.publish(message, key, mandatory=mandatory, timeout=timeout_s)
    except aio_pika.exceptions.DeliveryError as returned:
        return str(returned.frame.reply_text)
    except TimeoutError:
        return "nothing"
    return "confirmed"


async def depth(one, queue: str) -> int:
    return int((await one.declare_queue(queue, passive=True)).declaration_result.message_count)


def test_what_nobody_takes_is_returned_or_vanishes_and_the_binding_comes_back_exactly(up, name):
    async def story():
        async with channel(up) as one:
            exchange = await one.declare_exchange(name, "headers")
            queue = await one.declare_queue(name + ".q", durable=True)
            await queue.bind(exchange, "k", arguments={"x-match": "all", "tenant": "a"})
            with up.fault(Unroutable("bus", name)) as fault:
                said = [await publish(exchange, "k", mandatory=flag, tenant="a") for flag in (True, False)]
            assert said == ["NO_ROUTE", "confirmed"]
            assert await depth(one, queue.name) == 0
            assert fault.hits == 2
            assert await publish(exchange, "k", tenant="a") == "confirmed"
            assert await publish(exchange, "k", tenant="b") == "NO_ROUTE", "its arguments count as before"
            assert await depth(one, queue.name) == 1

    asyncio.run(story())


def test_only_the_binding_that_is_named_is_taken_away(up, name):
    async def story():
        async with channel(up) as one:
            exchange = await one.declare_exchange(name, "direct")
            queue = await one.declare_queue(name + ".q", durable=True)
            for key in ("kept", "lost"):
                await queue.bind(exchange, key)
            with up.fault(Unroutable("bus", name, queue=queue.name, key="lost")) as fault:
                assert await publish(exchange, "kept") == "confirmed"
                assert await publish(exchange, "lost") == "NO_ROUTE"
            assert fault.hits == 1
            assert await publish(exchange, "lost") == "confirmed"

    asyncio.run(story())


def test_a_binding_whose_queue_is_deleted_meanwhile_has_gone_with_it(up, name):
    async def story():
        async with channel(up) as one:
            exchange = await one.declare_exchange(name, "direct")
            queue = await one.declare_queue(name + ".q", durable=True)
            await queue.bind(exchange, "k")
            with up.fault(Unroutable("bus", name)) as fault:
                await queue.delete()
            assert "the queue is gone" in fault.undo.proof

    asyncio.run(story())


def test_a_full_disk_blocks_publishers_and_consumers_go_on(up, name):
    async def story():
        async with channel(up) as one, channel(up) as other:
            queue = await one.declare_queue(name, durable=True)
            await publish(one.default_exchange, name)
            with up.fault(BrokerFull("bus")) as full:
                assert await publish(one.default_exchange, name, timeout_s=0.5) == "nothing"
                found = await (await other.get_queue(name)).get(timeout=5)
                await found.ack()
            assert full.hits == 1
            assert "alarm is gone" in full.undo.proof
            assert await publish(one.default_exchange, name) == "confirmed"
            assert queue.name == name

    asyncio.run(story())


def test_poison_waits_in_the_queue_for_a_consumer_that_cannot_read_it(up, name):
    async def story():
        async with channel(up) as one:
            queue = await one.declare_queue(name, durable=True)
            with up.fault(PoisonMessage("bus", name, count=2)) as poison:
                found = [await queue.get(timeout=5) for _ in range(2)]
                for incoming in found:
                    await incoming.ack()
            assert poison.hits == 2
            with pytest.raises(UnicodeDecodeError):
                found[0].body.decode()
            assert found[0].headers["x-chaos-poison"] == "1"
            assert found[0].message_id != found[1].message_id

    asyncio.run(story())


def test_what_a_consumer_has_in_hand_is_delivered_again(up, name):
    seen: list[bool] = []

    async def hold(incoming):
        seen.append(bool(incoming.redelivered))

    async def take(count):
        async with channel(up) as one:
            queue = await one.get_queue(name)
            for _ in range(count):
                incoming = await queue.get(timeout=5)
                seen.append(bool(incoming.redelivered))
                await incoming.ack()

    async def story():
        async with channel(up) as one:
            await one.declare_queue(name, durable=True)
            for _ in range(3):
                await publish(one.default_exchange, name)
        with up.fault(Redeliver("bus", name, count=3)) as again:
            connection = await aio_pika.connect(up.address("bus"))
            gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            connection.close_callbacks.add(lambda _, why: gone.done() or gone.set_result(str(why)))
            await (await (await connection.channel()).get_queue(name)).consume(hold)
            assert "CONNECTION_FORCED" in await asyncio.wait_for(gone, 10)
            await connection.close()
            await take(3)
        assert seen == [False] * 3 + [True] * 3
        assert again.hits == 3
        assert "1 connections with 3 messages" in again.proof

    asyncio.run(story())


def test_a_queue_whose_messages_nobody_holds_was_not_hit(up, name):
    async def story():
        async with channel(up) as one:
            queue = await one.declare_queue(name, durable=True)
            await publish(one.default_exchange, name)
            with up.fault(Redeliver("bus", name)) as again:
                await queue.get(timeout=5, no_ack=True)
            assert (again.hits, again.proof) == (0, "")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (ForceRebalance("bus", "g"), "bus is a RabbitMQ: its consumers share no partitions"),
        (Unroutable("bus", "nowhere"), "exchange='nowhere'.*no such exchange"),
        (Unroutable("bus", "amq.topic"), "amq.topic has no such binding; it has: none"),
        (PoisonMessage("bus", "nowhere"), "channel='nowhere'.*NO_ROUTE"),
        (Redeliver("bus", "nowhere"), "channel='nowhere'.*no such queue"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_there_is(up, fault, says):
    with pytest.raises((FaultError, ChaosError), match=says), up.fault(fault):
        pass
