"""The driver's publisher: persistent, mandatory, confirmed, one message at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from pytest_chaos.brokers.base import Body, LoopThread, encoded
from pytest_chaos.errors import ChaosError, PublishError

_LEAVE_S = 5.0


class RabbitPublisher:
    """An aio-pika channel in confirm mode; a message that no queue takes is an error, as for a careful publisher."""

    def __init__(self, name: str, address: str) -> None:
        try:
            import aio_pika  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to publish to a RabbitMQ install the extra: pip install 'pytest-chaos[rabbitmq]'"
            raise ChaosError(msg) from missing
        self._library: Any = aio_pika
        self._name = name
        self._address = address
        self._thread: LoopThread | None = None
        self._connection: Any = None
        self._channel: Any = None

    def publish(self, channel: str, body: Body, *, key: str, headers: Mapping[str, str], timeout_s: float) -> str:
        """Publish to an exchange (the empty string: the default one, ``key`` is the queue); give its id.

        The id is the header ``message-id``, else the correlation id: the same in every run of one seed.
        """
        self._thread = self._thread or LoopThread(f"publish-{self._name}")
        errors = self._library.exceptions
        try:
            return self._thread.call(self._send(channel, encoded(body), key, headers), timeout_s=timeout_s)
        except (TimeoutError, OSError, RuntimeError, errors.AMQPError, errors.DeliveryError) as wrong:
            # Unroutable, nacked, no such exchange: the broker said no. Before there is a channel nothing was sent.
            refused = isinstance(wrong, (errors.DeliveryError, errors.ChannelNotFoundEntity)) or self._channel is None
            self._leave()
            said = str(wrong) or f"no confirmation within {timeout_s:g} s"
            raise PublishError(f"{self._name}: {channel}: {said}", certain=refused) from wrong

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._leave()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def _send(self, exchange: str, body: bytes, key: str, headers: Mapping[str, str]) -> str:
        if self._channel is None:
            self._connection = await self._library.connect(self._address)
            self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        message = self._library.Message(
            body,
            headers=dict(headers),
            correlation_id=headers.get("x-correlation-id"),
            message_id=headers.get("message-id") or headers.get("x-correlation-id"),
            delivery_mode=self._library.DeliveryMode.PERSISTENT,
        )
        to = await self._channel.get_exchange(exchange) if exchange else self._channel.default_exchange
        await to.publish(message, routing_key=key, mandatory=True)
        return str(message.message_id or "")

    def _leave(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and self._thread is not None:
            errors = self._library.exceptions
            with contextlib.suppress(TimeoutError, OSError, RuntimeError, errors.AMQPError):
                self._thread.call(connection.close(), timeout_s=_LEAVE_S)
