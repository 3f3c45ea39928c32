"""RabbitMQ as the shop uses it.

One topic exchange, a durable queue for each subscriber, its dead letters, confirmed publishing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
    FieldValue,
    HeadersType,
)

from services_under_test.common import correlation
from services_under_test.common.outbox import Event
from services_under_test.common.strategies import Strategies

EXCHANGE = "microservices_events"
ROUTING_KEY = "user.created"
QUEUE = "email.user.created"
DEAD_EXCHANGE = "microservices_events.dead"
DEAD_QUEUE = "email.user.created.dead"
_CONNECT_S = 5.0
# A connection that died without a word is noticed after two of these.
_HEARTBEAT_S = 5
_PUBLISH_S = 10.0


async def connect(url: str) -> AbstractConnection:
    """Connect once; whoever loses the connection comes back by himself, with everything declared anew."""
    joint = "&" if "?" in url else "?"
    return await aio_pika.connect(f"{url}{joint}heartbeat={_HEARTBEAT_S}", timeout=_CONNECT_S)


async def declare_exchange(channel: AbstractChannel) -> AbstractExchange:
    """Declare the exchange of all events."""
    return await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)


async def declare_email_queue(channel: AbstractChannel) -> AbstractQueue:
    """Declare the queue of ``email`` and its dead letters.

    Durable, so that what comes while nobody listens is kept (rule D9).
    """
    dead = await channel.declare_exchange(DEAD_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
    dead_queue = await channel.declare_queue(DEAD_QUEUE, durable=True)
    await dead_queue.bind(dead, QUEUE)
    arguments: dict[str, FieldValue] = {"x-dead-letter-exchange": DEAD_EXCHANGE, "x-dead-letter-routing-key": QUEUE}
    queue = await channel.declare_queue(QUEUE, durable=True, arguments=arguments)
    await queue.bind(await declare_exchange(channel), ROUTING_KEY)
    return queue


class Publisher:
    """Publishes events on a channel of its own.

    Each is persistent, mandatory, and done when the broker has confirmed it.

    The queues that must not miss an event are declared here as well, so that an event that comes before its first
    subscriber is kept.
    """

    def __init__(self, url: str, strategies: Strategies) -> None:
        self._url = url
        self._strategies = strategies
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def __aenter__(self) -> Self:
        """Connect and declare; raises what the client library raises when the broker is away."""
        self._connection = await connect(self._url)
        try:
            async with asyncio.timeout(_PUBLISH_S):
                channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                await self._strategies.publishers_queue(channel)
                self._exchange = await declare_exchange(channel)
        except BaseException:
            await self._connection.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def publish(self, event: Event) -> None:
        """Publish one event; raises when it was not confirmed within 10 s, or not routed to any queue."""
        assert self._exchange is not None
        sent_id = self._strategies.outbound_correlation(event.correlation_id)
        headers: HeadersType = {correlation.HEADER: sent_id} if sent_id else {}
        message = aio_pika.Message(
            event.body(),
            message_id=event.id,
            correlation_id=sent_id or None,
            type=event.type,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers=headers,
        )
        await self._exchange.publish(message, event.type, mandatory=self._strategies.mandatory, timeout=_PUBLISH_S)


async def consume(
    url: str,
    *,
    prefetch: int,
    declare: Callable[[AbstractChannel], Awaitable[AbstractQueue]],
    handle: Callable[[AbstractIncomingMessage], Awaitable[None]],
) -> None:
    """Consume until the connection, the channel or the consumer is gone.

    At most ``prefetch`` messages are in hand at once.
    """
    connection = await connect(url)
    async with connection:
        gone = asyncio.Event()
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        queue = await declare(channel)
        underlay = await channel.get_underlay_channel()
        # The broker cancels a consumer whose queue was deleted or moved; nothing else would tell.
        underlay.on_consumer_cancel_callbacks.add(lambda _: gone.set())
        channel.close_callbacks.add(lambda *_: gone.set())
        connection.close_callbacks.add(lambda *_: gone.set())
        await queue.consume(handle)
        await gone.wait()
        msg = "the consumer is gone"
        raise ConnectionError(msg)
