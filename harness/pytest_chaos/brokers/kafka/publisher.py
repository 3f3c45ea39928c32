"""The driver's producer: one record at a time, confirmed by all replicas."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from pytest_chaos.brokers.base import Body, LoopThread, encoded
from pytest_chaos.brokers.kafka.connections import Connections
from pytest_chaos.errors import ChaosError, PublishError

_LEAVE_S = 5.0


class KafkaPublisher:
    """An aiokafka producer; it asks again by itself until its time is over, so one publish may be many attempts."""

    def __init__(self, name: str, address: str) -> None:
        try:
            import aiokafka  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to publish to a Kafka install the extra: pip install 'pytest-chaos[kafka]'"
            raise ChaosError(msg) from missing
        self._library: Any = aiokafka
        self._name = name
        self._address = address
        self._thread: LoopThread | None = None
        self._producer: Any = None
        self._connections = Connections()

    def publish(self, channel: str, body: Body, *, key: str, headers: Mapping[str, str], timeout_s: float) -> str:
        """Send one record; give ``partition/offset``."""
        self._thread = self._thread or LoopThread(f"publish-{self._name}")
        send = self._send(channel, encoded(body), key, headers, timeout_s)
        try:
            return self._thread.call(send, timeout_s=timeout_s)
        except (TimeoutError, OSError, self._library.errors.KafkaError) as wrong:
            reached = self._producer is not None
            self._leave()
            said = str(wrong) or f"no answer within {timeout_s:g} s"
            raise PublishError(f"{self._name}: {channel}: {said}", certain=not reached) from wrong

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._leave()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(last=self._connections.close)

    async def _send(self, topic: str, body: bytes, key: str, headers: Mapping[str, str], timeout_s: float) -> str:
        if self._producer is None:
            producer = self._library.AIOKafkaProducer(
                bootstrap_servers=self._address, acks="all", request_timeout_ms=max(1, int(timeout_s * 1000))
            )
            self._connections.hold(producer)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        self._connections.hold()
        sent = [(name, value.encode()) for name, value in headers.items()]
        record = await self._producer.send_and_wait(topic, body, key=key.encode() or None, headers=sent)
        return f"{record.partition}/{record.offset}"

    def _leave(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None and self._thread is not None:
            # A time limit: stop() waits for what was not confirmed.
            with contextlib.suppress(TimeoutError, OSError, self._library.errors.KafkaError):
                self._thread.call(producer.stop(), timeout_s=_LEAVE_S)
