"""The control socket: JSON lines in, one answer each, events out. Its last client gone, wire goes too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from pytest_chaos.errors import ChaosError
from pytest_chaos.wire.ops import Ops

LINE_LIMIT = 16 * 2**20


class Control(asyncio.Protocol):
    """One client. Whatever it sends that is no request is answered with an error and changes nothing."""

    def __init__(self, ops: Ops, clients: set[Control], gone: Callable[[], None]) -> None:
        self._ops, self._clients, self._gone = ops, clients, gone
        self._in = bytearray()
        self._skipping = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the client in."""
        self._transport = cast("asyncio.Transport", transport)
        self._clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the client out."""
        del exc
        self._clients.discard(self)
        if not self._clients:
            self._gone()

    def data_received(self, data: bytes) -> None:
        """Answer each complete line."""
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            if self._skipping:
                self._skipping = False
            elif line.strip():
                self.send(self._answer(line))
        if len(self._in) > LINE_LIMIT:
            self._in.clear()
            if not self._skipping:
                self._skipping = True
                self.send(
                    {"id": None, "ok": False, "error": f"the line is longer than {LINE_LIMIT} bytes; it is skipped"}
                )

    def send(self, message: dict[str, Any]) -> None:
        """Send an answer or an event."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Send the client away."""
        if self._transport is not None:
            self._transport.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        name: object = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                return {"id": None, "ok": False, "error": f"a request is an object with id and op, not {line[:80]!r}"}
            name = request.pop("id", None)
            return {"id": name, "ok": True, **self._ops.run(request.pop("op", None), request)}
        except (ValueError, RecursionError):
            return {"id": name, "ok": False, "error": f"not JSON: {line[:80]!r}"}
        except ChaosError as wrong:
            return {"id": name, "ok": False, "error": str(wrong)}
        except OSError as wrong:
            return {"id": name, "ok": False, "error": f"the operating system refused: {wrong}"}
