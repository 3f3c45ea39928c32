"""AMQP 0-9-1 as RabbitMQ speaks it, read for wire: publishes and their confirms, deliveries and their acknowledgements.

A reader of one connection (:mod:`pytest_chaos.wire.framed.reader`). Operations are named by queue and exchange:
``publish <exchange> <routing key>`` (the default exchange is ``amq.default``), ``deliver <queue>``, ``get <queue>``,
``return <exchange> <routing key>``, ``declare <queue>``, ``bind <queue> <exchange> <routing key>``,
``consume <queue>``, ``exchange.declare <exchange>``, ``tx.commit`` and so on.

* A publish on a channel in confirm mode is answered by the broker's ack or nack (error ``nack``), which may answer
  many; otherwise nothing answers it.
* A delivery is a call of the broker's. The consumer's ack, nack or reject (error ``nack``, ``reject``) answers it, or
  its recover (error ``recover``), which gives all of the channel's deliveries back; with ``no_ack`` nothing does.
* That acknowledgement is also a background call of its own, ``ack <queue>``, ``nack <queue>`` or ``reject <queue>``, so
  that a rule can name it; nothing answers it. That of a message that was got with ``get`` is such a call only.
* Closing a channel or the connection ends whatever is open there. The broker's close does, with the word for its reply
  code as the error (``NOT_FOUND``); where the caller closes, the broker's close-ok does, with the error ``closed``. For
  a request that waits it is the answer; publishes and deliveries end with a frame of no bytes in front of it, so that a
  rule that loses a confirm does not lose a close.

A lane is a channel: confirms and delivery tags are counted on it. Authentication is passed on unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_chaos.wire.amqp import methods as m
from pytest_chaos.wire.amqp.channel import Channel
from pytest_chaos.wire.amqp.frames import FRAME_LIMIT, Direction, Meaning
from pytest_chaos.wire.amqp.values import number, reply, short_string, strings
from pytest_chaos.wire.framed.reader import BadFrame, Frame, Side

if TYPE_CHECKING:
    from pytest_chaos.wire.links import Link

_MIN_FRAME = 4096
_USUAL_CHANNELS, _MOST_CHANNELS = 2047, 65_535
"""The highest channel that RabbitMQ proposes, and the highest that there is where both sides agree on 0."""
_CLOSES = frozenset({m.CONNECTION_CLOSE, m.CONNECTION_CLOSE_OK, m.CHANNEL_CLOSE, m.CHANNEL_CLOSE_OK})


class AmqpReader:
    """Reads one connection. ``identify`` says where a message's marker stands, by operation."""

    name = "amqp"
    in_order = False

    def __init__(self, identify: Mapping[str, str] | None = None) -> None:
        self.split_acks = False
        self._channels: dict[int, Channel] = {}
        self._closing = False
        self._last_channel = _USUAL_CHANNELS
        self._caller = Direction("caller", self._of_caller, identify or {})
        self._callee = Direction("callee", self._of_callee, identify or {})

    @classmethod
    def of_link(cls, link: Link) -> AmqpReader:
        """Make the reader of one of a link's connections."""
        return cls(link.identify)

    def from_caller(self, data: bytes) -> list[Frame]:
        """Take the client's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""
        return self._caller.feed(data)

    def from_callee(self, data: bytes) -> list[Frame]:
        """Take the broker's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""
        return self._callee.feed(data)

    def unread(self, side: Side) -> bytes:
        """Give (and forget) the side's bytes that were taken and are in no frame yet."""
        return (self._caller if side == "caller" else self._callee).unread()

    def _channel(self, channel: int) -> Channel:
        found = self._channels.get(channel)
        if found is None:
            if channel > self._last_channel:
                raise BadFrame("unknown channel")
            found = self._channels[channel] = Channel(channel)
        if self.split_acks:
            found.split = True
        return found

    def _of_caller(self, number_: int, method: int, payload: bytes) -> Meaning | None:
        """Say what a method of the client means."""
        channel = self._channel(number_)
        if method == m.PUBLISH:
            return channel.publish(payload, closing=self._closing)
        if method in (m.ACK, m.NACK, m.REJECT):
            return channel.acknowledge(method, payload)
        if method in (m.RECOVER, m.RECOVER_ASYNC):
            return channel.recover()
        request = m.REQUESTS.get(method)
        if request is not None:
            return channel.request(method, request, payload)
        if method == m.CONNECTION_TUNE_OK:
            self._tuned(number(payload, 4, 2), number(payload, 6, 4))
        elif method == m.CHANNEL_CLOSE_OK:
            self._channels.pop(number_, None)
        return None

    def _of_callee(self, number_: int, method: int, payload: bytes) -> Meaning | None:
        """Say what a method of the broker means."""
        if method in _CLOSES:
            return self._closes(number_, method, payload)
        channel = self._channel(number_)
        match method:
            case m.ACK | m.NACK:
                return channel.confirm(method, payload)
            case m.DELIVER:
                consumer, at = short_string(payload, 4)
                return channel.deliver(consumer, number(payload, at, 8))
            case m.RETURN:
                _, at = short_string(payload, 6)
                (exchange, key), _ = strings(payload, at, 2)
                return channel.returned(exchange, key)
            case m.CANCEL:
                return channel.cancelled(short_string(payload, 4)[0])
        return channel.ok(method, payload) if method in m.OKS else None

    def _closes(self, number_: int, method: int, payload: bytes) -> Meaning:
        """Say what the broker's close, or its answer to the client's, ends."""
        error = reply(payload[4:]) if method in {m.CONNECTION_CLOSE, m.CHANNEL_CLOSE} else "closed"
        if method == m.CHANNEL_CLOSE:
            channel = self._channel(number_)
            channel.closing = True
            return channel.closed(error)
        if method == m.CHANNEL_CLOSE_OK:
            gone = self._channels.pop(number_, None)
            return Meaning() if gone is None else gone.closed(error)
        self._closing = True
        return self._closed(error)

    def _closed(self, error: str) -> Meaning:
        closed = [channel.closed(error) for channel in self._channels.values()]
        answers = tuple(id_ for meaning in closed for id_ in meaning.answers)
        return Meaning(answers=answers, ends=tuple(id_ for meaning in closed for id_ in meaning.ends), error=error)

    def _tuned(self, channels: int, size: int) -> None:
        """Both sides have agreed on the highest channel and the size of frames; 0: no limit."""
        self._last_channel = channels or _MOST_CHANNELS
        limit = min(max(size, _MIN_FRAME), FRAME_LIMIT) if size else FRAME_LIMIT
        self._caller.limit = self._callee.limit = limit
