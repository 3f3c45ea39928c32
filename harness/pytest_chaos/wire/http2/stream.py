"""One HTTP/2 stream, most of the time a gRPC call: its answer, given as it comes or held for the plan's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_chaos.wire.acts import How
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import Frame
from pytest_chaos.wire.http2.grpc import OF_HTTP, UNAVAILABLE, Messages, deadline_passed
from pytest_chaos.wire.http2.headers import Block
from pytest_chaos.wire.http2.held import HeldAnswer, answer_headers, reset_headers, status_headers
from pytest_chaos.wire.http2.request import Http2Request
from pytest_chaos.wire.record import RESPONSE_HEADERS, Record, named
from pytest_chaos.wire.stub import Answer
from pytest_chaos.wire.table import Plan, Step

if TYPE_CHECKING:
    from pytest_chaos.wire.http2.connection import Http2

_HELD_LIMIT = 16 * 1024
"""Bytes of an answer that are held without giving credit for them: less than any usual window."""
_OK, _UNKNOWN = 200, 2
_NOTHING_HELD = HeldAnswer()
"""What a stream holds whose answer nothing can hold: nothing is ever put into it."""


class Http2Stream(Http2Request):
    """The whole exchange."""

    def __init__(self, http: Http2, number: int, record: Record, plan: Plan, headers: Block) -> None:
        super().__init__(http, number, record, plan, headers)
        self._delivering = not plan.response
        self._begun = False
        self._held = _NOTHING_HELD if self._delivering else HeldAnswer()
        self._given = Messages() if self._grpc else None
        self._last_message: Step | None = None
        """The step that ends the call after so many messages of the answer."""

    def answer_headers(self, headers: Block, *, end: bool) -> None:
        """Take the callee's headers or trailers."""
        record = self.record
        status, grpc_status = headers.status, headers.grpc_status
        if status is not None and status >= _OK:
            record.upstream_status = None if self._grpc and status == _OK else status
        if grpc_status is not None:
            record.upstream_grpc_status = grpc_status
        if headers.answered:
            record.response_headers = {**record.response_headers, **headers.answered}
        self._answer_ended = self._answer_ended or end
        if self._delivering:
            self._give_headers(headers, end=end)
        elif status is None:
            self._held.trailers = headers
        else:
            self._held.heads.append(headers)
        if end:
            self._answer_done()
        elif status is not None and status >= _OK:
            self._early()

    def answer_data(self, frame: Frame) -> None:
        """Take a DATA frame of the callee."""
        self._answer_ended = self._answer_ended or bool(frame.flags & frames.END_STREAM)
        size = len(frame.raw) - frames.HEAD
        if self._delivering and not self.ended:
            self._give_data(frame)
        elif self.ended or self.dropped:
            self._credit_callee(size)
        else:
            content = frame.content()
            self._held.data += content
            self._credit_callee(size - len(content))
            self._early()
            if len(self._held.data) > _HELD_LIMIT:
                self._overfull()
        if self._answer_ended:
            self._answer_done()

    def _early(self) -> None:
        """Play steps that do not need the whole answer, as soon as what they need is held."""
        needed = self.needs
        if needed is not None and not self._delivering and not self.busy and len(self._held.data) >= needed:
            self.answered()

    def _give_data(self, frame: Frame) -> None:
        size = len(frame.raw) - frames.HEAD
        if self._given is not None:
            plain = self._last_message is None and not frame.flags & frames.PADDED
            content = frame.raw if plain else frame.content()
            if (at := self._last_byte(content, frames.HEAD if plain else 0)) is not None:
                self._credit_callee(size - at)
                self._end_behind(content[:at])
                return
        self.record.response_bytes += size
        self._http.to_caller.append(frames.renumbered(frame, self.id))

    def _last_byte(self, data: bytes, begin: int) -> int | None:
        """Count the messages in data that are about to be given; tell where the last one ends that may pass."""
        if self._given is None:
            return None
        step = self._last_message
        limit = 0 if step is None or step.active.lifted else step.active.rule.params["messages"]
        at = self._given.feed(data, begin, limit=limit)
        self.record.response_messages = self._given.count
        return at

    def _end_behind(self, part: bytes) -> None:
        assert self._last_message is not None
        self.record.response_bytes += len(part)
        if part:
            self._http.to_caller.append(frames.build(frames.DATA, 0, self.id, part))
        self._abort(self._last_message)

    def abort_after(self, step: Step, *, request: bool) -> None:
        """End the call once so many messages have passed; where that is none, its headers pass."""
        super().abort_after(step, request=request)
        held = self._held
        if request or (self._answer_ended and not held.data and held.trailers is None):
            return  # an answer of trailers only: there is no stream to end
        self._last_message = step
        if not step.active.rule.params["messages"]:
            for headers in held.heads:
                self._give_headers(headers, end=False)
            held.heads = []
            self._end_behind(b"")

    def reframe(self, *, size: int | None, by: int) -> bool:
        """Give the held answer another length; what is not held yet of a longer one is never given."""
        before = len(self._held.data)
        if not self._held.reframe(size, by, add=not self._grpc):
            return False
        self._credit_callee(before - len(self._held.data))
        if not self._answer_ended:
            if self.callee_id is not None:
                self._http.to_callee.append(frames.rst_stream(self.callee_id, frames.CANCEL))
            self._answer_ended = True
        return True

    def _overfull(self) -> None:
        """More cannot be held: its windows are the caller's. What is to be given is played now, else dropped."""
        if not self.gives:
            self.dropped = True
            self._credit_callee(len(self._held.take(len(self._held.data))))
        elif not self.busy:
            self.answered()

    def _credit_callee(self, size: int) -> None:
        self._http.to_callee.append(frames.window_update(0, size))
        if not self._answer_ended and self.callee_id is not None:
            self._http.to_callee.append(frames.window_update(self.callee_id, size))

    def _answer_done(self) -> None:
        if self.ended:
            self._forget()
        elif self._delivering:
            self._finish()
        elif not self.busy:
            self.answered()

    def _give_headers(self, headers: Block, *, end: bool) -> None:
        record = self.record
        if self._edits:
            headers = self._edited(headers, begun=self._begun)
        record.answered_ns = record.answered_ns or self.world.now()
        record.status = record.upstream_status
        if end:
            record.grpc_status = record.upstream_grpc_status
        self._begun = True
        self._http.to_caller.append(self._http.caller_writer.frames(self.id, headers, end=end))

    def _finish(self) -> None:
        record = self.record
        if self._grpc and record.grpc_status is None and record.upstream_status is not None:
            record.grpc_status = OF_HTTP.get(record.upstream_status, _UNKNOWN)
        self.end()
        self._forget()

    def deliver(self) -> None:
        """Give what is held and what follows."""
        self._delivering = True
        while self.deliver_part(_HELD_LIMIT, begin=not self._begun):
            pass

    def deliver_part(self, size: int, *, begin: bool) -> bool:
        """Give the headers (at the beginning) and so many bytes of DATA; the trailers with the last of it."""
        if self.ended:
            return False
        held, whole = self._held, self._answer_ended
        if begin:
            heads, held.heads = held.heads, []
            for headers in heads:
                bare = whole and not held.data and held.trailers is None
                self._give_headers(headers, end=bare and headers is heads[-1])
        part = held.take(size)
        last = whole and not held.data
        if part and (at := self._last_byte(part, 0)) is not None:
            self._end_behind(part[:at])
            return False
        if part:
            self.record.response_bytes += len(part)
            flags = frames.END_STREAM if last and held.trailers is None else 0
            self._http.to_caller.append(frames.build(frames.DATA, flags, self.id, part))
        if last and held.trailers is not None:
            self._give_headers(held.trailers, end=True)
        if last:
            self._finish()
        self._http.flush()
        return bool(held.data)

    def answer(self, answer: Answer, *, grpc_code: int | None, message: str) -> None:
        """Give an answer of wire's own."""
        record = self.record
        if grpc_code is None:
            headers, body = answer_headers(answer), answer.body[:_HELD_LIMIT]
            record.status = answer.status
            record.grpc_status = OF_HTTP.get(answer.status, _UNKNOWN) if self._grpc else None
        else:
            headers = status_headers(grpc_code, message, begun=self._begun, metadata=answer.headers)
            body = b""
            record.grpc_status = grpc_code
        record.response_headers = {**record.response_headers, **named(answer.headers, RESPONSE_HEADERS)}
        if self._fields.get(":method") == "HEAD":
            body = b""
        record.answered_ns = record.answered_ns or self.world.now()
        self._http.to_caller.append(self._http.caller_writer.frames(self.id, headers, end=not body))
        if body:
            self._http.to_caller.append(frames.build(frames.DATA, frames.END_STREAM, self.id, body))
        self._drop()
        self.end()
        self._close()

    def cut(self, how: How, *, error: str) -> None:
        """End the stream; a gRPC caller sees UNAVAILABLE, as it does when a connection breaks under a call."""
        if self._grpc and how == "reset":
            headers = reset_headers(begun=self._begun)
            self._http.to_caller.append(self._http.caller_writer.frames(self.id, headers, end=True))
            self.record.grpc_status = UNAVAILABLE
        else:
            code = frames.CANCEL if error == "eof" else frames.INTERNAL_ERROR
            self._http.to_caller.append(frames.rst_stream(self.id, code))
            self._request_ended = True
        self._drop()
        self.end(error=error, closed_by="wire")
        self._close()

    def _drop(self) -> None:
        """Throw away what is held, and tell the callee that nobody waits."""
        self._http.to_callee.append(frames.window_update(0, len(self._held.take(len(self._held.data)))))
        if self.callee_id is not None and not self._answer_ended:
            self._http.to_callee.append(frames.rst_stream(self.callee_id, frames.CANCEL))
        self._answer_ended = True

    def _close(self) -> None:
        """After the last frame to the caller: it need not send the rest of its request."""
        if not self._request_ended:
            self._http.to_caller.append(frames.rst_stream(self.id, frames.NO_ERROR))
        self._http.forget(self.id)
        self._http.flush()

    # how it ends

    def caller_reset(self, code: int) -> None:
        """The caller gave up (or has enough)."""
        if self.callee_id is not None:
            self._http.to_callee.append(frames.rst_stream(self.callee_id, code))
        self._answer_ended = self._request_ended = True
        self._drop()
        late = deadline_passed(self._fields.get("grpc-timeout", ""), self.world.now() - self.record.started_ns)
        self.end(error="timeout" if late else "reset", closed_by="caller")
        self._http.forget(self.id)

    def caller_credit(self, frame: Frame) -> None:
        """Pass the caller's credit on."""
        if self.callee_id is not None and not self._answer_ended:
            self._http.to_callee.append(frames.renumbered(frame, self.callee_id))

    def callee_reset(self, code: int) -> None:
        """The callee gave up, or refused to begin."""
        refused = code == frames.REFUSED_STREAM
        if refused:
            self.record.forwarded_ns = None  # certainly not worked on (RFC 9113, 8.7)
        self._answer_ended = True
        self._http.to_caller.append(frames.rst_stream(self.id, code))
        self.end(error="refused" if refused else "reset", closed_by="callee")
        self._http.forget(self.id)

    def not_taken(self, *, told: bool) -> None:
        """The callee went away without beginning this one; unless GOAWAY has told the caller, it is reset."""
        self.record.forwarded_ns = None
        if not told:
            self._http.to_caller.append(frames.rst_stream(self.id, frames.REFUSED_STREAM))
        self.end(error="refused", closed_by="callee")
        self._http.forget(self.id)
