"""An HTTP/2 request on its way to the callee: forwarded as it comes, or held for the plan's steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_chaos.wire import frames
from pytest_chaos.wire.acts import Exchange
from pytest_chaos.wire.frames import Block, Frame
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.request_body import RequestBody
from pytest_chaos.wire.table import Plan

if TYPE_CHECKING:
    from pytest_chaos.wire.http2 import Http2

_REQUEST_S = 0.05
"""How long the rest of a request is waited for before wire answers it itself; a stream of messages may never end."""


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

    def request_begun(self, *, end: bool) -> None:
        """The request's headers are here."""
        self._request_ended = end
        if end:
            self._request_done()
        self.start()

    def request_data(self, frame: Frame) -> None:
        """Take a DATA frame of the caller."""
        size = len(frame.raw) - frames.HEAD
        self.record.request_bytes += size
        self._body.take(frame.content())
        self._request_ended = self._request_ended or bool(frame.flags & frames.END_STREAM)
        if self._own_answer or self.ended:
            self._swallow(size)
        elif self.callee_id is not None:
            self._http.to_callee.append(frames.renumbered(frame, self.callee_id))
        else:
            self._waiting.append(frame)
        if self._request_ended:
            self._request_done()

    def request_trailers(self, headers: Block) -> None:
        """Take the caller's trailers, which end its request."""
        self._request_ended = True
        if self.callee_id is not None and not self._own_answer:
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
        for part in waiting:
            if isinstance(part, Frame):
                http.to_callee.append(frames.renumbered(part, number))
            else:
                http.to_callee.append(http.callee_writer.frames(number, part, end=True))
        if self.busy:
            http.flush()

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
