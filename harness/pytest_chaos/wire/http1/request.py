"""An HTTP/1.1 request on its way to the callee: forwarded as it comes, or held for the plan's steps."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

from pytest_chaos.wire.acts import Exchange
from pytest_chaos.wire.http1.messages import Body, Head, edited
from pytest_chaos.wire.kinds import BODY_LIMIT
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.replay import Copy
from pytest_chaos.wire.request_body import RequestBody
from pytest_chaos.wire.stub import Answer, Request
from pytest_chaos.wire.table import Plan, Step

if TYPE_CHECKING:
    from pytest_chaos.wire.http1.connection import Http1

_HELD_LIMIT = 1024 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1Request(Exchange):
    """``http`` owns the connection; ``raw`` is the request's head, ``body`` how far what follows it has come."""

    def __init__(self, http: Http1, head: Head, raw: bytes, body: Body, record: Record, plan: Plan) -> None:
        super().__init__(http.world, record, plan)
        self._http, self._connection, self._head = http, http.connection, head
        self._fields = head.fields
        self.body = body
        self.forwarded = False
        self._out: list[bytes] | None = [raw]
        self._copy: list[bytes] | None = [raw] if self.keeps else None
        self._waiting = 0
        self._asked = RequestBody(record, http.link.identify, keep=http.link.stub is not None)
        self._complete: asyncio.Future[None] | None = None
        self._last = False
        """Whether the connection ends with this exchange."""
        self._own_answer = False
        record.request_bytes = record.request_bytes or len(raw)

    @abstractmethod
    def served(self, answer: Answer) -> None:
        """Take a stub's answer."""

    @abstractmethod
    def upstream_gone(self, *, reset: bool) -> None:
        """The callee cannot be sent anything any more."""

    @abstractmethod
    def request_over(self) -> None:
        """The request is complete: should the answer have been waiting for that, it ends now."""

    def request(self, raw: bytes, content: bytes) -> None:
        """Take (the next) bytes of the body: as they came, and what they carry."""
        self.record.request_bytes += len(raw)
        if content:
            self._asked.take(content)
        if self._copy is not None:
            self._copy.append(raw)
            if self.record.request_bytes > BODY_LIMIT:
                self._copy = None
        if self._out is not None:
            self._out.append(raw)
            self._waiting += len(raw)
            if self._waiting > _HELD_LIMIT and self._http.link.stub is None:
                self._connection.caller.stop("held")
        elif self.forwarded and self._connection.callee is not None:
            self._connection.callee.write(raw)
        if self.body.done:
            self._request_done()

    def _request_done(self) -> None:
        self._asked.done(self.world.now(), path=self._head.target, headers=self._head.fields)
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)
        if self._http.link.stub is not None and self._out is None and not self._own_answer:
            self._work()
        else:
            self.request_over()

    def go_on(self) -> None:
        """Forward the request, or let the stub do its work once it is complete."""
        callee, out, self._out = self._connection.callee, self._out or [], None
        if self._http.link.stub is not None:
            if self.body.done:
                self._work()
            elif self._head.expects_continue:
                self._connection.caller.write(_CONTINUE)
            return
        if callee is None or callee.got_eof or callee.gone:
            self.upstream_gone(reset=callee is None or callee.gone)
            return
        self.forwarded = True
        self.record.forwarded_ns = self.world.now()
        callee.write(b"".join(out))
        self._connection.caller.resume("held")

    def was_forwarded(self) -> None:
        """The whole request is with the callee, and recorded, already."""
        self._out, self.forwarded = None, True

    async def request_complete(self) -> None:
        """Take the rest of the request and drop it."""
        self._out, self._own_answer = None, True
        self._connection.caller.resume("held")
        if not self.body.done:
            if self._head.expects_continue:
                self._connection.caller.write(_CONTINUE)
            self._complete = asyncio.get_running_loop().create_future()
            await self._complete

    def _work(self) -> None:
        stub = self._http.link.stub
        assert stub is not None
        self.forwarded = True
        record, head = self.record, self._head
        record.forwarded_ns = self.world.now()
        asked = Request(operation=head.operation, target=head.target, headers=self._fields, body=self._asked.kept)
        answer, effect = stub.serve(asked)
        if effect is not None:
            self.world.effect({**effect, "attempt": record.id})
        self._last = not head.keep_alive
        self.served(answer)

    def copy(self) -> Copy | None:
        """Give the whole request, where a step had it kept and it was not too long."""
        if self._copy is None or not self.body.done:
            return None
        head, link = self._head, self._http.link
        raw = b"".join(self._copy)
        return Copy(reach=link, target=head.target, fields=self._fields, body=self._asked.kept, raw=raw, head=head)

    def edit_request(self, step: Step) -> None:
        """Change the header in the head that waits to be forwarded."""
        params = step.active.rule.params
        name, value = params["name"], params.get("value")
        if self._out is None or self._fields.get(name) == value:
            return
        self._out[0] = edited(self._out[0], name, value)
        kept = {other: text for other, text in self._fields.items() if other != name}
        self._fields = kept if value is None else {**kept, name: value}
        self.hit(step)
