"""One direction of an AMQP 0-9-1 connection: frames are cut, a method is put together with its content. Pure.

A frame is a type (1 byte), a channel (2), a length (4), so many bytes, and 0xCE; a method that carries a message is
followed, on its channel, by a header frame (size of the body, properties) and by as many body frames as the body needs
(section 4.2 of the specification). Frames of other channels may come in between.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from pytest_chaos.model.operations import pattern
from pytest_chaos.wire.amqp.message import BODY, END, HEAD, HEADER, OVERHEAD, Message, whole
from pytest_chaos.wire.amqp.values import number, properties
from pytest_chaos.wire.framed.reader import NO_HEADERS, BadFrame, Call, Frame, Side
from pytest_chaos.wire.identify import find, needs_body

PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"
METHOD, HEARTBEAT = 1, 8
CONTENT_LIMIT = 256 * 1024
"""Bytes of one message that are collected; a larger one goes on in parts."""
FIRST_LIMIT = 131_072
"""Bytes of a frame before both sides have agreed on a limit (Tune)."""
FRAME_LIMIT = 16 * 2**20
"""Bytes of a frame where both sides have agreed on none."""
_TLS_HANDSHAKE = 0x16
_KINDS = frozenset({METHOD, HEADER, BODY, HEARTBEAT})


@dataclass(slots=True)
class Meaning:
    """What a method says. An ``operation``: it begins a call; ``content``: a message follows."""

    id: Hashable = None
    operation: str = ""
    by: Side = "caller"
    answered: bool = True
    background: bool = False
    answers: tuple[Hashable, ...] = ()
    error: str = ""
    content: bool = False
    ends: tuple[Hashable, ...] = ()
    """Calls that end with it, though it is no answer to them: a close."""
    instead: tuple[Frame, ...] | None = None
    """Frames that say the same and go on in its place."""


class Content:
    """The message behind a method, as far as it has come."""

    __slots__ = ("_hash", "_kept", "_marker", "_missing", "begun", "headers", "meaning")

    def __init__(self, meaning: Meaning, identify: Mapping[str, str]) -> None:
        self.meaning = meaning
        self.headers: dict[str, str] | None = None
        self.begun = False
        """Whether its first part has been given."""
        self._hash = hashlib.blake2b(digest_size=8)
        self._missing = 0
        self._marker, self._kept = "", None
        if identify and meaning.operation:
            marked = (spec for operation, spec in identify.items() if pattern(operation).fullmatch(meaning.operation))
            self._marker = next(marked, "")
            self._kept = bytearray() if needs_body(self._marker) else None

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self.headers is not None and self._missing <= 0

    @property
    def body_hash(self) -> str:
        """BLAKE2b (8 bytes) of what has come of the body."""
        return self._hash.hexdigest()

    def header(self, payload: bytes) -> None:
        """Take the header frame: class (2 bytes), weight (2), size of the body (8), properties. Raises BadFrame."""
        if self.headers is not None:
            raise BadFrame("unexpected frame")
        self._missing = number(payload, 4, 8)
        self.headers = properties(payload, 12)

    def body(self, payload: bytes) -> None:
        """Take a body frame. Raises BadFrame when it comes before the header."""
        if self.headers is None:
            raise BadFrame("unexpected frame")
        self._missing -= len(payload)
        self._hash.update(payload)
        if self._kept is not None and len(self._kept) < CONTENT_LIMIT:
            self._kept += payload

    def call(self) -> Call | None:
        """Give the call that its method begins, if it begins one."""
        meaning, headers = self.meaning, self.headers or {}
        if not meaning.operation:
            return None
        return Call(
            id=meaning.id,
            operation=meaning.operation,
            headers=headers,
            by=meaning.by,
            answered=meaning.answered,
            marker=find(self._marker, path="", headers=headers, body=bytes(self._kept or b"")) if self._marker else "",
            body_hash=self.body_hash if self.complete else "",
        )


@dataclass(slots=True)
class _Piece:
    """Frames behind each other that go on together; ``begin`` and ``end`` count the direction's bytes."""

    begin: int
    end: int
    lane: int
    content: Content | None = None
    last: bool = True
    """Whether nothing of its content comes behind it."""
    frames: list[Frame] | None = None


class Direction:
    """Cuts one side's bytes. ``mean(channel, method, payload)`` says what a method means."""

    def __init__(
        self, side: Side, mean: Callable[[int, int, bytes], Meaning | None], identify: Mapping[str, str]
    ) -> None:
        self.limit = FIRST_LIMIT
        self._side, self._mean, self._identify = side, mean, identify
        self._in = bytearray()
        self._base = 0
        """Which byte of the direction the first one of ``_in`` is."""
        self._at = 0
        """Where in ``_in`` the next frame begins; what stands before it is held back."""
        self._held: deque[_Piece] = deque()
        self._contents: dict[int, Content] = {}

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and give what is complete. Raises BadFrame; nothing of these bytes is given then."""
        buffer: bytes | bytearray = data
        if self._in:
            self._in += data
            buffer = self._in
        out: list[Frame] = []
        try:
            self._cut(buffer, out)
        except BadFrame:
            if buffer is data:
                self._in = bytearray(data)
            raise
        done = self._held[0].begin - self._base if self._held else self._at
        if buffer is data:
            self._in = bytearray(data[done:])
        else:
            del self._in[:done]
        self._base += done
        self._at -= done
        return out

    def unread(self) -> bytes:
        """Give and forget what has been taken and not given."""
        rest = bytes(self._in)
        self._in.clear()
        return rest

    def _cut(self, buffer: bytes | bytearray, out: list[Frame]) -> None:
        size = len(buffer)
        if self._base == self._at == 0 and not self._greet(buffer, out):
            return
        at = self._at
        while size - at >= HEAD.size:
            kind, channel, length = HEAD.unpack_from(buffer, at)
            if kind not in _KINDS:
                raise BadFrame("malformed frame")
            if length > self.limit:
                raise BadFrame("frame too large")
            end = at + length + OVERHEAD
            if end > size:
                break
            if buffer[end - 1] != END:
                raise BadFrame("malformed frame")
            at = self._at = self._read(kind, channel, buffer, at, end, out)

    def _greet(self, buffer: bytes | bytearray, out: list[Frame]) -> bool:
        """Take the protocol header: a caller begins with one, a callee answers a caller of another version with one."""
        begin = bytes(buffer[: len(PROTOCOL_HEADER)])
        if self._side == "callee" and not begin.startswith(PROTOCOL_HEADER[:1]):
            return True
        if not PROTOCOL_HEADER.startswith(begin):
            if begin[0] == _TLS_HANDSHAKE:
                raise BadFrame("TLS")
            raise BadFrame("another version of AMQP" if begin.startswith(PROTOCOL_HEADER[:4]) else "not AMQP")
        if len(begin) < len(PROTOCOL_HEADER):
            return False
        out.append(Frame(raw=begin, lane=0))
        self._at = len(begin)
        return True

    def _read(self, kind: int, lane: int, buffer: bytes | bytearray, at: int, end: int, out: list[Frame]) -> int:
        """Read a frame, with what belongs to it if that is all here; give where that ends."""
        payload = bytes(buffer[at + HEAD.size : end - 1])
        content = self._contents.get(lane)
        meaning: Meaning | None = None
        if kind == METHOD:
            if content is not None:
                raise BadFrame("unexpected frame")
            meaning = self._mean(lane, number(payload, 0, 4), payload)
            if meaning is not None and meaning.content:
                if not (self._held or self._identify) and (message := whole(buffer, end, lane, self.limit)):
                    out.append(_given(meaning, bytes(buffer[at : message.end]), message, lane))
                    return message.end
                content = self._contents[lane] = Content(meaning, self._identify)
        elif kind == HEARTBEAT:
            content = None
            id_ = "heartbeat", self._side, self._base + at
            meaning = Meaning(id=id_, operation="heartbeat", by=self._side, answered=False, background=True)
        elif content is None:
            raise BadFrame("unexpected frame")
        elif kind == HEADER:
            content.header(payload)
        else:
            content.body(payload)
        if content is None:
            frames = _frames(meaning, lane, bytes(buffer[at:end]))
            if not self._held:
                out += frames
                return end
            self._held.append(_Piece(self._base + at, self._base + end, lane, frames=frames))
        else:
            self._collect(content, lane, at, end)
        self._give(buffer, out)
        return end

    def _collect(self, content: Content, lane: int, at: int, end: int) -> None:
        held = self._held
        if held and held[-1].content is content:
            held[-1].end = self._base + end
        else:
            held.append(_Piece(self._base + at, self._base + end, lane, content))
        held[-1].last = content.complete
        if content.complete:
            del self._contents[lane]

    def _give(self, buffer: bytes | bytearray, out: list[Frame]) -> None:
        """Give what need not wait: a message waits for its end, up to a limit or to a frame of another channel."""
        held, base = self._held, self._base
        while held:
            piece = held[0]
            content = piece.content
            if content is None:
                out += piece.frames or ()
            else:
                large = held[-1].end - piece.begin > CONTENT_LIMIT
                if not (content.begun or piece.last or large or (len(held) > 1 and content.headers is not None)):
                    return
                out.append(_part(piece, content, bytes(buffer[piece.begin - base : piece.end - base])))
                content.begun = True
            held.popleft()


def _given(meaning: Meaning, raw: bytes, message: Message, lane: int) -> Frame:
    begins = None
    if meaning.operation:
        begins = Call(meaning.id, meaning.operation, message.headers, meaning.by, meaning.answered)
        begins.body_hash = message.body_hash
    return Frame(raw, begins, meaning.answers, meaning.error, lane)


def _part(piece: _Piece, content: Content, raw: bytes) -> Frame:
    meaning = content.meaning
    if content.begun:
        body_hash = content.body_hash if piece.last and meaning.operation else ""
        return Frame(raw=raw, lane=piece.lane, more=not piece.last, body_hash=body_hash)
    more = not piece.last
    return Frame(
        raw=raw, begins=content.call(), answers=meaning.answers, error=meaning.error, lane=piece.lane, more=more
    )


def _frames(meaning: Meaning | None, lane: int, raw: bytes) -> list[Frame]:
    if meaning is None:
        return [Frame(raw, lane=lane)]
    if meaning.instead is not None:
        return list(meaning.instead)
    begins = None
    if meaning.operation:
        begins = Call(meaning.id, meaning.operation, NO_HEADERS, meaning.by, meaning.answered, meaning.background)
    frame = Frame(raw, begins, meaning.answers, meaning.error, lane)
    if not meaning.ends:
        return [frame]
    # A frame of no bytes: what is done to the answers of these calls must not be done to the close.
    return [Frame(raw=b"", answers=meaning.ends, error=meaning.error), frame]
