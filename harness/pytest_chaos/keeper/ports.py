"""Ports for nodes: outside the kernel's ephemeral range, and never one that another keeper of this machine holds."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import threading
from pathlib import Path

from pytest_chaos.errors import StackError

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 20_000
_HIGHEST = 32_000
_TRIES = 2_000


class Ports:
    """Hands out free loopback ports and holds them for this process.

    A node's port must survive its restarts: while it is down nobody may take it. The kernel gives ephemeral ports to
    any outgoing connection, so ours lie outside that range; an abstract Unix socket of the same number keeps other
    keepers away (Linux). Programs that know nothing of this may still take one: whoever starts the node retries then.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket | None] = {}
        self._choice = secrets.SystemRandom()
        self._span = _span()
        self._lock = threading.Lock()  # recipes of brokers are prepared in threads

    def take(self) -> int:
        """Give a port that is free now; raise StackError when none can be found."""
        with self._lock:
            for _ in range(_TRIES):
                port = self._choice.randint(*self._span)
                if port not in self._held and self._hold(port):
                    return port
        msg = (
            f"no free port between {self._span[0]} and {self._span[1]} on 127.0.0.1: something holds nearly all of them"
        )
        raise StackError(msg)

    def give_back(self, port: int) -> None:
        """Let others have a port again."""
        claim = self._held.pop(port, None)
        if claim is not None:
            claim.close()

    def close(self) -> None:
        """Give everything back."""
        for port in list(self._held):
            self.give_back(port)

    def _hold(self, port: int) -> bool:
        claim: socket.socket | None = None
        if sys.platform == "linux":
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0pytest-chaos-port-{port}")
            except OSError:
                claim.close()
                return False
        if not free(port):
            if claim is not None:
                claim.close()
            return False
        self._held[port] = claim
        return True


def free(port: int) -> bool:
    """Whether a server could listen on a loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def _span() -> tuple[int, int]:
    """Give the range to choose from: below the ephemeral ports where there is room, else above 10000 anyhow."""
    try:
        lowest_ephemeral = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _LOWEST, _HIGHEST
    highest = min(_HIGHEST, lowest_ephemeral - 1)
    return (_LOWEST, highest) if highest - _LOWEST > 1_000 else (10_000, max(_HIGHEST, lowest_ephemeral))
