"""Kafka's protocol, frame by frame: each request is a call, the answer with its correlation id ends it. Pure.

A frame is a size (4 bytes) and so many bytes. A request begins with the number of its kind (API key), its version and
its correlation id; an answer begins with that id, and answers come in the order of the requests. What an answer looks
like only the request tells.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pytest_chaos.wire.framed.reader import BadFrame, Call, Frame, Side
from pytest_chaos.wire.kafka.addresses import Advertised, Elsewhere
from pytest_chaos.wire.kafka.api import PRODUCE, SASL_HANDSHAKE, Shape, error_name, shape
from pytest_chaos.wire.kafka.cutter import Cut, Cutter, hash_of
from pytest_chaos.wire.kafka.layout import Cursor, Seen, Short, walk
from pytest_chaos.wire.kafka.records import identity

if TYPE_CHECKING:
    from pytest_chaos.wire.links import Link

_REQUEST_HEAD, _ANSWER_HEAD = 8, 4
_TOPICS_LIMIT = 10_000
_OPEN_LIMIT = 10_000
_NO_HEADERS: Mapping[str, str] = {}


class _Asked(NamedTuple):
    """A request whose answer has not come yet."""

    call: int
    correlation: int
    shape: Shape


class KafkaReader:
    """Reads one connection to a Kafka.

    ``topics``: the names of topics by their ids, as far as Metadata answers told them; readers of one broker's
    connections may share it, since newer requests name topics by id and the Metadata came on another connection.
    ``advertised``: what brokers are called towards these clients; the answers that name them are the only frames whose
    bytes are changed. ``elsewhere`` counts the addresses that lead off the link all the same.
    """

    name = "kafka"
    in_order = True

    def __init__(
        self,
        *,
        topics: dict[bytes, str] | None = None,
        advertised: Advertised | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.split_acks = False
        self._topics = {} if topics is None else topics
        self._advertised = advertised
        self._elsewhere = elsewhere
        self._asked: deque[_Asked] = deque()
        self._calls = 0
        self._raw_next = False
        self._caller = Cutter(_REQUEST_HEAD, self._request)
        self._callee = Cutter(_ANSWER_HEAD, self._answer)

    @classmethod
    def of_link(cls, link: Link) -> KafkaReader:
        """Give the reader of a new connection of a link, with what the link is told to advertise."""
        elsewhere = Elsewhere(link.elsewhere, own=(link.host, link.port), advertised=link.advertised)
        return cls(topics=link.topics, advertised=link.advertised, elsewhere=elsewhere)

    def from_caller(self, data: bytes) -> list[Frame]:
        """Take the caller's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""
        return self._caller.cut(data)

    def from_callee(self, data: bytes) -> list[Frame]:
        """Take the callee's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""
        return self._callee.cut(data)

    def unread(self, side: Side) -> bytes:
        """Give (and forget) the side's bytes that were taken and are in no frame yet."""
        return (self._caller if side == "caller" else self._callee).unread()

    def _request(self, raw: bytes, *, whole: bool) -> Cut:
        if self._raw_next:
            msg = "SASL without Kafka's header"
            raise BadFrame(msg)
        key, version = int.from_bytes(raw[4:6], "big", signed=True), int.from_bytes(raw[6:8], "big", signed=True)
        if key < 0 or version < 0:
            msg = "no Kafka request"
            raise BadFrame(msg)
        about = shape(key, version)
        if key == SASL_HANDSHAKE and version == 0:
            self._raw_next = True  # bare tokens follow, until nobody knows when
        operation, answered, headers, body_at = about.name, True, _NO_HEADERS, 0
        if about.request:
            try:
                body_at = _body_of_request(raw, flexible=about.flexible)
                subject, answered, headers = self._subject(about, raw, body_at)
                operation = f"{operation} {subject}" if subject else operation
            except Short:
                body_at = 0
        self._calls += 1
        if answered:
            if len(self._asked) >= _OPEN_LIMIT:
                msg = "too many requests without an answer"
                raise BadFrame(msg)
            self._asked.append(_Asked(self._calls, int.from_bytes(raw[8:12], "big", signed=True), about))
        hashed = body_at if key == PRODUCE else 0
        call = Call(
            id=self._calls,
            operation=operation,
            headers=headers,
            answered=answered,
            background=about.background,
            body_hash=hash_of(raw, hashed).hexdigest() if hashed and whole else "",
        )
        return Cut(Frame(raw=raw, begins=call, more=not whole), hashed)

    def _subject(self, about: Shape, raw: bytes, body_at: int) -> tuple[str, bool, Mapping[str, str]]:
        """Read what a request is about, whether it is answered, and whose the first record is.

        A message that ends before its layout has told what could be read until then.
        """
        subject, answered, headers = "", True, _NO_HEADERS
        try:
            for letter, start, end, value in walk(about.request, raw, body_at, flexible=about.flexible):
                match letter:
                    case "A":
                        answered = value != 0
                    case "S":
                        subject = subject or value
                    case "U":
                        subject = subject or self._topics.get(value) or _shown(value)
                    case "R":
                        headers = identity(raw, start, end)
                if letter == "R" or about.key != PRODUCE:
                    break
        except Short:
            pass
        return subject, answered, headers

    def _answer(self, raw: bytes, *, whole: bool) -> Cut:
        correlation = int.from_bytes(raw[4:8], "big", signed=True)
        if not self._asked or self._asked[0].correlation != correlation:
            msg = "an answer that nobody asked for"
            raise BadFrame(msg)
        asked = self._asked.popleft()
        about, error = asked.shape, ""
        if about.answer or about.topic_ids or about.addresses:
            try:
                at = _body_of_answer(raw, flexible=about.flexible_answer)
            except Short:
                return Cut(Frame(raw=raw, answers=(asked.call,), more=not whole))
            error = _error(about, raw, at)
            if about.topic_ids:
                self._learn(about, raw, at)
            if self._advertised is not None:
                raw = self._advertised.rewrite(about, raw, at)
            if self._elsewhere is not None:
                self._elsewhere.read(about, raw, at)
        return Cut(Frame(raw=raw, answers=(asked.call,), error=error, more=not whole))

    def _learn(self, about: Shape, raw: bytes, at: int) -> None:
        name = ""
        for letter, _, _, value in _leniently(walk(about.topic_ids, raw, at, flexible=about.flexible)):
            if letter == "S":
                name = value
            elif letter == "U" and name and any(value):
                if len(self._topics) >= _TOPICS_LIMIT:
                    self._topics.clear()
                self._topics[value] = name


def _shown(topic_id: bytes) -> str:
    """Write a topic's id as Kafka's own tools do."""
    return base64.urlsafe_b64encode(topic_id).decode().rstrip("=")


def _body_of_request(raw: bytes, *, flexible: bool) -> int:
    """Pass the header over (client id, tagged fields): the client id is never compact, whatever the version."""
    cursor = Cursor(raw, 12, flexible=False)
    cursor.skip(max(cursor.number(2), 0))
    return _past_tags(cursor) if flexible else cursor.at


def _body_of_answer(raw: bytes, *, flexible: bool) -> int:
    return _past_tags(Cursor(raw, 8, flexible=True)) if flexible else 8


def _past_tags(cursor: Cursor) -> int:
    cursor.past_tags()
    return cursor.at


def _error(about: Shape, raw: bytes, at: int) -> str:
    """Name the first error in an answer; empty where there is none, or none could be read."""
    if about.answer:
        for letter, _, _, value in _leniently(walk(about.answer, raw, at, flexible=about.flexible)):
            if letter == "E" and value:
                return error_name(value)
    return ""


def _leniently(seen: Iterator[Seen]) -> Iterator[Seen]:
    """Give what can be read of a message that ends before its layout does."""
    try:
        yield from seen
    except Short:
        return
