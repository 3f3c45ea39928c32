"""An HTTP/2 request on its way to the callee: forwarded as it comes, or held for the plan's steps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_chaos.wire.acts import Exchange
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import Frame
from pytest_chaos.wire.http2.grpc import Messages
from pytest_chaos.wire.http2.headers import Block
from pytest_chaos.wire.kinds import BODY_LIMIT
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.replay import Copy
from pytest_chaos.wire.request_body import RequestBody
from pytest_chaos.wire.table import Plan, Step

if TYPE_CHECKING:
    from pytest_chaos.wire.http2.connection import Http2

_REQUEST_S = 0.05
"""How long the rest of a request is waited for before wire answers it itself; a stream of messages may never end."""


@dataclass(slots=True)
class _Kept:
    """The body and trailers of a request that is kept."""

    data: bytearray = field(default_factory=bytearray)
    trailers: Block | None = None


class Http2Request(Exchange):
    """``id`` is the caller's stream id, ``callee_id`` the callee's, once the request is forwarded."""

    def __init__(self, http: Http2, number: int, record: Record, plan: Plan, headers: Block) -> None:
        super().__init__(http.world, record, plan)
        self._http, self.id, self._headers, self._fields = http, number, headers, headers.fields
        self.callee_id: int | None = None
        self._grpc = record.protocol == "grpc"
        self._body = RequestBody(record, http.link.identify, keep=False)
        self._request_ended = self._answer_ended = False
        self._own_answer = False
        self._waiting: list[Frame | Block] = []
        self._complete: asyncio.Future[None] | None = None
        self._copy: _Kept | None = _Kept() if self.keeps else None
        self._asked = Messages() if self._grpc else None
        self._limit: tuple[Step, Messages] | None = None
        """The step that ends the call after so many messages of the request, and how many have gone."""
        self._edits: list[Step] = []

    def request_begun(self, *, end: bool) -> None:
        """The request's headers are here."""
        self._request_ended = end
        if end:
            self._request_done()
        self.start()

    def was_forwarded(self, callee_id: int) -> None:
        """The whole request is with the callee, and recorded, already."""
        self.callee_id, self._request_ended = callee_id, True

    def request_data(self, frame: Frame) -> None:
        """Take a DATA frame of the caller."""
        size = len(frame.raw) - frames.HEAD
        self.record.request_bytes += size
        content = frame.content()
        self._body.take(content)
        if self._asked is not None:
            self._asked.feed(content)
            self.record.request_messages = self._asked.count
        if self._copy is not None:
            self._copy.data += content
            if len(self._copy.data) > BODY_LIMIT:
                self._copy = None
        self._request_ended = self._request_ended or bool(frame.flags & frames.END_STREAM)
        if self._own_answer or self.ended:
            self._swallow(size)
        elif self.callee_id is not None:
            self._forward(frame, self.callee_id)
        else:
            self._waiting.append(frame)
        if self._request_ended:
            self._request_done()

    def request_trailers(self, headers: Block) -> None:
        """Take the caller's trailers, which end its request."""
        self._request_ended = True
        if self._copy is not None:
            self._copy.trailers = headers
        if self.callee_id is not None and not self._own_answer and not self.ended:
            self._http.to_callee.append(self._http.callee_writer.frames(self.callee_id, headers, end=True))
        elif not self._own_answer and not self.ended:
            self._waiting.append(headers)
        self._request_done()

    def _request_done(self) -> None:
        self._body.done(self.world.now(), path=self._fields.get(":path", ""), headers=self._fields)
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)
        self._forget()

    def go_on(self) -> None:
        """Forward the request."""
        http = self._http
        callee = http.connection.callee
        if callee is not None and (callee.got_eof or callee.gone):
            self.cut("reset", error="eof")
            return
        self.callee_id = number = http.forward(self.id)
        self.record.forwarded_ns = self.world.now()
        waiting, self._waiting = self._waiting, []
        only = self._request_ended and not waiting
        http.to_callee.append(http.callee_writer.frames(number, self._headers, end=only))
        for at, part in enumerate(waiting):
            if self.ended:
                self._waiting = waiting[at:]
                self._give_back()
                break
            if isinstance(part, Frame):
                self._forward(part, number)
            else:
                http.to_callee.append(http.callee_writer.frames(number, part, end=True))
        if self.plan.request:  # no frame of the caller is being read: nobody else sends it
            http.flush()

    def _forward(self, frame: Frame, number: int) -> None:
        """Hand DATA on, unless a message in it is the last that may pass."""
        if self._limit is not None and not self._limit[0].active.lifted:
            step, passed = self._limit
            content = frame.content()
            at = passed.feed(content, limit=step.active.rule.params["messages"])
            if at is not None:
                self._http.to_callee.append(frames.build(frames.DATA, 0, number, content[:at]))
                self._swallow(len(frame.raw) - frames.HEAD - at)
                self._abort(step)
                return
        self._http.to_callee.append(frames.renumbered(frame, number))

    def abort_after(self, step: Step, *, request: bool) -> None:
        """End the call once so many messages of the request have passed; at once where it is none."""
        if request and not step.active.rule.params["messages"]:
            self._give_back()
            self._abort(step)
        elif request:
            self._limit = step, Messages()

    def _abort(self, step: Step) -> None:
        self._limit = None
        self._own_answer = True
        self.hit(step)
        self.answer_with(step)

    def edit(self, step: Step, *, request: bool) -> None:
        """Change a header of the request that waits to be forwarded; one of the answer when that is given."""
        if not request:
            self._edits.append(step)
            return
        changed = _changed(step, self._headers, add=True)
        if changed is not self._headers:
            self._headers = changed
            self.hit(step)

    def _edited(self, headers: Block, *, begun: bool) -> Block:
        """Give the answer's headers, or (``begun``) its trailers, as the edits have them."""
        for step in self._edits:
            changed = _changed(step, headers, add=not begun)
            if changed is not headers and step.active.rule.fault not in self.record.faults:
                self.hit(step)
            headers = changed
        return headers

    def copy(self) -> Copy | None:
        """Give the whole request, where a step had it kept and it was not too long."""
        kept = self._copy
        if kept is None or not self._request_ended:
            return None
        return Copy(
            reach=self._http.link,
            target=self._fields.get(":path", ""),
            fields=self._fields,
            body=bytes(kept.data),
            headers=self._headers,
            trailers=kept.trailers,
        )

    async def whole_request(self) -> None:
        """Take the rest of the request, however long that takes."""
        self._own_answer = True
        self._give_back()
        self._http.flush()
        if not self._request_ended:
            self._complete = asyncio.get_running_loop().create_future()
            await self._complete

    async def request_complete(self) -> None:
        """Take the rest of the request, as far as it comes soon."""
        self._own_answer = True
        self._give_back()
        self._http.flush()
        if not self._request_ended:
            self._complete = asyncio.get_running_loop().create_future()
            timer = asyncio.get_running_loop().call_later(_REQUEST_S, self._complete.cancel)
            await asyncio.wait([self._complete])
            timer.cancel()

    def _give_back(self) -> None:
        """Give the caller its credit back for what waited and will not be forwarded."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._swallow(sum(len(part.raw) - frames.HEAD for part in waiting if isinstance(part, Frame)))

    def _swallow(self, size: int) -> None:
        self._http.to_caller.append(frames.window_update(0, size))
        if not self._request_ended and not self.ended:
            self._http.to_caller.append(frames.window_update(self.id, size))

    def end(self, *, error: str = "", closed_by: str = "", at_ns: int | None = None) -> None:
        """End the attempt; DATA that waited to be forwarded is given back as credit."""
        super().end(error=error, closed_by=closed_by, at_ns=at_ns)
        self._give_back()

    def _forget(self) -> None:
        if self._request_ended and self._answer_ended and self.ended:
            self._http.forget(self.id)


def _changed(step: Step, headers: Block, *, add: bool) -> Block:
    params = step.active.rule.params
    return headers.edited(params["name"], params.get("value"), add=add)
