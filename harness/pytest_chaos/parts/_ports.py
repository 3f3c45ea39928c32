"""Loopback ports for the short-lived brokers that are started while preparing the cache."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

_HOST = "127.0.0.1"
_POLL_S = 0.05


def free_ports(count: int) -> list[int]:
    """Give ``count`` different ports that nobody listened on a moment ago."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for_port(port: int, *, timeout_s: float, alive: Callable[[], bool], greeting: bytes = b"") -> bool:
    """Wait until a TCP connection is accepted and, after ``greeting``, answered; False when that never happens."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and alive():
        try:
            with socket.create_connection((_HOST, port), timeout=1.0) as connection:
                if not greeting:
                    return True
                connection.sendall(greeting)
                if connection.recv(8):
                    return True
        except OSError:
            pass
        time.sleep(_POLL_S)
    return False
