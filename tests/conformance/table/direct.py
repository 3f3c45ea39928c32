"""Past the links, straight to the brokers: what a consumer is to receive, and what became of every message."""

from __future__ import annotations

import collections
import contextlib
import time

from tests.conformance.table.brokers import KEY, START_S
from tests.conformance.table.loop import Loop

GONE_S = 3.0


class DirectRabbit:
    def __init__(self, address):
        self._address, self._loop = f"amqp://guest:guest@{address}/", Loop()

    def queue(self, name, exchange):
        """Declare a queue with an exchange of its own."""

        async def story(channel):
            queue = await channel.declare_queue(name, durable=True)
            await queue.bind(await channel.declare_exchange(exchange, durable=True), KEY)

        self._with(story)

    def offer(self, name, marker):
        """Put a message into a queue; raise where there is none."""

        async def story(channel):
            import aio_pika

            await channel.declare_queue(name, passive=True)
            durable = aio_pika.DeliveryMode.PERSISTENT
            await channel.default_exchange.publish(aio_pika.Message(marker.encode(), delivery_mode=durable), name)

        self._with(story)

    def published(self, name, markers):
        """Count, by marker, what lies in a queue."""
        found = collections.Counter(self._drain(name))
        return {marker: found[marker] for marker in markers}

    def taken(self, name, markers):
        """Tell, by marker, what does not lie in a queue any more once its consumers have gone."""
        deadline = time.monotonic() + GONE_S

        async def consumers(channel):
            return (await channel.declare_queue(name, passive=True)).declaration_result.consumer_count

        with contextlib.suppress(Exception):
            while self._with(consumers) and time.monotonic() < deadline:
                time.sleep(0.05)
        left = self._drain(name)
        return {marker: int(marker not in left) for marker in markers}

    def _drain(self, name):
        async def story(channel):
            import aio_pika

            found = []
            with contextlib.suppress(aio_pika.exceptions.ChannelNotFoundEntity):
                queue = await channel.declare_queue(name, passive=True)
                while (message := await queue.get(no_ack=True, fail=False)) is not None:
                    found.append(message.body.decode(errors="replace"))
                await queue.delete(if_unused=False, if_empty=False)
            return found

        return self._with(story)

    def _with(self, story):
        async def main():
            import aio_pika

            async with await aio_pika.connect(self._address) as connection, connection.channel() as channel:
                return await story(channel)

        return self._loop.run(main(), START_S)

    def close(self):
        self._loop.close()


class DirectKafka:
    def __init__(self, address):
        self._address, self._loop = address, Loop()
        self._offsets = {}

    def topic(self, name):
        """Make a topic, unless it is there."""

        async def story():
            import aiokafka.admin
            import aiokafka.errors

            async with _started(aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=self._address)) as admin:
                with contextlib.suppress(aiokafka.errors.TopicAlreadyExistsError):
                    await admin.create_topics([aiokafka.admin.NewTopic(name, 1, 1)])

        self._loop.run(story(), START_S)

    def produce(self, topic, marker):
        """Put a record into a topic."""

        async def story():
            import aiokafka

            async with aiokafka.AIOKafkaProducer(bootstrap_servers=self._address) as producer:
                return (await producer.send_and_wait(topic, marker.encode())).offset

        self._offsets[marker] = self._loop.run(story(), START_S)

    def stored(self, topic, markers):
        """Count, by marker, the records of a topic."""

        async def story():
            import aiokafka

            where = aiokafka.TopicPartition(topic, 0)
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=self._address) as consumer:
                consumer.assign([where])
                end = (await consumer.end_offsets([where]))[where]
                consumer.seek(where, 0)
                found = collections.Counter()
                while await consumer.position(where) < end:
                    batches = await consumer.getmany(where, timeout_ms=500)
                    found.update(one.value.decode(errors="replace") for batch in batches.values() for one in batch)
                return found

        found = self._loop.run(story(), START_S)
        return {marker: found[marker] for marker in markers}

    def committed(self, group, topic, markers):
        """Tell, by marker, which records a group has committed."""

        async def story():
            import aiokafka
            import aiokafka.admin

            async with _started(aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=self._address)) as admin:
                found = (await admin.list_consumer_group_offsets(group)).get(aiokafka.TopicPartition(topic, 0))
                return 0 if found is None else max(0, found.offset)

        upto = self._loop.run(story(), START_S)
        return {marker: int(self._offsets.get(marker, upto) < upto) for marker in markers}

    def close(self):
        self._loop.close()


@contextlib.asynccontextmanager
async def _started(admin):
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


class DirectRedis:
    def __init__(self, address):
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        host, _, port = address.rpartition(":")
        once = Retry(NoBackoff(), 0)
        self._redis = redis.Redis(
            host, int(port), socket_timeout=START_S, retry=once, decode_responses=True, encoding_errors="replace"
        )

    def added(self, stream, markers):
        """Count, by marker, the entries of a stream."""
        found = collections.Counter(fields.get("marker") for _, fields in self._redis.xrange(stream))
        self._redis.delete(stream)
        return {marker: found[marker] for marker in markers}

    def group(self, stream):
        """Make a stream with a group, unless it is there."""
        import redis

        with contextlib.suppress(redis.ResponseError):
            self._redis.xgroup_create(stream, "g", "0", mkstream=True)

    def offer(self, stream, marker):
        """Add an entry for the group."""
        self._redis.xadd(stream, {"marker": marker})

    def acknowledged(self, stream, markers):
        """Tell, by marker, which entries were delivered and acknowledged."""
        import redis

        entries = {fields.get("marker"): entry for entry, fields in self._redis.xrange(stream)}
        try:
            pending = {one["message_id"] for one in self._redis.xpending_range(stream, "g", "-", "+", 100)}
            (group,) = self._redis.xinfo_groups(stream)
        except redis.ResponseError:
            return dict.fromkeys(markers, 0)
        last = _order(group["last-delivered-id"])
        done = {marker: int(_order(entry) <= last and entry not in pending) for marker, entry in entries.items()}
        self._redis.delete(stream)
        return {marker: done.get(marker, 0) for marker in markers}

    def close(self):
        self._redis.close()


def _order(entry):
    return tuple(int(part) for part in entry.split("-"))
