"""What a connection speaks is told by its first bytes: HTTP/2's preface, an HTTP/1 request line, else plain TCP."""

from __future__ import annotations

import asyncio
import re

from pytest_chaos.wire.connection import PREFACE, Connection, Handler

SNIFF_S = 1.0
"""Bytes that might still become a request are given this long; then they are passed on as they are."""
_REQUEST = re.compile(rb"\r{0,2}\n{0,2}[A-Z][A-Z-]{0,31} (?:/|\*|https?:|[^ ]+ HTTP/1)")
_MAYBE = re.compile(rb"[\r\n]{0,4}(?:[A-Z][A-Z-]{0,31}(?: [^ \r\n]{0,2048}(?: [HTP/1]{0,6})?)?)?\Z")

_TLS = b"\x16\x03"
"""How a TLS record with a handshake begins (RFC 8446, 5.1)."""
_SETTINGS = re.compile(rb"\0[\0-\x03][\0-\xff]\x04\0\0\0\0\0", re.DOTALL)


class Sniffer(Handler):
    """Waits for the first bytes, from whichever side, and puts the right handler in its own place."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._first = self._answer = b""
        self._first_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    def from_caller(self, data: bytes) -> None:
        """Decide on the caller's bytes, or wait for more."""
        self._first_ns = self._first_ns or self.world.now()
        self._first += data
        first = self._first
        if first.startswith(PREFACE):
            from pytest_chaos.wire.http2.connection import Http2  # noqa: PLC0415 - the handlers know this module

            self._become(Http2(self.connection))
        elif PREFACE.startswith(first):  # "PRI *" might be a request line as well
            self._wait()
        elif _REQUEST.match(first) and not first.startswith(PREFACE[:6]):
            from pytest_chaos.wire.http1.connection import Http1  # noqa: PLC0415

            self._become(Http1(self.connection))
        elif not _MAYBE.match(first) or len(first) > 65536:
            self._become_tcp()
        else:
            self._wait()

    def from_callee(self, data: bytes) -> None:
        """The callee speaks first: no HTTP, unless it is HTTP/2's SETTINGS, which may outrun the caller's preface."""
        self._answer += data
        if _SETTINGS.match(self._answer):
            self._wait()
        else:
            self._become_tcp()

    def caller_eof(self) -> None:
        """Nothing more will come to decide on."""
        if self._first:
            self._become_tcp()
            self.connection.handler.caller_eof()
        else:
            super().caller_eof()

    def lost(self, *, caller: bool, reset: bool) -> None:
        """Nothing was said, or not enough to tell what."""
        if self._first:
            self._become_tcp()
            self.connection.handler.lost(caller=caller, reset=reset)
        else:
            self._wait_no_more()
            super().lost(caller=caller, reset=reset)

    def undialled(self, error: str) -> None:
        """A caller that came to a callee that is not there."""
        self._undecided(error, "callee", "")

    def shut(self, fault: str) -> None:
        """What was said is no request yet, but an attempt; nothing was said: there is none."""
        if self._first:
            self._undecided("reset", "wire", fault)
        self._wait_no_more()

    def _undecided(self, error: str, closed_by: str, fault: str) -> None:
        """Record a connection that ended before it was known what it speaks; its ends are lost next."""
        self._wait_no_more()
        self._first = self._answer = b""
        now = self.world.now()
        record = self.world.begin(
            link=self.link.name,
            connection=self.connection.id,
            reused=False,
            protocol="tcp",
            connected_ns=self.connection.connected_ns,
            started_ns=self._first_ns or now,
        )
        if fault:
            record.faults.append(fault)
        self.world.end(record, error=error, closed_by=closed_by)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SNIFF_S, self._become_tcp)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _become_tcp(self) -> None:
        from pytest_chaos.wire.tcp import Tcp  # noqa: PLC0415

        opaque = "TLS" if self._first.startswith(_TLS) else ""
        if opaque:
            self.link.saw_opaque(opaque)
        self._become(Tcp(self.connection, opaque=opaque))

    def _become(self, handler: Handler) -> None:
        self._wait_no_more()
        if self.connection.handler is self:
            self.connection.handler = handler
            if self._first:
                handler.from_caller(self._first)
            if self._answer:
                self.connection.handler.from_callee(self._answer)
