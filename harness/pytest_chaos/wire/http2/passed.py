"""Unary gRPC calls that come whole, as most do: passed on before anything is done that only their records need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import HEAD, Frame
from pytest_chaos.wire.http2.grpc import Messages
from pytest_chaos.wire.http2.headers import Block
from pytest_chaos.wire.http2.stream import Http2Stream
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.request_body import whole_body
from pytest_chaos.wire.table import NOTHING

if TYPE_CHECKING:
    from pytest_chaos.wire.http2.connection import Http2

_OK = 200
_PREFIX = 5


class PassedCall:
    """Waits for an answer that comes in one piece; whatever else comes is for the stream that it becomes."""

    __slots__ = ("_headers", "callee_id", "id", "record")

    def __init__(self, number: int, callee_id: int, headers: Block, record: Record) -> None:
        self.id, self.callee_id, self._headers, self.record = number, callee_id, headers, record

    def forwarded(self, identify: Mapping[str, str], at_ns: int, content: bytes) -> None:
        """The callee was given the call at a time; ``content`` is all of its DATA."""
        record, fields = self.record, self._headers.fields
        record.forwarded_ns = at_ns
        record.request_bytes += len(content)
        record.request_messages = _messages(content)
        whole_body(record, identify, content, at_ns, path=fields.get(":path", ""), headers=fields)

    def answered(self, at_ns: int, head: Block, content: bytes, trailers: Block) -> None:
        """The caller was given a plain answer at a time."""
        record = self.record
        record.answered_ns = at_ns
        record.grpc_status = record.upstream_grpc_status = trailers.grpc_status
        record.response_bytes = len(content)
        record.response_messages = _messages(content)
        record.response_headers = head.answered_with(trailers)

    def stream(self, http: Http2) -> Http2Stream:
        """Become the stream that it would have been from the beginning."""
        stream = Http2Stream(http, self.id, self.record, NOTHING, self._headers)
        stream.was_forwarded(self.callee_id)
        return stream


class PassedCalls:
    """Those of a connection that are not answered, by the callee's stream ids."""

    def __init__(self, http: Http2) -> None:
        self._http = http
        self._open: dict[int, PassedCall] = {}

    def request(self, data: bytes) -> bool:
        """Take a call that is all there; False: there is another thing to be worked on, with all calls as streams."""
        http = self._http
        found = frames.whole_request(data) if http.caller_frames.between else None
        if found is None or not http.is_next(found[0]):
            self.settle()
            return False
        number, end = found
        started = http.world.now()
        headers = http.caller_reader.read(data[HEAD:end])
        plan = http.decide(headers)
        callee = http.connection.callee
        if plan is not NOTHING or headers.kind[0] != "grpc" or callee is None or not callee.takes_at_once:
            self.settle()
            stream = http.begin(number, headers, plan, started, end)
            stream.request_begun(end=False)
            stream.request_data(Frame(frames.DATA, frames.END_STREAM, number, data[end:]))
            http.flush()
            return True
        callee_id, content = http.next_id(), data[end + HEAD :]
        http.to_callee.append(http.callee_writer.message(callee_id, headers, content))
        at_ns = http.world.now()
        http.flush()
        record = http.record(number, headers, started, end)
        call = self._open[callee_id] = PassedCall(number, callee_id, headers, record)
        call.forwarded(http.link.identify, at_ns, content)
        return True

    def answer(self, data: bytes) -> bool:
        """Take an answer that is all there; False: as for a request."""
        http = self._http
        found = frames.whole_answer(data) if self._open and http.callee_frames.between else None
        if found is None or found[0] not in self._open:
            self.settle()
            return False
        callee_id, first, second = found
        head, trailers = http.callee_reader.read(data[HEAD:first]), http.callee_reader.read(data[second + HEAD :])
        if not _plain(head, trailers):
            stream = self.settle()[callee_id]
            stream.answer_headers(head, end=False)
            stream.answer_data(Frame(frames.DATA, 0, callee_id, data[first:second]))
            stream.answer_headers(trailers, end=True)
            http.flush()
            return True
        call, content = self._open.pop(callee_id), data[first + HEAD : second]
        http.to_caller.append(http.caller_writer.message(call.id, head, content, trailers))
        at_ns = http.world.now()
        http.flush()
        call.answered(at_ns, head, content, trailers)
        http.world.end(call.record)
        return True

    def settle(self) -> dict[int, Http2Stream]:
        """Have streams of all calls from here on; give them by the callee's ids."""
        calls, self._open = self._open, {}
        streams = {callee_id: call.stream(self._http) for callee_id, call in calls.items()}
        self._http.adopt(streams)
        return streams


def _plain(head: Block, trailers: Block) -> bool:
    """Whether an answer is what gRPC says of a call that came about: 200 first, a gRPC status behind the message."""
    return head.status == _OK and head.grpc_status is trailers.status is None


def _messages(content: bytes) -> int:
    if len(content) - _PREFIX == int.from_bytes(content[1:_PREFIX], "big"):
        return 1  # as nearly always
    messages = Messages()
    messages.feed(content)
    return messages.count
