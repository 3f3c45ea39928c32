"""Counts what a RabbitMQ published or delivered, in the copies that it makes of every message (its firehose)."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from pytest_chaos.brokers.base import LoopThread
from pytest_chaos.brokers.rabbitmq.queues import OWN, drained
from pytest_chaos.errors import ChaosError

T = TypeVar("T")
_CALL_S = 4.0
_numbers = itertools.count(1)


class Firehose:
    """Notes when copies came with routing key ``key`` (``publish.EXCHANGE``, ``deliver.QUEUE``) that are ``wanted``.

    ``wanted`` is given a copy's headers (https://www.rabbitmq.com/docs/firehose). Raises ChaosError when the broker
    does not answer.
    """

    def __init__(self, name: str, direct: str, key: str, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        try:
            import aio_pika  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to disturb a RabbitMQ install the extra: pip install 'pytest-chaos[rabbitmq]'"
            raise ChaosError(msg) from missing
        self._library: Any = aio_pika
        self._name = name
        self._url = plain(direct)
        self._key = key
        self._wanted = wanted
        self._own = f"{OWN}count.{os.getpid()}.{next(_numbers)}.{time.monotonic_ns()}"
        self._thread: LoopThread | None = None
        self._connection: Any = None
        self.times: list[int] = []

    def open(self) -> None:
        """Begin to count."""
        self._call(self._open())

    def drain(self) -> None:
        """Return when everything that the broker had for us by now is counted."""
        if self._connection is not None:
            self._call(self._drain())

    def close(self) -> None:
        """Disconnect; the queue goes with the connection. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            gone = (TimeoutError, OSError, RuntimeError, self._library.exceptions.AMQPError)
            with contextlib.suppress(*gone):
                thread.call(connection.close(), timeout_s=_CALL_S)
        thread.stop()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            self._thread = LoopThread(f"firehose-{self._name}")
        try:
            return self._thread.call(work, timeout_s=_CALL_S)
        except (TimeoutError, OSError, RuntimeError, self._library.exceptions.AMQPError) as wrong:
            msg = f"{self._name}: its firehose cannot be read: {str(wrong) or f'no answer within {_CALL_S:g} s'}"
            raise ChaosError(msg) from wrong

    async def _open(self) -> None:
        self._connection = await self._library.connect(self._url, timeout=_CALL_S)
        self._channel = await self._connection.channel()
        queue = await self._channel.declare_queue(self._own, exclusive=True, auto_delete=True)
        await queue.bind("amq.rabbitmq.trace", routing_key=self._key)
        await queue.consume(self._take, no_ack=True)

    async def _drain(self) -> None:
        await drained(await self._channel.get_underlay_channel(), self._own)

    async def _take(self, incoming: Any) -> None:
        if self._wanted(dict(incoming.headers)):
            self.times.append(time.monotonic_ns())


def plain(direct: str) -> str:
    """Give the URL without what it tells the harness alone."""
    return urllib.parse.urlunsplit(urllib.parse.urlsplit(direct)._replace(query=""))
