"""What was published to a RabbitMQ's exchanges, what waits in its queues, what was dead-lettered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import urllib.parse
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, TypeVar

from pytest_chaos.brokers._marks import body_text, correlation, lower, marker, text
from pytest_chaos.brokers.base import LoopThread
from pytest_chaos.brokers.rabbitmq.queues import OWN, Queues, drained
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.message import Message

T = TypeVar("T")
_CALL_S = 5.0
_RETRY_S = 0.1
_FIREHOSE = "amq.rabbitmq.trace"
_QUEUE_LIFE_MS = 600_000


class RabbitObserver:
    """Consumes the broker's own copies of what is published to the declared exchanges.

    The queue is bound to the firehose (https://www.rabbitmq.com/docs/firehose), never to an exchange of the system:
    what no queue takes stays unroutable, as it would be without an observer.

    Which message a consumer has acknowledged no broker tells: ``messages`` has ``published`` and ``dead``, ``backlog``
    the counts.
    """

    def __init__(
        self, name: str, direct: str, *, exchanges: tuple[str, ...], dead_letter_queues: tuple[str, ...], marker: str
    ) -> None:
        try:
            import aio_pika  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to observe a RabbitMQ install the extra: pip install 'pytest-chaos[rabbitmq]'"
            raise ChaosError(msg) from missing
        self._library: Any = aio_pika
        self._name = name
        url = urllib.parse.urlsplit(direct)
        told = urllib.parse.parse_qs(url.query)
        self._url = urllib.parse.urlunsplit(url._replace(query=""))
        self._queues: Queues | None = None
        if "dist" in told:
            self._queues = Queues(home=told["home"][0], dist_port=int(told["dist"][0]))
        elif "container" in told:
            self._queues = Queues(container=told["container"][0])
        self._exchanges = exchanges
        self._dead = dead_letter_queues
        self._pointer = marker
        self._own = f"{OWN}{os.getpid()}.{time.monotonic_ns()}"
        self._thread: LoopThread | None = None
        self._connection: Any = None
        self._seen: list[Message] = []
        self._dead_before: dict[str, int] = {}
        self._number = 0

    def begin(self) -> None:
        """Start a window; raise ChaosError when the broker does not answer."""
        self._ask(self._begin())

    def messages(self) -> list[Message]:
        """List what was published since ``begin``, and what lies in the dead letter queues since."""
        return self._ask(self._messages())

    def backlog(self) -> dict[str, int]:
        """Count ready and unacknowledged messages a queue (dead letter queues aside); -1 when the node is away."""
        found = self._queues.count() if self._queues is not None else None
        if found is None:
            return {"queues": -1}
        return {
            f"queue {name}": waiting.ready + waiting.unacked
            for name, waiting in found.items()
            if not name.startswith(OWN) and name not in self._dead
        }

    def hold(self) -> None:
        """Have everything that was published by now in memory."""
        self.messages()

    def lost(self, at_ns: int) -> None:
        """Take every dead letter that is there for one of this window; what was published is in memory."""
        del at_ns
        self._dead_before.clear()

    def close(self) -> None:
        """Remove the queue, disconnect and end the thread; safe to call twice."""
        if self._queues is not None:
            self._queues.close()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with contextlib.suppress(TimeoutError, OSError, self._library.exceptions.AMQPError):
            thread.call(self._leave(), timeout_s=_CALL_S)
        thread.stop()

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            self._thread = LoopThread(f"observe-{self._name}")
        try:
            return self._thread.call(work, timeout_s=_CALL_S)
        except (TimeoutError, OSError, RuntimeError, self._library.exceptions.AMQPError) as wrong:
            # RuntimeError is what aio-pika says of a connection that went away between two of its own steps.
            msg = f"{self._name}: its exchanges cannot be read: {str(wrong) or f'no answer within {_CALL_S:g} s'}"
            raise ChaosError(msg) from wrong

    async def _begin(self) -> None:
        await self._connect()
        await self._drain()
        self._seen.clear()
        self._dead_before = {queue: await self._depth(queue) for queue in self._dead}

    async def _messages(self) -> list[Message]:
        await self._connect()
        await self._drain()
        dead = [message for queue in self._dead for message in await self._read_dead(queue)]
        return [*self._seen, *dead]

    async def _connect(self) -> None:
        if self._connection is not None:
            await self._connection.connected.wait()  # after a restart of the broker it comes back by itself
            return
        # A robust connection comes back after a restart of the broker, with the queue, its bindings and the consumer.
        connection = await self._library.connect_robust(self._url, timeout=_CALL_S, reconnect_interval=_RETRY_S)
        self._channel = await connection.channel()
        lives = {"x-expires": _QUEUE_LIFE_MS}
        self._queue = await self._channel.declare_queue(self._own, durable=True, arguments=lives)
        for exchange in self._exchanges or ("#",):
            await self._queue.bind(_FIREHOSE, routing_key=f"publish.{exchange}")
        await self._queue.consume(self._take, no_ack=True)
        self._connection = connection

    async def _drain(self) -> None:
        """Wait until everything that the broker had for us by now has come, over a restart of the broker if need be."""
        while True:
            await self._connection.connected.wait()
            await self._channel.ready()
            try:
                await drained(await self._channel.get_underlay_channel(), self._own)
                return
            except (OSError, RuntimeError, self._library.exceptions.AMQPError):
                await asyncio.sleep(_RETRY_S)  # it is about to come back; the caller's time limit holds

    async def _take(self, incoming: Any) -> None:
        told = dict(incoming.headers)
        properties = told.get("properties") or {}
        key = text((told.get("routing_keys") or [""])[0])
        if key.startswith(OWN):
            return
        self._seen.append(
            self._message(
                incoming.body,
                "published",
                text(told.get("exchange_name")) or key,
                headers=properties.get("headers") or {},
                key=key,
                message_id=text(properties.get("message_id")),
                correlation_id=text(properties.get("correlation_id")),
            )
        )

    async def _depth(self, queue: str) -> int:
        try:
            async with self._connection.channel() as channel:
                found = await channel.get_queue(queue)
                return int(found.declaration_result.message_count or 0)
        except self._library.exceptions.AMQPError:  # nobody has made it yet
            return 0

    async def _read_dead(self, name: str) -> list[Message]:
        """Read without taking: what a channel got and did not acknowledge goes back when it closes, in its order."""
        found: list[Message] = []
        depth = await self._depth(name)
        if not depth:
            return found
        async with self._connection.channel() as channel:
            queue = await channel.get_queue(name)
            for number in range(depth):
                incoming = await queue.get(fail=False)
                if incoming is None:
                    break
                if number >= self._dead_before.get(name, 0):
                    found.append(
                        self._message(
                            incoming.body,
                            "dead",
                            name,
                            headers=incoming.headers or {},
                            key=text(incoming.routing_key),
                            message_id=text(incoming.message_id),
                            correlation_id=text(incoming.correlation_id),
                        )
                    )
        return found

    def _message(
        self,
        body: bytes,
        event: Literal["published", "dead"],
        channel: str,
        *,
        headers: Mapping[str, object],
        key: str,
        message_id: str,
        correlation_id: str,
    ) -> Message:
        known = lower(headers)
        self._number += 1
        return Message(
            id=f"{self._name}:{channel}:{self._number}",
            broker=self._name,
            channel=channel,
            event=event,
            marker=marker(body, self._pointer) or message_id or f"{channel}:{self._number}",
            at_ns=time.monotonic_ns(),
            key=key,
            correlation_id=correlation(known, correlation_id),
            traceparent=known.get("traceparent", ""),
            headers=known,
            body=body_text(body),
        )

    async def _leave(self) -> None:
        if self._connection is None:
            return
        await self._queue.delete(if_unused=False, if_empty=False)
        await self._connection.close()
