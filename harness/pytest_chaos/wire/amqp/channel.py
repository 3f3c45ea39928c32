"""A channel of an AMQP connection: what is open on it, and what its methods mean by that. Pure."""

from __future__ import annotations

import functools
import struct
from collections import deque
from collections.abc import Hashable

from pytest_chaos.wire.amqp import methods as m
from pytest_chaos.wire.amqp.frames import METHOD, Meaning
from pytest_chaos.wire.amqp.message import END
from pytest_chaos.wire.amqp.values import number, short_string, strings
from pytest_chaos.wire.framed.reader import BadFrame, Call, Frame

_ACK = struct.Struct(">BHIIQBB")
_CONFIRM = struct.Struct(">4xQB")
_LONGEST_PUBLISH = 6 + 2 * 256 + 1
_MULTIPLE, _REQUEUE = 0x1, 0x2
_NO_ACK = 0x2
_WORDS = {m.ACK: "ack", m.NACK: "nack", m.REJECT: "reject"}
_DEFAULT_EXCHANGE = "amq.default"

Consumer = tuple[str, bool]
"""The queue and whether its deliveries are not acknowledged (``no_ack``)."""


class Channel:
    """The client's and the broker's tags, the consumers, and the requests that wait for their answer."""

    __slots__ = (
        "_consumers", "_count", "_delivered", "_got", "_last_queue", "_number", "_pending", "_published",
        "_unconfirmed", "closing", "split",
    )  # fmt: skip

    def __init__(self, channel: int) -> None:
        self.closing = False
        """Whether the broker has closed it: what the client still sends is thrown away there."""
        self.split = False
        """Whether acknowledgements of many are given one by one; for good: a later one must not cover a lost one."""
        self._number = channel
        self._count = 0
        self._published: int | None = None
        """The last publish's tag; None: not in confirm mode."""
        self._unconfirmed: dict[int, None] = {}
        self._delivered: dict[int, str] = {}
        self._got: dict[int, str] = {}
        """Queues by the tags of messages got with ``get``."""
        self._consumers: dict[str, Consumer] = {}
        self._pending: deque[tuple[int, Hashable, list[str], int]] = deque()
        """Requests in order: what answers, its id, its strings, its bits."""
        self._last_queue = ""

    def publish(self, payload: bytes, *, closing: bool) -> Meaning:
        """The client publishes; the broker counts from 1 since confirm.select."""
        operation = _publish(payload) if len(payload) <= _LONGEST_PUBLISH else _publish.__wrapped__(payload)
        if self._published is None or self.closing or closing:
            return Meaning(id=self._id("publish"), operation=operation, answered=False, content=True)
        tag = self._published = self._published + 1
        self._unconfirmed[tag] = None
        return Meaning(("confirm", self._number, tag), operation, content=True)

    def confirm(self, method: int, payload: bytes) -> Meaning:
        """The broker confirms one or many."""
        if len(payload) < _CONFIRM.size:
            raise BadFrame("malformed method")
        tag, bits = _CONFIRM.unpack_from(payload)
        error = "" if method == m.ACK else "nack"
        if not bits & _MULTIPLE:
            known = self._unconfirmed.pop(tag, 0) is None
            return Meaning(answers=(("confirm", self._number, tag),) if known else (), error=error)
        tags = _up_to(self._unconfirmed, tag)
        for one in tags:
            del self._unconfirmed[one]
        lane = self._number
        if not self.split or not tags:
            return Meaning(answers=tuple([("confirm", lane, one) for one in tags]), error=error)
        frames = [Frame(self._single(method, one, bits), None, (("confirm", lane, one),), error, lane) for one in tags]
        return Meaning(instead=tuple(frames))

    def deliver(self, consumer: str, tag: int) -> Meaning:
        """The broker delivers to a consumer. Raises BadFrame for a tag that is in use."""
        if tag in self._delivered:
            raise BadFrame("repeated delivery tag")
        queue, no_ack = self._consumers.get(consumer, ("", False))
        if not no_ack:
            self._delivered[tag] = queue
        id_ = ("delivery", self._number, tag)
        return Meaning(id=id_, operation=f"deliver {queue}", by="callee", answered=not no_ack, content=True)

    def returned(self, exchange: str, key: str) -> Meaning:
        """The broker gives a message back that no queue took."""
        operation = f"return {exchange or _DEFAULT_EXCHANGE} {key}"
        return Meaning(id=self._id("return"), operation=operation, by="callee", answered=False, content=True)

    def acknowledge(self, method: int, payload: bytes) -> Meaning:
        """The client acknowledges, or gives back, one or many."""
        tag = number(payload, 4, 8)
        if not _multiple(method, payload):
            return self._acknowledged(method, tag)
        delivered, got = _up_to(self._delivered, tag), _up_to(self._got, tag)
        if not self.split:
            for one in delivered:
                del self._delivered[one]
            queue = [self._got.pop(one) for one in got][-1:]
            if queue and not delivered:
                return self._of_queue(method, tag, queue[0])
            answers = tuple(("delivery", self._number, one) for one in delivered)
            return Meaning(answers=answers, error=_error(method))
        if not delivered and not got:
            # "All that is open", where nothing is: said to the broker, it would cover what was lost on purpose.
            return Meaning(instead=() if tag == 0 else None)
        return Meaning(instead=tuple(self._split(method, one, payload) for one in sorted(delivered + got)))

    def recover(self) -> Meaning:
        """The client asks for all that it has not acknowledged, again."""
        answers = tuple(("delivery", self._number, tag) for tag in self._delivered)
        self._delivered.clear()
        self._got.clear()
        return Meaning(answers=answers, error="recover")

    def request(self, method: int, request: m.Request, payload: bytes) -> Meaning:
        """The client asks for something that is answered in order."""
        names, wanted, bits = request.read(payload)
        if m.means_last_queue(method, names):
            names[0] = self._last_queue
        match method:
            case m.CONSUME if names[1]:
                self._consumers[names[1]] = names[0], bool(bits & _NO_ACK)
            case m.CONFIRM_SELECT if self._published is None:
                self._published = 0
            case m.QUEUE_DECLARE if names[0]:
                self._last_queue = names[0]
            case m.GET:
                bits = payload[-1]
        id_ = self._id(request.word)
        if wanted:
            self._pending.append((request.ok, id_, names, bits))
        if method == m.CANCEL:
            names = [self._consumers.get(names[0], names)[0]]
        return Meaning(id=id_, operation=request.operation(names), answered=wanted, background=request.background)

    def ok(self, method: int, payload: bytes) -> Meaning | None:
        """The broker answers the request that waits longest."""
        content = method == m.GET_OK
        answer = m.GET_OK if method == m.GET_EMPTY else method
        if not self._pending or self._pending[0][0] != answer:
            return Meaning(content=True) if content else None
        _, id_, names, bits = self._pending.popleft()
        match method:
            case m.QUEUE_DECLARE_OK:
                self._last_queue = short_string(payload, 4)[0]
            case m.CONSUME_OK:
                self._consumers[short_string(payload, 4)[0]] = names[0], bool(bits & _NO_ACK)
            case m.CANCEL_OK:
                self._consumers.pop(names[0], None)
            case m.GET_OK if not bits & 1:
                self._got[number(payload, 4, 8)] = names[0]
        return Meaning(answers=(id_,), content=content)

    def cancelled(self, consumer: str) -> Meaning:
        """The broker cancels a consumer: its queue is gone."""
        queue, _ = self._consumers.pop(consumer, ("", False))
        return Meaning(id=self._id("cancel"), operation=f"cancel {queue}", by="callee", answered=False)

    def closed(self, error: str) -> Meaning:
        """It or the connection is closed: requests are answered by that, the rest of what is open ends."""
        ended: list[Hashable] = [("confirm", self._number, tag) for tag in self._unconfirmed]
        ended += [("delivery", self._number, tag) for tag in self._delivered]
        answers = tuple(id_ for _, id_, _, _ in self._pending)
        for open_ in (self._unconfirmed, self._delivered, self._got, self._pending):
            open_.clear()
        return Meaning(answers=answers, ends=tuple(ended), error=error)

    def _id(self, word: str) -> Hashable:
        self._count += 1
        return word, self._number, -self._count

    def _acknowledged(self, method: int, tag: int) -> Meaning:
        queue = self._delivered.pop(tag, None)
        if queue is not None:
            meaning = self._of_queue(method, tag, queue)
            meaning.background, meaning.error = True, _error(method)
            meaning.answers = (("delivery", self._number, tag),)
            return meaning
        queue = self._got.pop(tag, None)
        return Meaning() if queue is None else self._of_queue(method, tag, queue)

    def _of_queue(self, method: int, tag: int, queue: str) -> Meaning:
        word = _WORDS[method]
        return Meaning(id=(word, self._number, tag), operation=f"{word} {queue}", answered=False)

    def _split(self, method: int, tag: int, payload: bytes) -> Frame:
        meaning = self._acknowledged(method, tag)
        begins = (
            Call(id=meaning.id, operation=meaning.operation, answered=False, background=meaning.background)
            if meaning.operation
            else None
        )
        raw = self._single(method, tag, number(payload, 12, 1))
        return Frame(raw=raw, begins=begins, answers=meaning.answers, error=meaning.error, lane=self._number)

    def _single(self, method: int, tag: int, bits: int) -> bytes:
        """Build the frame that says of one tag what a frame with these bits says of many."""
        return _ACK.pack(METHOD, self._number, 13, method, tag, bits & _REQUEUE if method == m.NACK else 0, END)


@functools.lru_cache(maxsize=1024)
def _publish(payload: bytes) -> str:
    """Name what a publish says: the same again and again. Raises BadFrame."""
    (exchange, key), _ = strings(payload, 6, 2)
    return f"publish {exchange or _DEFAULT_EXCHANGE} {key}"


def _error(method: int) -> str:
    return "" if method == m.ACK else _WORDS[method]


def _multiple(method: int, payload: bytes) -> bool:
    return method != m.REJECT and bool(number(payload, 12, 1) & _MULTIPLE)


def _up_to(tags: dict[int, str] | dict[int, None], last: int) -> list[int]:
    """Give the tags up to and with the last; 0: all. Tags come in ascending order."""
    found: list[int] = []
    for tag in tags:
        if last and tag > last:
            break
        found.append(tag)
    return found
