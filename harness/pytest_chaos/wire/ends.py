"""The two ends of a connection: asyncio protocols that hand bytes, back-pressure, FIN and RST on to a handler."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pytest_chaos.wire.toxics.chain import What
    from pytest_chaos.wire.toxics.flow import Flow

_LINGER_RESET = struct.pack("ii", 1, 0)
_TCP_CLOSED = 7


class Owner(Protocol):
    """What an end tells of: the connection that it is one end of."""

    def made(self, end: End) -> None:
        """The end can be used."""

    def data(self, end: End, data: bytes) -> None:
        """Bytes came."""

    def eof(self, end: End) -> None:
        """The peer will send no more."""

    def lost(self, end: End, reset: bool) -> None:  # noqa: FBT001
        """The end is gone; ``reset``: not by an orderly close."""


class End(asyncio.Protocol):
    """One end: writes wait until it is connected; reading stops while any reason to stop stands.

    ``inward`` and ``outward`` are the byte faults on what it receives and on what it sends; None where there are none.
    """

    __slots__ = (
        "_closing", "_eof", "_owner", "_pending", "_stops", "gone", "got_eof", "inward", "outward", "peer", "transport",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._pending: list[bytes] = []
        self._stops: set[str] = set()
        self._eof = self._closing = False
        self.inward: Flow | None = None
        self.outward: Flow | None = None
        self.transport: asyncio.Transport | None = None
        self.peer: End | None = None
        self.got_eof = False
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what waited."""
        self.transport = cast("asyncio.Transport", transport)
        if self.gone:  # reset while it was being connected
            self.gone = False
            self.reset()
            return
        if self._pending:
            self.transport.write(b"".join(self._pending))
            self._pending.clear()
        if self._eof:
            self._eof = False
            self.write_eof()
        if self._stops:
            self.transport.pause_reading()
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        """Hand bytes on."""
        if self.inward is None:
            self._owner.data(self, data)
        else:
            self.inward.push("data", data)

    def eof_received(self) -> bool:
        """Hand the FIN on and keep the other direction."""
        self.received("eof", b"") if self.inward is None else self.inward.push("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand the loss on."""
        self.gone = True
        if self.peer is not None:
            self.peer.resume("peer")
        if self.inward is not None and exc is not None:
            self.inward.push("rst")
            return
        self.unshape()
        self._owner.lost(self, exc is not None)

    def unshape(self) -> None:
        """Drop the byte faults here with what they hold."""
        for flow in (self.inward, self.outward):
            if flow is not None:
                flow.drop()
        self.inward = self.outward = None

    def received(self, what: What, data: bytes) -> None:
        """Hand on what the peer did."""
        if what == "data":
            self._owner.data(self, data)
        elif what == "eof":
            self.got_eof = True
            self._owner.eof(self)
        else:
            self._owner.lost(self, True)

    def send(self, what: What, data: bytes) -> None:
        """Do towards the peer what its own peer did."""
        if what == "data":
            self._write(data)
        elif what == "eof":
            self._write_eof()
        else:
            self._close()

    def pause_writing(self) -> None:
        """Make the peer wait: what it sends cannot be got rid of here."""
        if self.peer is not None:
            self.peer.stop("peer")

    def resume_writing(self) -> None:
        """Let the peer go on."""
        if self.peer is not None:
            self.peer.resume("peer")

    @property
    def usable(self) -> bool:
        """Whether writing still makes sense."""
        return not self.gone and not self._closing and (self.transport is None or not self.transport.is_closing())

    @property
    def takes_at_once(self) -> bool:
        """Whether what is written goes out unshaped, so that nothing comes of it before the writer goes on."""
        return self.outward is None and not self.gone and not self.got_eof

    def write(self, data: bytes) -> None:
        """Send bytes, as soon as there is a connection; dropped when the end is gone."""
        if self.outward is None:
            self._write(data)
        elif data and self.usable:
            self.outward.push("data", data)

    def _write(self, data: bytes) -> None:
        if self.transport is None:
            self._pending.append(data)
        elif not self.gone and not self.transport.is_closing() and data and not self._eof:
            self.transport.write(data)

    def write_eof(self) -> None:
        """Send FIN behind everything written."""
        if self.outward is None:
            self._write_eof()
        elif self.usable:
            self.outward.push("eof")

    def _write_eof(self) -> None:
        if self._eof:
            return
        self._eof = True
        if self.transport is not None and not self.gone and not self.transport.is_closing():
            with contextlib.suppress(OSError, RuntimeError):  # the peer may have reset it in this very moment
                self.transport.write_eof()

    def stop(self, reason: str) -> None:
        """Read no more until the reason is gone."""
        if not self._stops and self.transport is not None and self.usable:
            self.transport.pause_reading()
        self._stops.add(reason)

    def resume(self, reason: str) -> None:
        """Take one reason to stop away."""
        if reason in self._stops:
            self._stops.discard(reason)
            if not self._stops and self.transport is not None and self.usable:
                self.transport.resume_reading()

    def close(self) -> None:
        """Close in order: what was written is sent, then FIN."""
        if self.outward is None or self.gone:
            self._close()
        elif not self._closing:
            self._closing = True
            self.outward.push("end")

    @property
    def draining(self) -> bool:
        """Whether it was closed and byte faults still hold what it had to send."""
        return self._closing and not self.gone and (self.transport is None or not self.transport.is_closing())

    def _close(self) -> None:
        if self.transport is None:
            self.gone = True
        elif not self.transport.is_closing():
            self.transport.close()

    def vanish(self) -> None:
        """Reset the socket, and go on as if it were there: nothing comes any more, what is sent goes nowhere."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())
            _abort(transport)

    def reset(self) -> None:
        """Close with RST; what was not sent yet is lost, as it is when a process dies."""
        self.unshape()
        if self.transport is None:
            self.gone = True
        elif not self.gone:
            _abort(self.transport)

    def hung_up(self) -> bool:
        """Whether the peer, having sent FIN, has closed altogether: the kernel knows once something was sent to it."""
        if self.gone or self.transport is None:
            return True
        if not hasattr(socket, "TCP_INFO"):
            return False
        sock = self.transport.get_extra_info("socket")
        if sock is None:  # uvloop has closed it already
            return True
        try:
            state: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return True
        return state[0] == _TCP_CLOSED


def _abort(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:  # None: uvloop has closed it already
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()


def reset_socket(sock: socket.socket) -> None:
    """Close a bare socket with RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    sock.close()


def close_socket(sock: socket.socket) -> None:
    """Close a bare socket with FIN, having read what is there (unread bytes would turn it into RST)."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.setblocking(False)
        while sock.recv(65536):
            pass
    sock.close()
