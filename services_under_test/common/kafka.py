"""Kafka as the shop uses it.

An idempotent producer that waits for the acknowledgement, a consumer that commits after the effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services_under_test.common import correlation
from services_under_test.common.outbox import Event
from services_under_test.common.strategies import Strategies

_REQUEST_MS = 5_000
_STOP_S = 2.0
_PARTITIONS = 3


class Publisher:
    """Publishes events to one topic, keyed by aggregate, so that the order of each is kept.

    The producer is idempotent and repeats by itself, for as long as the broker is away; only what cannot be repeated
    is raised.
    """

    def __init__(self, bootstrap: str, topic: str, strategies: Strategies) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._strategies = strategies
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        """Connect, and create the topic; raises KafkaError when the broker is away."""
        await ensure_topic(self._bootstrap, self._topic)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=_REQUEST_MS,
            retry_backoff_ms=100,
        )
        try:
            await self._producer.start()
        except BaseException:
            await _stop(self._producer)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections, within two seconds: what is not acknowledged is still in the outbox."""
        await _stop(self._producer)

    async def publish(self, event: Event, **headers: str) -> None:
        """Publish one event and wait until all in-sync replicas have it."""
        sent_id = self._strategies.outbound_correlation(event.correlation_id)
        all_headers = {
            "event-id": event.id,
            "event-type": event.type,
            **({correlation.HEADER: sent_id} if sent_id else {}),
            **headers,
        }
        # A list of its own for every send: the instrumentation appends to the list that it is given.
        pairs = [(name, value.encode()) for name, value in all_headers.items()]
        await self._producer.send_and_wait(self._topic, event.body(), key=event.key.encode(), headers=pairs)


async def ensure_topic(bootstrap: str, topic: str) -> None:
    """Create a topic unless it is there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_MS)
    try:
        await admin.start()
        if topic not in await admin.list_topics():
            await admin.create_topics([NewTopic(topic, num_partitions=_PARTITIONS, replication_factor=1)])
    finally:
        await admin.close()


async def consume(
    bootstrap: str, topic: str, *, group: str, instance: str, session_s: float, handle: Callable[[Any], Awaitable[None]]
) -> None:
    """Hand over records one by one, and commit each offset after its record has been handled; for ever.

    ``instance`` makes the membership static: a consumer that was killed takes its partitions up again at once, not
    after the session's time-out. What handle raises ends it, with the record not committed.
    """
    await ensure_topic(bootstrap, topic)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(session_s * 1000),
        heartbeat_interval_ms=int(session_s * 1000 / 6),
        request_timeout_ms=_REQUEST_MS + int(session_s * 1000),
        metadata_max_age_ms=10_000,
        retry_backoff_ms=100,
    )
    try:
        await consumer.start()
        while True:
            record = await consumer.getone()
            await handle(record)
            await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
    finally:
        await _stop(consumer)


def carrier(record: Any) -> Mapping[str, str]:
    """Give a record's headers as text; of several of one name the last, as a re-sent record has."""
    return {name: value.decode("utf-8", "replace") for name, value in record.headers or () if value is not None}


async def _stop(client: Any) -> None:
    try:
        async with asyncio.timeout(_STOP_S):
            await client.stop()
    except TimeoutError:
        return
