"""The client's end of the keeper's socket: one request at a time, events in between. Standard library only."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from pytest_chaos import errors
from pytest_chaos.errors import ChaosError, KeeperError

_CHUNK_BYTES = 65_536


class Channel:
    """A connected lease. Safe from threads; an interrupted request does not disturb the next."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._received = bytearray()
        self._closed = False
        # A forked child must not hold the lease of its parent.
        mine = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _abandon(mine()))

    def ask(
        self, op: str, *, timeout_s: float, on_event: Callable[[dict[str, Any]], object] | None = None, **fields: object
    ) -> dict[str, Any]:
        """Send a request, give its answer; raise the keeper's own error, or KeeperError when it is silent or gone."""
        with self._lock:
            if self._closed:
                msg = f"the lease is closed; {op!r} cannot be asked of the keeper"
                raise KeeperError(msg)
            number = next(self._ids)
            self._socket.settimeout(timeout_s)
            try:
                self._socket.sendall(
                    json.dumps({"id": number, "op": op, **fields}, separators=(",", ":")).encode() + b"\n"
                )
                while True:
                    message = self._next()
                    if "event" in message:
                        if on_event is not None:
                            on_event(message)
                    elif message.get("id") == number:
                        break
            except TimeoutError:
                msg = f"the keeper did not answer {op!r} within {timeout_s:g} s"
                raise KeeperError(msg) from None
            except OSError as gone:
                msg = f"the keeper is gone ({gone.strerror or gone}); {op!r} was not answered"
                raise KeeperError(msg) from None
        if not message.get("ok"):
            raise as_error(str(message.get("kind", "")), str(message.get("error", f"the keeper refused {op!r}")))
        return message

    def wait_end(self, timeout_s: float) -> None:
        """Wait until the keeper has closed its end."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.settimeout(timeout_s)
            while self._socket.recv(_CHUNK_BYTES):
                pass

    def close(self) -> None:
        """Give the lease up."""
        self._closed = True
        self._socket.close()

    def _next(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError(None, "it closed the connection")
            self._received += chunk
        line, _, rest = self._received.partition(b"\n")
        self._received = rest
        message: dict[str, Any] = json.loads(line)
        return message


def as_error(kind: str, text: str) -> ChaosError:
    """Make the exception again that the keeper told about."""
    cls = getattr(errors, kind, KeeperError)
    return cls(text) if isinstance(cls, type) and issubclass(cls, ChaosError) else KeeperError(text)


def _abandon(channel: Channel | None) -> None:
    if channel is not None:
        channel.close()
