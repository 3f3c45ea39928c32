"""One HTTP/1.1 request and its answer: forwarded as they come, or held for the plan's steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_chaos.wire.acts import How
from pytest_chaos.wire.http1.answer import AnswerReader
from pytest_chaos.wire.http1.messages import HEAD_LIMIT, BadMessage, Body, Head, build, edited, reframed
from pytest_chaos.wire.http1.request import Http1Request
from pytest_chaos.wire.kinds import BODY_LIMIT
from pytest_chaos.wire.record import RESPONSE_HEADERS, Record, named
from pytest_chaos.wire.stub import Answer
from pytest_chaos.wire.table import Plan, Step

if TYPE_CHECKING:
    from pytest_chaos.wire.http1.connection import Http1

_LINGER_S = 0.005
"""How long the kernel is given to tell that a caller that sent FIN had in truth hung up."""


class Http1Exchange(Http1Request):
    """The whole exchange."""

    def __init__(self, http: Http1, head: Head, raw: bytes, body: Body, record: Record, plan: Plan) -> None:
        super().__init__(http, head, raw, body, record, plan)
        self.left_ns: int | None = None
        self._beyond = b""
        self._reader = AnswerReader(head)
        self._held = bytearray()
        self._held_head = 0
        self._delivering = not plan.response

    def response(self, data: bytes) -> None:
        """Take bytes of the callee's answer."""
        if self._reader.take_whole(data):
            self._begun()
            self._pass(data)
            if not self.ended:
                self._answer_done()
            return
        parts: list[bytes] = []
        try:
            rest = self._reader.read(data, parts, self._connection.caller.write)
        except BadMessage:
            self._begun()
            self._pass(b"".join(parts))
            self.end(error="truncated", closed_by="callee")
            self._http.give_up_reading(from_callee=self._reader.unread())
            return
        self._begun()
        if rest is None:
            self._switch(self._reader.unread())
            return
        if parts:
            self._pass(b"".join(parts))
        if self._reader.done and not self.ended:
            self._answer_done()
            if rest:
                self._behind(rest)

    def _behind(self, rest: bytes) -> None:
        """Take bytes that nobody asked for: they come behind what is held."""
        if self.ended:
            self._http.from_callee(rest)
        elif not self._last:
            self._beyond += rest
            self._last = len(self._beyond) > HEAD_LIMIT

    def _begun(self) -> None:
        """Record the answer's head, once it is here."""
        head = self._reader.head
        if head is not None and self.record.upstream_status is None:
            self._held_head = self._reader.head_size
            self.record.upstream_status = head.status
            self.record.response_headers = head.answered

    def _switch(self, unread: bytes) -> None:
        size = self._reader.head_size
        self.record.upstream_status = 101
        self._give(unread[:size])
        self.end()
        self._http.give_up_reading(from_callee=unread[size:])

    def _pass(self, data: bytes) -> None:
        if self._delivering:
            self._give(data)
            return
        if not self.dropped:
            self._held += data
        if self.needs is not None and not self.busy and len(self._held) - self._held_head >= self.needs:
            self.answered()
        if len(self._held) > BODY_LIMIT:
            if self.gives and self._connection.callee is not None:
                self._connection.callee.stop("held")
                if not self.busy:
                    self.answered()
            else:
                self.dropped = True
                self._held.clear()

    def _give(self, data: bytes) -> None:
        if self.ended:
            return
        record = self.record
        if record.answered_ns is None:
            record.answered_ns = self.world.now()
            record.status = record.upstream_status if record.status is None else record.status
        record.response_bytes += len(data)
        self._connection.caller.write(data)

    def served(self, answer: Answer) -> None:
        """Take a stub's answer as if it had come over a connection."""
        self.response(build(answer, request=self._head))

    def upstream_gone(self, *, reset: bool) -> None:
        """Let the caller see what the callee did."""
        self.cut("reset" if reset else "close", error="eof", by="callee")

    def request_over(self) -> None:
        """End an exchange that was answered early."""
        if self._last and self._reader.done:
            self._finish()

    def edit(self, step: Step, *, request: bool) -> None:
        """Change a header of the request, or of the held answer."""
        if request:
            self.edit_request(step)
            return
        params = step.active.rule.params
        raw = bytes(self._held[: self._held_head])
        changed = edited(raw, params["name"], params.get("value"))
        if changed != raw:
            self._held[: self._held_head] = changed
            self._held_head = len(changed)
            self.hit(step)

    def reframe(self, *, size: int | None, by: int) -> bool:
        """Give the held answer another length; the connection lives only where that is the right one."""
        body, head = self._reader.body, bytes(self._held[: self._held_head])
        content = bytes(self._held[self._held_head :])
        if body is None or not content:
            return False
        head, content = reframed(head, content, chunked=body.chunked, size=size, by=by)
        self._held, self._held_head = bytearray(head + content), len(head)
        self._last = self._last or bool(by) or not body.done
        body.done = True
        return True

    def _answer_done(self) -> None:
        if self._delivering:
            self._finish()
        elif not self.busy:
            self.answered()

    def deliver(self) -> None:
        """Give what is held and what follows."""
        self._delivering = True
        held, self._held = bytes(self._held), bytearray()
        if held:
            self._give(held)
        if self._connection.callee is not None:
            self._connection.callee.resume("held")
        if self._reader.done:
            self._finish()

    def deliver_part(self, size: int, *, begin: bool) -> bool:
        """Give the head (at the beginning) and so many bytes of the body."""
        size += self._held_head if begin else 0
        self._give(bytes(self._held[:size]))
        del self._held[:size]
        return bool(self._held)

    def answer(self, answer: Answer, *, grpc_code: int | None, message: str) -> None:
        """Give an answer of wire's own in place of the callee's."""
        del grpc_code, message
        self.record.status = answer.status
        self.record.response_headers = named(answer.headers, RESPONSE_HEADERS)
        self._last = self._last or not self._head.keep_alive
        if self._reader.body is not None and self._reader.body.until_close:
            self._last = True
        self._give(build(answer, request=self._head))
        self._reader.body = Body()
        self._finish()

    def cut(self, how: How, *, error: str, by: str = "wire") -> None:
        """Reset or close the connection."""
        self.end(error=error, closed_by=by)
        if how == "reset":
            self._connection.reset_both()
        else:
            self._connection.close()

    # how it ends

    @property
    def over(self) -> bool:
        """Whether the caller has the whole answer though its request is not complete: it need not be any more."""
        return not self.body.done and self._delivering and self._reader.done

    def callee_ended(self, *, reset: bool) -> None:
        """The callee has sent FIN, or its end is gone: the answer's end, or an answer that will never be whole."""
        if self._reader.body is not None and self._reader.body.until_close and not self._reader.body.done and not reset:
            self._reader.body.done = True
            self._last = True
            self._answer_done()
            return
        if self.over:
            self._last = True
            if reset:
                self.end()
                self._connection.close()
            elif self.left_ns is None:
                self._connection.caller.write_eof()
            # A caller that has sent FIN gets ours from _finish_late: with both sent, half closed looks like hung up.
            return
        if not self.forwarded or self._own_answer or self._reader.done:
            self._last = True  # what is held, or made by wire itself, is given first
            return
        if self._held and not self.ended:
            self.deliver()
        error = "reset" if reset else "eof" if self._reader.body is None else "truncated"
        self.end(error=error, closed_by="callee" if self.left_ns is None else "caller", at_ns=self.left_ns)
        if reset:
            self._connection.reset_both()
        else:
            self._connection.close()

    def _finish(self) -> None:
        if not self.body.done:
            self._last = True  # answered early: the rest of the request still belongs to this exchange
            if self.left_ns is None:
                return
        if self.left_ns is not None:
            asyncio.get_running_loop().call_later(_LINGER_S, self._finish_late)
            return
        self._finished()

    def _finish_late(self) -> None:
        if self._connection.caller.hung_up():
            self.record.status = None
            self.end(error="eof", closed_by="caller", at_ns=self.left_ns)
            self._connection.close()
        else:
            self._last = True
            self._finished()

    def _finished(self) -> None:
        if self._beyond and not self._last:
            self._connection.caller.write(self._beyond)
        self.end()
        if self._last:
            self._connection.close()
        else:
            self._http.next_request()

    def end(self, *, error: str = "", closed_by: str = "", at_ns: int | None = None) -> None:
        """End the attempt. Only where the connection lives on, and speaks HTTP still, does another one follow."""
        if not self.ended:
            super().end(error=error, closed_by=closed_by, at_ns=at_ns)
            if self._connection.handler is self._http and self._http.exchange is self:
                self._http.ended()
