"""What went through a Kafka's topics, and how far each consumer group is; read beside all links, by no group."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from pytest_chaos.brokers._marks import body_text, correlation, lower, marker, text
from pytest_chaos.brokers.base import LoopThread
from pytest_chaos.brokers.kafka.admin import Admin, Place
from pytest_chaos.brokers.kafka.connections import Connections
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.message import Message

T = TypeVar("T")
_CALL_S = 4.0
_REQUEST_MS = 1_500
_FETCH_MS = 100
_NEW_TOPICS_S = 0.25


class KafkaObserver:
    """Follows the declared topics (else all that are not internal) from a thread of its own."""

    def __init__(self, name: str, direct: str, topics: tuple[str, ...], pointer: str) -> None:
        try:
            import aiokafka  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to observe a Kafka install the extra: pip install 'pytest-chaos[kafka]'"
            raise ChaosError(msg) from missing
        self._library: Any = aiokafka
        self._name = name
        self._direct = direct
        host, _, port = direct.rpartition(":")
        self._where = host, int(port)
        self._declared = topics
        self._pointer = pointer
        self._thread: LoopThread | None = None
        self._consumer: Any = None
        self._admin: Admin | None = None
        self._next: dict[Place, int] = {}
        self._since: dict[Place, int] = {}
        self._seen: list[Message] = []
        self._lives = 0
        self._connections = Connections()
        self._opening: asyncio.Task[None] | None = None
        self._moved: asyncio.Condition

    def begin(self) -> None:
        """Start a window behind the last record of each partition; raise ChaosError when the broker does not answer."""
        self._ask(self._begin())

    def messages(self) -> list[Message]:
        """List the records since ``begin``, then per group what it has committed past (settled) or not (pending)."""
        return self._ask(self._messages())

    def backlog(self) -> dict[str, int]:
        """Count, per topic and group, records that were not committed past; -1 when the broker does not answer."""
        try:
            return self._ask(self._backlog())
        except ChaosError:
            return dict.fromkeys(self._declared or ("topics",), -1)

    def hold(self) -> None:
        """Have everything that was published by now in memory."""
        self.messages()

    def lost(self, at_ns: int) -> None:
        """Follow every topic from its beginning: offsets have begun anew."""
        self._disconnect()
        self._seen = [one for one in self._seen if one.at_ns < at_ns and self._in_window(one)]
        self._next.clear()
        self._since.clear()
        self._lives += 1

    def close(self) -> None:
        """Disconnect and end the thread; safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._disconnect(thread)
        thread.stop(last=self._connections.close)

    def _disconnect(self, thread: LoopThread | None = None) -> None:
        """Drop the connections; the next call makes new ones and goes on where these were."""
        thread = thread or self._thread
        if thread is not None:
            with contextlib.suppress(TimeoutError, OSError, self._library.errors.KafkaError):
                thread.call(self._leave(), timeout_s=_CALL_S)

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            self._thread = LoopThread(f"observe-{self._name}")
        try:
            with socket.create_connection(self._where, _CALL_S):
                pass  # an absent broker is told at once: the library would go on trying
            return self._thread.call(work, timeout_s=_CALL_S)
        except (TimeoutError, OSError, self._library.errors.KafkaError) as wrong:
            work.close()
            self._disconnect()
            msg = f"{self._name}: its topics cannot be read: {str(wrong) or f'no answer within {_CALL_S:g} s'}"
            raise ChaosError(msg) from wrong

    async def _connect(self) -> None:
        """Have connections. A caller whose time is over does not cut their making: aiokafka would leave them open."""
        if self._consumer is None:
            self._opening = self._opening or asyncio.create_task(self._open())
            try:
                await asyncio.shield(self._opening)
            finally:
                if self._opening.done():
                    self._opening = None

    async def _open(self) -> None:
        options = {"bootstrap_servers": self._direct, "request_timeout_ms": _REQUEST_MS}
        consumer = self._library.AIOKafkaConsumer(
            **options, group_id=None, fetch_max_wait_ms=_FETCH_MS, enable_auto_commit=False, metadata_max_age_ms=1_000
        )
        admin = Admin(self._library, self._direct, _REQUEST_MS)
        self._connections.hold(consumer, *admin.clients)
        try:
            await consumer.start()
            await admin.start()
        except (OSError, self._library.errors.KafkaError):
            await asyncio.gather(consumer.stop(), admin.close(), return_exceptions=True)
            raise
        self._admin = admin
        self._moved = asyncio.Condition()
        self._consumer = consumer
        self._assign()
        self._follower = asyncio.create_task(self._follow())

    async def _leave(self) -> None:
        if self._opening is not None:
            await asyncio.wait({self._opening})  # it ends by its own time limits
            self._opening = None
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        try:
            if consumer is not None:
                self._follower.cancel()
                # Exceptions as results: aiokafka's own tasks may end this with their cancellation.
                await asyncio.gather(self._follower, return_exceptions=True)
                await asyncio.gather(consumer.stop(), return_exceptions=True)
            if admin is not None:
                await asyncio.gather(admin.close(), return_exceptions=True)
        finally:
            self._connections.close()

    async def _follow(self) -> None:
        """Take records as they come and topics as they appear, until cancelled; an absent broker is asked again."""
        looked = 0.0
        while True:
            self._connections.hold()
            try:
                if time.monotonic() - looked > _NEW_TOPICS_S:
                    await self._assign_new()
                    looked = time.monotonic()
                if not self._next:
                    await asyncio.sleep(_NEW_TOPICS_S)
                    continue
                batches = await self._consumer.getmany(timeout_ms=_FETCH_MS)
            except (OSError, self._library.errors.KafkaError):
                await asyncio.sleep(_NEW_TOPICS_S)
                continue
            if batches:
                await self._take(batches)

    async def _assign_new(self) -> None:
        places = await self._places()
        new = [place for place in places if place not in self._next]
        if not new:
            return
        self._next.update(dict.fromkeys(new, 0))
        self._assign()

    def _assign(self) -> None:
        partition = self._library.TopicPartition
        self._consumer.assign([partition(*place) for place in self._next])
        for place, offset in self._next.items():
            self._consumer.seek(partition(*place), offset)

    async def _places(self) -> list[Place]:
        known = await self._asked().places()
        return [place for place in known if not self._declared or place[0] in self._declared]

    async def _take(self, batches: dict[Any, list[Any]]) -> None:
        async with self._moved:
            for where, records in batches.items():
                self._seen += [self._message(record) for record in records]
                self._next[where.topic, where.partition] = records[-1].offset + 1
            self._moved.notify_all()

    def _asked(self) -> Admin:
        """Give what answers; raise where there is no connection: no answer must not pass for an empty broker."""
        if self._admin is None:
            msg = "not connected"
            raise self._library.errors.KafkaConnectionError(msg)
        return self._admin

    async def _ends(self) -> dict[Place, int]:
        await self._assign_new()
        found = await self._asked().ends(self._next)
        self._connections.hold()
        return found

    async def _begin(self) -> None:
        await self._connect()
        self._since = await self._ends()
        self._seen = [message for message in self._seen if self._of_now(message) and self._in_window(message)]

    async def _messages(self) -> list[Message]:
        await self._connect()
        ends = await self._ends()
        async with self._moved:
            await self._moved.wait_for(lambda: all(self._next.get(place, 0) >= end for place, end in ends.items()))
        published = [message for message in self._seen if self._in_window(message)]
        progress = await self._progress()
        # Of what was lost with the broker's data nobody can say how far a group had come.
        return [*published, *_ended((one for one in published if self._of_now(one)), progress)]

    async def _backlog(self) -> dict[str, int]:
        await self._connect()
        progress, ends = await self._progress(), await self._ends()
        waiting: dict[str, int] = {}
        for group, committed in progress.items():
            for place, offset in committed.items():
                channel = f"{place[0]} group {group}"
                waiting[channel] = waiting.get(channel, 0) + max(0, ends.get(place, offset) - offset)
        return waiting

    async def _progress(self) -> dict[str, dict[Place, int]]:
        """Give each group's next offset; where it is assigned but never committed, that is where the window began."""
        found = await self._asked().committed(self._next)
        return {
            group: {place: self._since.get(place, 0) if offset is None else offset for place, offset in places.items()}
            for group, places in found.items()
        }

    def _of_now(self, message: Message) -> bool:
        return not self._lives or message.id.endswith(f"~{self._lives}")

    def _in_window(self, message: Message) -> bool:
        since = self._since.get((message.channel, message.partition or 0), 0)
        return not self._of_now(message) or (message.offset or 0) >= since

    def _message(self, record: Any) -> Message:
        headers = lower(dict(record.headers))
        value = record.value or b""
        place = f"{record.topic}:{record.partition}:{record.offset}" + (f"~{self._lives}" if self._lives else "")
        return Message(
            id=f"{self._name}:{place}",
            broker=self._name,
            channel=record.topic,
            event="published",
            marker=marker(value, self._pointer) or place,
            at_ns=time.monotonic_ns(),
            key=text(record.key),
            partition=record.partition,
            offset=record.offset,
            correlation_id=correlation(headers),
            traceparent=headers.get("traceparent", ""),
            headers=headers,
            body=body_text(value),
        )


def _ended(published: Iterable[Message], progress: dict[str, dict[Place, int]]) -> Iterator[Message]:
    now = time.monotonic_ns()
    for group, committed in sorted(progress.items()):
        for message in published:
            offset = committed.get((message.channel, message.partition or 0))
            if offset is None:
                continue
            event: Any = "settled" if (message.offset or 0) < offset else "pending"
            yield Message(
                id=f"{message.id}:{event}:{group}",
                broker=message.broker,
                channel=message.channel,
                event=event,
                marker=message.marker,
                at_ns=now,
                key=message.key,
                group=group,
                partition=message.partition,
                offset=message.offset,
                correlation_id=message.correlation_id,
            )
