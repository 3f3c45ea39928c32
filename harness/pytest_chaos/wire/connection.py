"""A connection of a link: the caller's end, the callee's, and the handler of what they speak."""

from __future__ import annotations

import asyncio
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from pytest_chaos.wire.ends import End, reset_socket
from pytest_chaos.wire.table import Active
from pytest_chaos.wire.toxics.chain import What
from pytest_chaos.wire.toxics.flow import shape
from pytest_chaos.wire.world import World

if TYPE_CHECKING:
    from pytest_chaos.wire.links import Link

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SNIFF_S = 1.0
"""Bytes that might still become a request are given this long; then they are passed on as they are."""
_REQUEST = re.compile(rb"\r{0,2}\n{0,2}[A-Z][A-Z-]{0,31} (?:/|\*|https?:|[^ ]+ HTTP/1)")
_MAYBE = re.compile(rb"[\r\n]{0,4}(?:[A-Z][A-Z-]{0,31}(?: [^ \r\n]{0,2048}(?: [HTP/1]{0,6})?)?)?\Z")

_TLS = b"\x16\x03"
"""How a TLS record with a handshake begins (RFC 8446, 5.1)."""
_SETTINGS = re.compile(rb"\0[\0-\x03][\0-\xff]\x04\0\0\0\0\0", re.DOTALL)


class Handler(ABC):
    """Reads both directions of one connection. The defaults mirror what one end does to the other."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.world, self.link = connection.world, connection.link

    @abstractmethod
    def from_caller(self, data: bytes) -> None:
        """Take bytes of the caller."""

    @abstractmethod
    def from_callee(self, data: bytes) -> None:
        """Take bytes of the callee."""

    def caller_eof(self) -> None:
        """The caller will send no more."""
        self.connection.callee_or_close()

    def callee_eof(self) -> None:
        """The callee will send no more."""
        self.connection.caller.write_eof()
        self.connection.close_when_both_ended()

    def lost(self, *, caller: bool, reset: bool) -> None:
        """One end is gone: the other one sees the same."""
        other = self.connection.callee if caller else self.connection.caller
        if other is not None:
            if reset:
                other.reset()
            else:
                other.close()

    @abstractmethod
    def undialled(self, error: str) -> None:
        """The callee cannot be reached (``error``: ``refused`` or ``timeout``); the caller is reset next."""

    @abstractmethod
    def shut(self, fault: str) -> None:
        """Wire resets the connection next: the link is closed, by the fault if one is named."""


class Connection:
    """Pairs the two ends; ``link`` tells where the callee is."""

    def __init__(self, world: World, link: Link, sock: socket.socket) -> None:
        self.world, self.link = world, link
        self.id = world.connection_id()
        self.connected_ns = world.now()
        self.caller = End(self)
        self.callee = End(self) if link.stub is None else None
        if self.callee is not None:
            self.caller.peer, self.callee.peer = self.callee, self.caller
        self.handler = Sniffer(self) if link.handle is None else link.handle(self)
        self._sock = sock
        self._over = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.half_open: set[Active] = set()
        self.spared: set[Active] = set()
        """Rules that took one of the ends away, and those of that kind that are older than the connection."""
        if world.table.watched(link.name):
            shape(self, new=True)

    def open(self) -> None:
        """Take the caller's bytes and dial the callee, both at once."""
        self._run(self._accept())
        if self.callee is not None:
            self._run(self._dial())

    def reset(self, *, fault: str = "") -> None:
        """Reset both ends: the link is closed, by the ``fault`` if one is named."""
        self.handler.shut(fault)
        self.reset_both()

    def reset_both(self) -> None:
        """Reset both ends."""
        self.caller.reset()
        if self.callee is not None:
            self.callee.reset()
        self._finish()

    def close(self) -> None:
        """Close both ends in order."""
        self.caller.close()
        if self.callee is not None:
            self.callee.close()
        self._finish()

    def close_when_both_ended(self) -> None:
        """Close when neither end will send any more."""
        if self.caller.got_eof and (self.callee is None or self.callee.got_eof):
            self.close()

    def callee_or_close(self) -> None:
        """Pass the caller's FIN on; a stub has no use for half a connection."""
        if self.callee is None:
            self.close()
        else:
            self.callee.write_eof()
            self.close_when_both_ended()

    def end_by_fault(self, what: What, fault: str) -> None:
        """End it as a byte fault says: ``reset``, or ``close``, which looks as if the callee had closed."""
        for end in (self.caller, self.callee):
            if end is not None:
                end.unshape()
        if what == "reset":
            self.reset(fault=fault)
        else:
            self.handler.lost(caller=False, reset=False)
            self.close()

    # what the ends tell

    def made(self, end: End) -> None:
        """Nothing to do: what waited has been sent."""

    def data(self, end: End, data: bytes) -> None:
        """Hand bytes to the handler."""
        if end is self.caller:
            self.handler.from_caller(data)
        else:
            self.handler.from_callee(data)

    def eof(self, end: End) -> None:
        """Hand a FIN to the handler."""
        if end is self.caller:
            self.handler.caller_eof()
        else:
            self.handler.callee_eof()

    def lost(self, end: End, reset: bool) -> None:  # noqa: FBT001 - called by position
        """Hand a loss to the handler."""
        self.handler.lost(caller=end is self.caller, reset=reset)
        if self.caller.gone and (self.callee is None or self.callee.gone or self.callee.transport is None):
            self._finish()

    # dialling

    async def _accept(self) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self.caller, self._sock)
        except OSError:  # the caller has reset it already
            self.caller.gone = True
            self.lost(self.caller, True)

    async def _dial(self) -> None:
        callee = self.callee
        assert callee is not None and self.link.upstream is not None  # noqa: PT018 - a link without is not open
        host, port = self.link.upstream
        try:
            await asyncio.get_running_loop().create_connection(lambda: callee, host, port)
        except OSError as wrong:
            callee.gone = True
            self.handler.undialled("timeout" if isinstance(wrong, TimeoutError) else "refused")
            self.reset_both()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _finish(self) -> None:
        if self._over or self.caller.draining or (self.callee is not None and self.callee.draining):
            return
        self._over = True
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self.caller.transport is None:
            reset_socket(self._sock)
        self.link.connections.discard(self)


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
        elif _REQUEST.match(first) and not first.startswith(PREFACE[:6]):
            from pytest_chaos.wire.http1.connection import Http1  # noqa: PLC0415

            self._become(Http1(self.connection))
        elif not PREFACE.startswith(first) and (not _MAYBE.match(first) or len(first) > 65536):
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
            super().lost(caller=caller, reset=reset)

    def undialled(self, error: str) -> None:
        """A caller that came to a callee that is not there."""
        now = self.world.now()
        record = self.world.begin(
            link=self.link.name,
            connection=self.connection.id,
            reused=False,
            protocol="tcp",
            connected_ns=self.connection.connected_ns,
            started_ns=self._first_ns or now,
        )
        self.world.end(record, error=error, closed_by="callee")

    def shut(self, fault: str) -> None:
        """Nothing was asked yet."""

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SNIFF_S, self._become_tcp)

    def _become_tcp(self) -> None:
        from pytest_chaos.wire.tcp import Tcp  # noqa: PLC0415

        opaque = "TLS" if self._first.startswith(_TLS) else ""
        if opaque:
            self.link.saw_opaque(opaque)
        self._become(Tcp(self.connection, opaque=opaque))

    def _become(self, handler: Handler) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.connection.handler is self:
            self.connection.handler = handler
            if self._first:
                handler.from_caller(self._first)
            if self._answer:
                self.connection.handler.from_callee(self._answer)
