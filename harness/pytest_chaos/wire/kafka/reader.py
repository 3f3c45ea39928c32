"""Kafka's protocol, frame by frame: each request is a call, the answer with its correlation id ends it. Pure.

A frame is a size (4 bytes) and so many bytes. A request begins with the number of its kind (API key), its version and
its correlation id; an answer begins with that id, and answers come in the order of the requests. What an answer looks
like only the request tells.
"""

from __future__ import annotations

import base64
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pytest_chaos.wire.framed.reader import NO_HEADERS, BadFrame, Call, Frame, Side
from pytest_chaos.wire.kafka.addresses import Advertised, Elsewhere
from pytest_chaos.wire.kafka.api import PRODUCE, SASL_HANDSHAKE, Shape, error_name, shape
from pytest_chaos.wire.kafka.cutter import Cut, Cutter, hash_of
from pytest_chaos.wire.kafka.familiar import Familiar, Produces
from pytest_chaos.wire.kafka.layout import Cursor, Seen, Short, walk
from pytest_chaos.wire.kafka.records import identity

if TYPE_CHECKING:
    from pytest_chaos.wire.links import Link

_REQUEST_HEAD, _ANSWER_HEAD = 8, 4
_TOPICS_LIMIT = 10_000
_OPEN_LIMIT = 10_000
_HEAD, _SIZE = struct.Struct(">hhi"), struct.Struct(">i")


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
        self._familiar = Produces()
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
        key, version, correlation = _HEAD.unpack_from(raw, 4)
        if key < 0 or version < 0:
            msg = "no Kafka request"
            raise BadFrame(msg)
        about = shape(key, version)
        if key == SASL_HANDSHAKE and version == 0:
            self._raw_next = True  # bare tokens follow, until nobody knows when
        operation, answered, headers, body_at = about.name, True, NO_HEADERS, 0
        known = self._familiar.request(raw, about) if key == PRODUCE else None
        if known is not None:
            operation, answered, body_at = known.operation, known.answered, known.body_at
            headers = _identity(raw, known.size_at, flexible=about.flexible)
        elif about.request:
            try:
                body_at = _body_of_request(raw, flexible=about.flexible)
                subject, answered, headers, size_at = self._subject(about, raw, body_at)
                operation = f"{operation} {subject}" if subject else operation
                if size_at and "U" not in about.request:  # what topics' ids mean may change
                    self._familiar.learn(about, raw, Familiar(b"", operation, answered, body_at, size_at))
            except Short:
                body_at = 0
        self._calls += 1
        if answered:
            if len(self._asked) >= _OPEN_LIMIT:
                msg = "too many requests without an answer"
                raise BadFrame(msg)
            self._asked.append(_Asked(self._calls, correlation, about))
        hashed = body_at if key == PRODUCE else 0
        body_hash = hash_of(raw, hashed).hexdigest() if hashed and whole else ""
        call = Call(self._calls, operation, headers, "caller", answered, about.background, "", body_hash)
        return Cut(Frame(raw, call, more=not whole), hashed)

    def _subject(self, about: Shape, raw: bytes, body_at: int) -> tuple[str, bool, Mapping[str, str], int]:
        """Read what a request is about, whether it is answered, whose the first record is, where records' size stands.

        A message that ends before its layout has told what could be read until then.
        """
        subject, answered, headers, size_at = "", True, NO_HEADERS, 0
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
                        headers, size_at = identity(raw, value, end), start
                if letter == "R" or about.key != PRODUCE:
                    break
        except Short:
            pass
        return subject, answered, headers, size_at

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
            if not (about.key == PRODUCE and self._familiar.well(raw, about)):
                error = self._error(about, raw, at)
            if about.topic_ids:
                self._learn(about, raw, at)
            if self._advertised is not None:
                raw = self._advertised.rewrite(about, raw, at)
            if self._elsewhere is not None:
                self._elsewhere.read(about, raw, at)
        return Cut(Frame(raw=raw, answers=(asked.call,), error=error, more=not whole))

    def _error(self, about: Shape, raw: bytes, at: int) -> str:
        """Name the first error in an answer; empty where there is none, or none could be read."""
        places = []
        try:
            for letter, start, _, value in walk(about.answer, raw, at, flexible=about.flexible):
                if letter == "E":
                    if value:
                        return error_name(value)
                    places.append(start)
        except Short:
            return ""
        if about.key == PRODUCE and len(places) == 1:
            self._familiar.learn_answer(about, raw, places[0])
        return ""

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


def _identity(raw: bytes, size_at: int, *, flexible: bool) -> Mapping[str, str]:
    """Read whose the records are whose size stands there."""
    if not flexible and len(raw) - size_at >= _SIZE.size:
        begin = size_at + _SIZE.size
        return identity(raw, begin, min(begin + max(_SIZE.unpack_from(raw, size_at)[0], 0), len(raw)))
    try:
        begin, end = Cursor(raw, size_at, flexible=flexible).records()
    except Short:
        return NO_HEADERS
    return identity(raw, begin, end)


def _leniently(seen: Iterator[Seen]) -> Iterator[Seen]:
    """Give what can be read of a message that ends before its layout does."""
    try:
        yield from seen
    except Short:
        return
