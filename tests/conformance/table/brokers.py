"""The client libraries of the brokers: one that publishes and one that consumes on each.

The work of a publish is the message, found at the broker; a consumer's is its acknowledgement (Kafka: its commit).
What a consumer is to receive, and what became of it, goes past the links, straight to the broker (:class:`Direct`).
"""

from __future__ import annotations

import asyncio
import contextlib

from pytest_chaos.wire.table import Facts
from tests.conformance.table.clients import ANSWERED, LIMIT_S, Client, named
from tests.conformance.table.loop import Loop

START_S = 4.0
CLOSE_S = 0.5
RECEIVED = "received"
# As long as the longest fetch that was under way before a fault: a message that comes then is fetched under the fault.
FETCH_MS = 100
TOPIC = "work"
KEY = "k"


class Async(Client):
    """An asynchronous library, on a loop of its own. Opening is part of the first call, and of its time limit."""

    direct = None

    def open(self):
        self._loop = Loop()
        self._ready = False

    def ask(self, marker):
        return self._loop.run(self._story(marker), self.limit_s)

    limit_s = LIMIT_S

    def call(self, marker):
        try:
            return self.ask(marker)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is what is asked for
            return named(error)

    async def _story(self, marker):
        if not self._ready:
            await self.connect()
            self._ready = True
        return await self.act(marker)

    def close(self):
        if self._loop.closed:
            return
        with contextlib.suppress(Exception):
            self._loop.run(self.leave(), CLOSE_S)
        self._loop.close()


class AioPika(Async):
    name, protocol, node = "aio-pika publishing", "AMQP", "rabbitmq"
    facts = (Facts(protocol="amqp", operation=f"publish work {KEY}"),)

    def words(self):
        return {"channel": self.queue, "queue": self.queue, "exchange": self.exchange, "key": KEY}

    @property
    def queue(self):
        return f"q-{self.own}"

    @property
    def exchange(self):
        return f"x-{self.own}"

    async def connect(self):
        import aio_pika

        # `connect`, and not `connect_robust`: what is asked is what one connection sees.
        self._connection = await aio_pika.connect(self.address)
        self._channel = await self._connection.channel()

    async def act(self, marker):
        import aio_pika

        durable = aio_pika.DeliveryMode.PERSISTENT
        message = aio_pika.Message(marker.encode(), delivery_mode=durable)
        exchange = await self._channel.get_exchange(self.exchange, ensure=False)
        confirmed = await exchange.publish(message, KEY)
        return ANSWERED if type(confirmed).__name__ == "Ack" else "returned"

    async def leave(self):
        await self._connection.close()

    def prepare(self):
        self.direct.queue(self.queue, self.exchange)

    def done(self, markers):
        return self.direct.published(self.queue, markers)


class AioPikaConsumer(AioPika):
    name, consumes = "aio-pika consuming", True
    facts = (
        Facts(protocol="amqp", operation="consume work"),
        Facts(protocol="amqp", operation="deliver work", named=True),
        Facts(protocol="amqp", operation="ack work", named=True, answered=False),
    )

    async def connect(self):
        await super().connect()
        self._came = asyncio.Queue()
        queue = await self._channel.get_queue(self.queue, ensure=False)
        await queue.consume(self._came.put)

    async def act(self, marker):
        message = await self._came.get()
        await asyncio.sleep(self.work_s)
        await message.ack()
        return RECEIVED if message.body.decode(errors="replace") == marker else f"{RECEIVED}, another body"

    def before(self, marker):
        self.direct.offer(self.queue, marker)

    def done(self, markers):
        return self.direct.taken(self.queue, markers)


class Aiokafka(Async):
    name, protocol, node = "aiokafka publishing", "Kafka", "kafka"
    facts = (Facts(protocol="kafka", operation=f"Produce {TOPIC}"),)
    limit_s = LIMIT_S * 2  # its own limits come first
    topic = TOPIC

    def words(self):
        return {"channel": self.topic, "topic": self.topic}

    async def connect(self):
        import aiokafka

        # One attempt within the time limit: the library has no other way to switch its retries off.
        self._client = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.address, acks="all", request_timeout_ms=int(LIMIT_S * 1000), retry_backoff_ms=5000
        )
        await self._client.start()

    async def act(self, marker):
        await self._client.send_and_wait(self.topic, marker.encode())
        return ANSWERED

    async def leave(self):
        await self._client.stop()

    def prepare(self):
        self.direct.topic(self.topic)

    def done(self, markers):
        return self.direct.stored(self.topic, markers)


class AiokafkaConsumer(Aiokafka):
    name, consumes = "aiokafka consuming", True
    facts = (
        Facts(protocol="kafka", operation=f"Fetch {TOPIC}", named=True),
        Facts(protocol="kafka", operation="OffsetCommit g"),
    )

    def words(self):
        return {**super().words(), "group": self.group}

    @property
    def topic(self):
        return f"t-{self.own}"

    @property
    def group(self):
        return f"g-{self.own}"

    async def connect(self):
        import aiokafka

        self._client = aiokafka.AIOKafkaConsumer(
            self.topic, bootstrap_servers=self.address, group_id=self.group, enable_auto_commit=False,
            auto_offset_reset="earliest", request_timeout_ms=int(LIMIT_S * 1000), heartbeat_interval_ms=200,
            fetch_max_wait_ms=FETCH_MS, retry_backoff_ms=100,
        )  # fmt: skip
        await self._client.start()

    async def act(self, marker):
        import aiokafka

        record = await self._client.getone()
        await self._client.commit({aiokafka.TopicPartition(self.topic, 0): record.offset + 1})
        return RECEIVED if record.value.decode(errors="replace") == marker else f"{RECEIVED}, another body"

    def before(self, marker):
        self.direct.produce(self.topic, marker)

    def done(self, markers):
        return self.direct.committed(self.group, self.topic, markers)


class RedisPy(Client):
    name, protocol, node = "redis-py adding", "Redis", "redis"
    facts = (Facts(protocol="resp", operation="XADD work"),)
    direct = None

    def words(self):
        return {"channel": self.stream, "stream": self.stream}

    @property
    def stream(self):
        return f"s-{self.own}"

    def open(self):
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.errors = (Exception,)
        self._client = redis.Redis.from_url(
            self.address, socket_timeout=LIMIT_S, socket_connect_timeout=LIMIT_S, retry=Retry(NoBackoff(), 0)
        )

    def ask(self, marker):
        self._client.xadd(self.stream, {"marker": marker})
        return ANSWERED

    def close(self):
        with contextlib.suppress(Exception):
            self._client.close()

    def done(self, markers):
        return self.direct.added(self.stream, markers)


class RedisPyConsumer(RedisPy):
    name, consumes = "redis-py reading", True
    facts = (Facts(protocol="resp", operation="XREADGROUP work"), Facts(protocol="resp", operation="XACK work"))

    def words(self):
        return {**super().words(), "group": "g"}

    def ask(self, marker):
        found = self._client.xreadgroup("g", "c", {self.stream: ">"}, count=1)
        if not found:
            return "nothing"
        # RESP3 answers with a map of streams, RESP2 with a list.
        entries = found[self.stream.encode()] if isinstance(found, dict) else found[0][1]
        while isinstance(entries[0], list):
            entries = entries[0]
        ((entry, fields),) = entries
        self._client.xack(self.stream, "g", entry)
        return RECEIVED if (fields or {}).get(b"marker") == marker.encode() else f"{RECEIVED}, another body"

    def prepare(self):
        self.direct.group(self.stream)

    def before(self, marker):
        self.direct.offer(self.stream, marker)

    def done(self, markers):
        return self.direct.acknowledged(self.stream, markers)


BROKERS = (AioPika, AioPikaConsumer, Aiokafka, AiokafkaConsumer, RedisPy, RedisPyConsumer)
