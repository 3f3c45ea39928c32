"""HTTP/2 on a connection: frames pass as they come under the callee's own stream ids; header blocks are re-encoded."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_chaos.wire.connection import PREFACE, Connection, Handler
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import BadFrame, Frame, FrameReader
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import Block, HeaderWriter
from pytest_chaos.wire.http2.passed import PassedCalls
from pytest_chaos.wire.http2.stream import Http2Stream
from pytest_chaos.wire.http2.stub import Http2Stub
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.table import NOTHING, Facts, Plan

_GRACEFUL = 0x7FFFFFFF
_OF_CONNECTION = frozenset({frames.PING, frames.GOAWAY, frames.WINDOW_UPDATE})


class Http2(Handler):
    """Keeps the two sides' stream ids apart: a request that is held or dropped must not disturb the callee's order.

    Flow control stays between caller and callee; for DATA that goes no further, wire gives the credit back itself.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.to_caller: list[bytes] = []
        self.to_callee: list[bytes] = [PREFACE]
        self.caller_writer, self.callee_writer = HeaderWriter(), HeaderWriter()
        self.caller_reader, self.callee_reader = HeaderReader(), HeaderReader()
        self.caller_frames, self.callee_frames = FrameReader(preface=len(PREFACE)), FrameReader()
        self._streams: dict[int, Http2Stream] = {}
        self._forwarded: dict[int, Http2Stream] = {}
        self._passed = PassedCalls(self)
        self._next = 1
        self._last_seen = 0
        self._settled = False
        self._stub = Http2Stub(self.link.stub) if self.link.stub is not None else None

    # what calls and streams ask for

    def is_next(self, number: int) -> bool:
        """Whether the caller may begin a stream with this number."""
        return number > self._last_seen and number % 2 == 1

    def decide(self, headers: Block) -> Plan:
        """Tell what happens to a request."""
        table, link = self.world.table, self.link.name
        if not table.watched(link):
            return NOTHING
        protocol, operation = headers.kind
        return table.decide(link, Facts(operation, headers.fields, protocol))

    def record(self, number: int, headers: Block, started_ns: int, size: int) -> Record:
        """Begin the record of the caller's stream, whose header block and its frame's head have a size."""
        protocol, operation = headers.kind
        record = self.world.begin(
            link=self.link.name,
            connection=self.connection.id,
            reused=self._last_seen > 0,
            protocol=protocol,
            connected_ns=self.connection.connected_ns,
            started_ns=started_ns,
        )
        self._last_seen = number
        record.operation = operation
        record.request_headers = headers.asked
        record.request_bytes = size
        return record

    def begin(self, number: int, headers: Block, plan: Plan, started_ns: int, size: int) -> Http2Stream:
        """Begin the caller's stream."""
        record = self.record(number, headers, started_ns, size)
        stream = self._streams[number] = Http2Stream(self, number, record, plan, headers)
        return stream

    def adopt(self, streams: Mapping[int, Http2Stream]) -> None:
        """Have streams that are with the callee, under these of its ids, already."""
        self._forwarded.update(streams)
        self._streams.update({stream.id: stream for stream in streams.values()})

    def next_id(self) -> int:
        """Give the callee's next stream id."""
        callee_id, self._next = self._next, self._next + 2
        return callee_id

    def forward(self, number: int) -> int:
        """Give the caller's stream the callee's next id."""
        callee_id = self.next_id()
        self._forwarded[callee_id] = self._streams[number]
        return callee_id

    def forget(self, number: int) -> None:
        """Both sides of the caller's stream are done."""
        stream = self._streams.pop(number, None)
        if stream is not None and stream.callee_id is not None:
            self._forwarded.pop(stream.callee_id, None)

    def flush(self) -> None:
        """Send what has gathered, in one write for each side."""
        if self.to_callee:
            data = b"".join(self.to_callee)
            self.to_callee.clear()
            if self._stub is not None:
                answers = self._stub.feed(data, self._work)
                if answers:
                    self.from_callee(answers)
            elif self.connection.callee is not None:
                self.connection.callee.write(data)
        if self.to_caller:
            data = b"".join(self.to_caller)
            self.to_caller.clear()
            self.connection.caller.write(data)

    def _work(self, callee_id: int, effect: dict[str, object]) -> None:
        stream = self._forwarded.get(callee_id)
        self.world.effect({**effect, "attempt": stream.record.id if stream is not None else ""})

    # bytes

    def from_caller(self, data: bytes) -> None:
        """Take frames of the caller."""
        try:
            if not self._passed.request(data):
                for frame in self.caller_frames.feed(data):
                    self._of_caller(frame)
                self.flush()
        except BadFrame:
            self._broken("caller")

    def from_callee(self, data: bytes) -> None:
        """Take frames of the callee."""
        try:
            if not self._passed.answer(data):
                for frame in self.callee_frames.feed(data):
                    self._of_callee(frame)
                self.flush()
        except BadFrame:
            self._broken("callee")

    def _of_caller(self, frame: Frame) -> None:
        kind, number = frame.kind, frame.stream
        if not number:
            if kind == frames.SETTINGS:
                self._caller_settings(frame)
            elif kind in _OF_CONNECTION:
                self.to_callee.append(frame.raw)
            return
        stream = self._streams.get(number)
        if kind == frames.HEADERS:
            headers = self.caller_reader.read(frame.payload)  # every block, or the table is lost
            if stream is not None:
                stream.request_trailers(headers)
            elif self.is_next(number):
                stream = self.begin(number, headers, self.decide(headers), self.world.now(), len(frame.raw))
                stream.request_begun(end=bool(frame.flags & frames.END_STREAM))
        elif kind == frames.DATA and stream is None:
            self.to_caller.append(frames.window_update(0, len(frame.raw) - frames.HEAD))
        elif stream is not None:
            self._of_callers_stream(stream, frame)

    def _of_callers_stream(self, stream: Http2Stream, frame: Frame) -> None:
        if frame.kind == frames.DATA:
            stream.request_data(frame)
        elif frame.kind == frames.RST_STREAM:
            stream.caller_reset(int.from_bytes(frame.payload, "big"))
        elif frame.kind == frames.WINDOW_UPDATE:
            stream.caller_credit(frame)

    def _of_callee(self, frame: Frame) -> None:
        kind = frame.kind
        if not frame.stream:
            self._of_callees_connection(frame)
            return
        stream = self._forwarded.get(frame.stream)
        if kind == frames.PUSH_PROMISE:
            raise BadFrame  # it was told not to
        if kind == frames.HEADERS:
            headers = self.callee_reader.read(frame.payload)
            if stream is not None:
                stream.answer_headers(headers, end=bool(frame.flags & frames.END_STREAM))
        elif kind == frames.DATA and stream is None:
            self.to_callee.append(frames.window_update(0, len(frame.raw) - frames.HEAD))
        elif stream is not None:
            self._of_callees_stream(stream, frame)

    def _of_callees_stream(self, stream: Http2Stream, frame: Frame) -> None:
        if frame.kind == frames.DATA:
            stream.answer_data(frame)
        elif frame.kind == frames.RST_STREAM:
            stream.callee_reset(int.from_bytes(frame.payload, "big"))
        elif frame.kind == frames.WINDOW_UPDATE:
            self.to_caller.append(frames.renumbered(frame, stream.id))

    def _of_callees_connection(self, frame: Frame) -> None:
        if frame.kind == frames.GOAWAY:
            self._going_away(frame)
        elif frame.kind == frames.SETTINGS or frame.kind in _OF_CONNECTION:
            if frame.kind == frames.SETTINGS and not frame.flags & frames.ACK:
                self.caller_reader.allow_table(frames.settings(frame.payload).get(frames.HEADER_TABLE_SIZE, 0))
            self.to_caller.append(frame.raw)

    def _caller_settings(self, frame: Frame) -> None:
        if frame.flags & frames.ACK:
            self.to_callee.append(frame.raw)
            return
        payload = frame.payload
        self.callee_reader.allow_table(frames.settings(payload).get(frames.HEADER_TABLE_SIZE, 0))
        if not self._settled:  # a pushed answer would be an attempt without a request
            self._settled = True
            payload += frames.ENABLE_PUSH.to_bytes(2, "big") + bytes(4)
        self.to_callee.append(frames.build(frames.SETTINGS, 0, 0, payload))

    def _going_away(self, frame: Frame) -> None:
        """Pass GOAWAY on under the caller's ids; what lies behind it was certainly not worked on (RFC 9113, 6.8)."""
        last = int.from_bytes(frame.payload[:4], "big") & _GRACEFUL
        known = last
        if last != _GRACEFUL:
            known = max((stream.id for number, stream in self._forwarded.items() if number <= last), default=0)
            if not known and last >= self._next - 2:
                known = self._last_seen
            for stream in list(self._streams.values()):
                if stream.callee_id is None or stream.callee_id > last:
                    stream.not_taken(told=stream.id > known)
        self.to_caller.append(frames.build(frames.GOAWAY, 0, 0, known.to_bytes(4, "big") + frame.payload[4:]))

    # how the ends end

    def caller_eof(self) -> None:
        """The caller is leaving: HTTP/2 knows no half connection."""
        self._end_all("eof", "caller")
        super().caller_eof()

    def callee_eof(self) -> None:
        """The callee is leaving; what it answered has been passed on."""
        self._end_all("eof", "callee")
        super().callee_eof()

    def lost(self, *, caller: bool, reset: bool) -> None:
        """End what is open; the other end sees the same."""
        self._end_all("reset" if reset else "eof", "caller" if caller else "callee")
        super().lost(caller=caller, reset=reset)

    def undialled(self, error: str) -> None:
        """The callee is not there."""
        self._end_all(error, "callee")

    def shut(self, fault: str) -> None:
        """Wire closes the link."""
        self._passed.settle()
        if fault:
            for stream in self._streams.values():
                stream.record.faults.append(fault)
        self._end_all("reset", "wire")

    def _end_all(self, error: str, closed_by: str) -> None:
        self._passed.settle()
        for stream in list(self._streams.values()):
            stream.end(error=error, closed_by=closed_by)

    def _broken(self, by: str) -> None:
        self._end_all("truncated", by)
        self.connection.reset_both()
