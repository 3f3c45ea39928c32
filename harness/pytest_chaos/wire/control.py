"""The control socket: JSON lines in, one answer each, events out. Its last client gone, wire goes too.

It serves this user alone: the socket's mode is 0600, and who connects is asked of the kernel.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, cast

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.orders import check_values, is_http, read_order
from pytest_chaos.wire.ops import Ops
from pytest_chaos.wire.peers import stranger

LINE_LIMIT = 16 * 2**20
_LISTEN_S = 1.0
"""How long one who was refused may still talk."""


class Control(asyncio.Protocol):
    """One client. Whatever it sends that is no request is answered with an error and changes nothing."""

    def __init__(self, ops: Ops, clients: set[Control], gone: Callable[[], None]) -> None:
        self._ops, self._clients, self._gone = ops, clients, gone
        self._in = bytearray()
        self._skipping = self._refused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the client in, unless it is somebody else's."""
        self._transport = cast("asyncio.Transport", transport)
        if refused := stranger(transport.get_extra_info("socket")):
            self._refuse(refused)
        else:
            self._clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the client out."""
        del exc
        if self in self._clients:
            self._clients.discard(self)
            if not self._clients:
                self._gone()

    def data_received(self, data: bytes) -> None:
        """Answer each complete line; whoever was refused, or speaks HTTP, is heard no further."""
        if self._refused:
            return
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            if self._skipping:
                self._skipping = False
            elif is_http(line):
                self._refuse("this socket takes orders as JSON lines, not HTTP")
                return
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

    def _refuse(self, reason: str) -> None:
        """Say why, and hang up; what comes behind is thrown away: it may have been made to look like an order."""
        self._refused = True
        self._in.clear()
        self.send({"id": None, "ok": False, "error": reason})
        if self._transport is not None:
            self._transport.write_eof()  # a close with something unread would throw the reason away
        asyncio.get_running_loop().call_later(_LISTEN_S, self.close)

    def _answer(self, line: bytes) -> dict[str, Any]:
        name: object = None
        try:
            request = read_order(line)
            asked = request.pop("id", None)
            if asked is not None and (isinstance(asked, bool) or not isinstance(asked, (int, str))):
                msg = f"id={asked!r:.80}: must be a whole number, a string or null"
                raise ChaosError(msg)
            name = asked
            check_values(request)
            return {"id": name, "ok": True, **self._ops.run(request.pop("op", None), request)}
        except ChaosError as wrong:
            return {"id": name, "ok": False, "error": str(wrong)}
        except OSError as wrong:
            return {"id": name, "ok": False, "error": f"the operating system refused: {wrong}"}
        except Exception as broken:  # noqa: BLE001 - a bug in one order must not end the run: it is logged and told
            traceback.print_exc(file=sys.stderr)
            return {"id": name, "ok": False, "error": f"wire failed: {broken!r}"}
