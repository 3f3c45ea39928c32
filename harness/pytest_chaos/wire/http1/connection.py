"""HTTP/1.1 on a connection: one exchange after the other, the bytes as they are, faults in between."""

from __future__ import annotations

from pytest_chaos.wire.connection import Connection, Handler
from pytest_chaos.wire.http1.exchange import Http1Exchange
from pytest_chaos.wire.http1.messages import HEAD_LIMIT, BadMessage, Head, build, parse_request
from pytest_chaos.wire.http1.passed import Passed
from pytest_chaos.wire.record import REQUEST_HEADERS, Record
from pytest_chaos.wire.stub import Answer
from pytest_chaos.wire.table import NOTHING, Facts

_PIPELINE_LIMIT = 256 * 1024


class Http1(Handler):
    """Splits the caller's bytes into requests. A pipelined request waits until the one before it is answered."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._exchange: Http1Exchange | None = None
        self._passed: Passed | None = None
        self._in = b""
        self._first_ns = 0
        self._requests = 0
        self._pumping = False

    @property
    def exchange(self) -> Http1Exchange | None:
        """The request that is not answered yet; one that has only been passed on becomes an exchange by being asked."""
        passed = self._passed
        if passed is not None:
            self._passed = None
            self._exchange = passed.exchange(self)
        return self._exchange

    def from_caller(self, data: bytes) -> None:
        """Take bytes of the caller."""
        if not self._in:
            self._first_ns = self.world.now()
        self._in += data
        self.pump()

    def from_callee(self, data: bytes) -> None:
        """Take bytes of the callee; those that nobody asked for (a 408 before it closes) are passed on."""
        passed = self._passed
        if passed is not None and passed.answer(self.world, self.connection.caller, data):
            self._passed = None
            self.world.end(passed.record)
            return
        exchange = self.exchange
        if exchange is None or not exchange.forwarded:
            self.connection.caller.write(data)
        else:
            exchange.response(data)

    def pump(self) -> None:
        """Go on with the caller's bytes, as far as they can be worked on now."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._in and self.connection.handler is self and self._step():
                pass
        finally:
            self._pumping = False

    def ended(self) -> None:
        """The exchange has ended, and maybe the connection with it."""
        self._exchange = None

    def next_request(self) -> None:
        """On to the next request, while there is somebody who waits for an answer."""
        if self.connection.caller.gone:
            self._in = b""
        else:
            self.connection.caller.resume("pipelined")
            self.pump()

    def give_up_reading(self, *, from_callee: bytes = b"") -> None:
        """From here on this is no HTTP/1.1: relay what is left as it is."""
        from pytest_chaos.wire.tcp import Tcp  # noqa: PLC0415 - siblings; only here does one need the other

        left, self._in = self._in, b""
        self._exchange = None
        self.connection.caller.resume("pipelined")
        handler = self.connection.handler = Tcp(self.connection)
        if left:
            handler.from_caller(left)
        if from_callee:
            handler.from_callee(from_callee)

    def _step(self) -> bool:
        exchange = self.exchange
        if exchange is None:
            return self._begin()
        if exchange.body.done:
            if len(self._in) > _PIPELINE_LIMIT:
                self.connection.caller.stop("pipelined")
            return False
        try:
            size, content = exchange.body.feed(self._in)
        except BadMessage:
            exchange.end(error="truncated", closed_by="caller")
            self.give_up_reading()
            return False
        piece, self._in = self._in[:size], self._in[size:]
        exchange.request(piece, content)
        return True

    def _begin(self) -> bool:
        data = self._in.lstrip(b"\r\n") if self._in[:1] in (b"\r", b"\n") else self._in
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) > HEAD_LIMIT:
                self._too_large()
            elif b"\n\n" in data or b"\n\r\n" in data:
                self.give_up_reading()
            return False
        if end > HEAD_LIMIT:
            self._too_large()
            return False
        raw, rest = data[:end], data[end:]
        try:
            head = parse_request(raw)
            body = head.body()
            size, content = body.feed(rest) if rest and not body.done else (0, b"")
        except BadMessage:
            self.give_up_reading()
            return False
        if head.method == "CONNECT":
            self.give_up_reading()
            return False
        self._in = rest[size:]
        operation, plan = head.operation, NOTHING
        if self.world.table.watched(self.link.name):
            plan = self.world.table.decide(self.link.name, Facts(operation, head.fields))
        callee = self.connection.callee
        if plan is NOTHING and body.done and not self._in and callee is not None and callee.takes_at_once:
            # Nothing happens to this request: the record, which the callee need not wait for, is filled in afterwards.
            at = self.world.now()
            callee.write(data)
            self._passed = Passed(head, body, raw, self._record(head, operation))
            self._passed.forwarded(self.link.identify, at, len(data), content)
            return True
        exchange = self._exchange = Http1Exchange(self, head, raw, body, self._record(head, operation), plan)
        exchange.request(rest[:size], content)
        exchange.start()
        return True

    def _record(self, head: Head, operation: str) -> Record:
        record = self.world.begin(
            link=self.link.name,
            connection=self.connection.id,
            reused=self._requests > 0,
            protocol="http/1.1",
            connected_ns=self.connection.connected_ns,
            started_ns=self._first_ns,
        )
        self._requests += 1
        record.operation = operation
        record.request_headers = {name: value for name, value in head.fields.items() if name in REQUEST_HEADERS}
        return record

    def _too_large(self) -> None:
        self._in = b""
        self.connection.caller.write(build(Answer(status=431, headers={"connection": "close"}), request=Head()))
        self.connection.close()

    # how the ends end

    def caller_eof(self) -> None:
        """Half a connection is passed on; while wire itself holds the request, a FIN is the caller giving up."""
        exchange = self.exchange
        if exchange is None:
            if self._in:
                self.give_up_reading()
            super().caller_eof()
        elif exchange.over:  # it need not send the rest of what was answered already
            exchange.end()
            self.connection.close()
        elif exchange.busy or not exchange.forwarded or self.connection.callee is None:
            exchange.end(error="eof", closed_by="caller")
            self.connection.close()
        else:
            exchange.left_ns = self.world.now()
            self.connection.callee.write_eof()

    def callee_eof(self) -> None:
        """The end of an answer, or of the hope for one."""
        if self.exchange is None:
            super().callee_eof()
        else:
            self.exchange.callee_ended(reset=False)

    def lost(self, *, caller: bool, reset: bool) -> None:
        """End the exchange; the other end sees the same."""
        exchange = self.exchange
        if exchange is None:
            super().lost(caller=caller, reset=reset)
        elif caller:
            wrong, by = ("", "") if exchange.over else ("reset" if reset else "eof", "caller")
            exchange.end(error=wrong, closed_by=by, at_ns=exchange.left_ns)
            super().lost(caller=True, reset=reset)
        else:
            exchange.callee_ended(reset=reset)

    def undialled(self, error: str) -> None:
        """End the exchange: the callee is not there."""
        if self.exchange is not None:
            self.exchange.end(error=error, closed_by="callee")

    def shut(self, fault: str) -> None:
        """End the exchange: wire closes the link."""
        if self.exchange is not None:
            if fault:
                self.exchange.record.faults.append(fault)
            self.exchange.end(error="reset", closed_by="wire")
