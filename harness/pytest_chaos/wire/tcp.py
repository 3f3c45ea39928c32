"""Plain TCP: bytes both ways as they come, one attempt for the connection."""

from __future__ import annotations

import asyncio

from pytest_chaos.wire.acts import Exchange, How
from pytest_chaos.wire.connection import Connection, Handler
from pytest_chaos.wire.kinds import BODY_LIMIT
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.stub import Answer
from pytest_chaos.wire.table import NOTHING, Facts, Plan

_HELD_LIMIT = 256 * 1024


class Tcp(Handler):
    """Relays a connection; the attempt begins with its first byte. ``opaque`` is why nothing in it can be read."""

    def __init__(self, connection: Connection, *, opaque: str = "") -> None:
        super().__init__(connection)
        self._opaque = opaque
        self._exchange: TcpExchange | None = None

    def from_caller(self, data: bytes) -> None:
        """Pass on, or keep while a step holds the request."""
        self._begun().request(data)

    def from_callee(self, data: bytes) -> None:
        """Pass on, or keep while a step holds the answer."""
        self._begun().response(data)

    def lost(self, *, caller: bool, reset: bool) -> None:
        """End the attempt; the other end sees the same."""
        self._end("reset" if reset else "", "" if not reset else "caller" if caller else "callee")
        super().lost(caller=caller, reset=reset)

    def undialled(self, error: str) -> None:
        """End the attempt: the callee is not there."""
        self._end(error, "callee")

    def shut(self, fault: str) -> None:
        """End the attempt: wire closes the link."""
        if fault and self._exchange is not None:
            self._exchange.record.faults.append(fault)
        self._end("reset", "wire")

    def _end(self, error: str, closed_by: str) -> None:
        if self._exchange is not None:
            self._exchange.end(error=error, closed_by=closed_by)

    def _begun(self) -> TcpExchange:
        if self._exchange is None:
            world, connection, link = self.world, self.connection, self.link.name
            record = world.begin(
                link=link,
                connection=connection.id,
                reused=False,
                protocol="tcp",
                connected_ns=connection.connected_ns,
                started_ns=world.now(),
            )
            if self._opaque:
                record.request_headers = {"opaque": self._opaque}
            plan = world.table.decide(link, Facts(protocol="tcp")) if world.table.watched(link) else NOTHING
            self._exchange = TcpExchange(connection, record, plan)
            self._exchange.start()
        return self._exchange


class TcpExchange(Exchange):
    """The connection as one exchange: the caller's bytes are the request, the callee's the answer."""

    def __init__(self, connection: Connection, record: Record, plan: Plan) -> None:
        super().__init__(connection.world, record, plan)
        self._connection = connection
        self._forwarding = False
        self._delivering = not plan.response
        self._out: list[bytes] = []
        self._held = 0
        self._in = bytearray()
        self._room: int | None = None
        """Bytes of the answer that may still be given; None: no limit."""

    def request(self, data: bytes) -> None:
        """Take bytes of the caller."""
        self.record.request_bytes += len(data)
        if self.ended or self._connection.callee is None:
            self._connection.reset_both()  # a stub speaks HTTP only
        elif self._forwarding:
            self.record.forwarded_ns = self.record.forwarded_ns or self.world.now()
            self._connection.callee.write(data)
        else:
            self._out.append(data)
            self._held += len(data)
            if self._held > _HELD_LIMIT:
                self._connection.caller.stop("held")

    def response(self, data: bytes) -> None:
        """Take bytes of the callee."""
        if self._delivering:
            self._give(data)
            return
        self._in += data
        if not self.busy:
            self.answered()
        if len(self._in) > BODY_LIMIT and self._connection.callee is not None:
            self._connection.callee.stop("held")

    def go_on(self) -> None:
        """Forward what came and what comes."""
        self._forwarding = True
        out, self._out = b"".join(self._out), []
        self._connection.caller.resume("held")
        if out and self._connection.callee is not None:
            self.record.forwarded_ns = self.world.now()
            self._connection.callee.write(out)

    async def request_complete(self) -> None:
        """A stream has no end to wait for."""

    def answer(self, answer: Answer, *, grpc_code: int | None, message: str) -> None:
        """There is no answer in a protocol that wire does not read."""
        del answer, grpc_code, message
        self.cut("reset", error="reset")

    def deliver(self) -> None:
        """Give what is held and what follows."""
        self._delivering = True
        held, self._in = bytes(self._in), bytearray()
        if self._connection.callee is not None:
            self._connection.callee.resume("held")
        self._give(held)

    def deliver_part(self, size: int, *, begin: bool) -> bool:
        """Give so many bytes, once; what follows is cut off."""
        del begin
        self._room = size
        self.deliver()
        return False

    def cut(self, how: How, *, error: str) -> None:
        """Reset or close the connection; a truncated stream is closed once its bytes have gone."""
        if error == "truncated" and self._room:
            return
        self.end(error=error, closed_by="wire")
        if how == "reset":
            self._connection.reset_both()
        else:
            self._connection.close()

    def _give(self, data: bytes) -> None:
        if self.ended:
            return
        if self._room is not None:
            data = data[: self._room]
            self._room -= len(data)
        self.record.response_bytes += len(data)
        if data and self.record.answered_ns is None:
            self.record.answered_ns = self.world.now()
        self._connection.caller.write(data)
        if self._room == 0 and asyncio.current_task() is not self._task:
            self.cut("close", error="truncated")
