"""Handshakes that hang: a listener whose queue is full, so that the kernel drops every SYN.

Linux lets ``listen`` be called again with another backlog, so nothing is refused when it begins or ends. A dropped SYN
is repeated after 1, 3, 7, ... seconds: a handshake is completed up to that much after the end of the hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING

from pytest_chaos.wire.table import Active
from pytest_chaos.wire.world import World

if TYPE_CHECKING:
    from pytest_chaos.wire.links import Link

BACKLOG = 512
_SO_MEMINFO = 55
_DROPS_AT = 8
_LOOK_S = 0.05


class Connects:
    """Holds a link's handshakes while a rule ``hold_connect`` says so, each for ``ms`` after it came into force."""

    def __init__(self, world: World, link: Link) -> None:
        self._world, self._link = world, link
        self._until: dict[Active, float] = {}
        self._listener: socket.socket | None = None
        self._filler: socket.socket | None = None
        self._filler_name: object = None
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def holding(self) -> bool:
        """Whether handshakes are held now."""
        return self._listener is not None

    def refresh(self, listener: socket.socket) -> None:
        """Begin or end, as the rules and the time demand. Raises OSError."""
        self._count()
        now = asyncio.get_running_loop().time()
        holding = [one for one in self._world.table.active(self._link.name) if one.rule.kind == "hold_connect"]
        self._until = {one: self._until.get(one, now + one.rule.params["ms"] / 1000) for one in holding}
        wanted = any(until > now for until in self._until.values())
        if wanted and self._listener is None:
            self._begin(listener)
        elif not wanted and self._listener is not None:
            self.stop()
            listener.listen(BACKLOG)
            self._link.accept_again()

    def stop(self) -> None:
        """Hold no more: the listener is closed next, or takes connections again."""
        if self._listener is not None and self._filler is not None and self._timer is not None:
            self._count()
            self._timer.cancel()
            self._filler.close()
        self._listener = self._filler = self._timer = None

    def is_filler(self, sock: socket.socket) -> bool:
        """Whether an accepted connection is the one that filled the queue."""
        with contextlib.suppress(OSError):
            return self._filler_name is not None and sock.getpeername() == self._filler_name
        return False

    def _begin(self, listener: socket.socket) -> None:
        self._link.accept_no_more()
        self._listener, self._seen = listener, drops(listener)
        listener.listen(0)
        self._filler = socket.socket(listener.family, socket.SOCK_STREAM)
        self._filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._filler.connect(listener.getsockname()[:2])
        self._filler_name = self._filler.getsockname()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        if self._listener is not None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
            self.refresh(self._listener)

    def _count(self) -> None:
        if self._listener is None:
            return
        now = drops(self._listener)
        for active in self._until:
            for _ in range(now - self._seen):
                self._world.hit(active, link=self._link.name, attempt="")
        self._seen = now


def drops(listener: socket.socket) -> int:
    """Tell how many SYNs a listener has dropped so far; 0 where the kernel does not say (other than Linux)."""
    if sys.platform != "linux":
        return 0
    told = listener.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
    values: tuple[int, ...] = struct.unpack(f"={len(told) // 4}I", told)
    return values[_DROPS_AT] if len(values) > _DROPS_AT else 0
