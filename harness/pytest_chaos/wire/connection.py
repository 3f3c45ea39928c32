"""A connection of a link: the caller's end, the callee's, and the handler of what they speak."""

from __future__ import annotations

import asyncio
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
        self.handler: Handler
        if link.handle is None:
            from pytest_chaos.wire.sniffer import Sniffer  # noqa: PLC0415 - it knows this module

            self.handler = Sniffer(self)
        else:
            self.handler = link.handle(self)
        self._sock = sock
        self._over = False
        self._making: dict[asyncio.Task[None], End] = {}
        self.half_open: set[Active] = set()
        self.spared: set[Active] = set()
        """Rules that took one of the ends away, and those of that kind that are older than the connection."""
        if world.table.watched(link.name):
            shape(self, new=True)

    def open(self) -> None:
        """Take the caller's bytes and dial the callee, both at once."""
        self._make(self.caller, self._accept())
        if self.callee is not None:
            self._make(self.callee, self._dial())

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

    def _make(self, end: End, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._making[task] = end
        task.add_done_callback(self._making.pop)

    def _finish(self) -> None:
        ends = [end for end in (self.caller, self.callee) if end is not None]
        if self._over or any(end.draining for end in ends):
            return
        self._over = True
        for task, end in self._making.items():
            # An end that is made is left to its maker, who is about to learn of it: uvloop would drop the end of one
            # that is cancelled, with all that it has to send, and not tell that it is lost.
            if end.transport is None and task is not asyncio.current_task():
                task.cancel()
        if self.caller.transport is None:
            reset_socket(self._sock)
        self.link.connections.discard(self)
        for end in ends:
            end.unshape()  # no byte fault swallows the loss of an end any more: nobody would lift it
        if all(end.gone or end.transport is None for end in ends):  # lost, or taken away by a fault: nobody else tells
            self.handler.lost(caller=True, reset=False)
