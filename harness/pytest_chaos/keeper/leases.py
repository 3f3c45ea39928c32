"""Clients and their leases: a lease is an open socket, so that every way in which a client can end is one case."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pytest_chaos.errors import ChaosError

_LINE_LIMIT_BYTES = 64 * 1024 * 1024
_LAST_ANSWERS_S = 1.0


class Lease:
    """One client's connection; ``run`` is the run that it says it belongs to, ``pid`` its process."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.run = ""
        self.pid = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._writer = writer

    def tell(self, message: dict[str, Any]) -> None:
        """Send a line; a client that is gone is noticed by its reader, not here."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def close(self) -> None:
        """Flush and close the connection."""
        with contextlib.suppress(OSError):
            await self._writer.drain()
            self._writer.close()
            await self._writer.wait_closed()


Answer = Callable[[Lease, str, dict[str, Any]], Awaitable[dict[str, Any]]]
Lost = Callable[[Lease], Awaitable[None]]


class Leases:
    """Accepts clients, answers their requests (each in a task of its own), and says when one is lost."""

    def __init__(self, answer: Answer, lost: Lost) -> None:
        self._answer = answer
        self._lost = lost
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self.open: dict[int, Lease] = {}

    async def listen(self, path: Path) -> None:
        """Accept clients on a Unix socket."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_LINE_LIMIT_BYTES)

    async def adopt(self, descriptor: int) -> None:
        """Serve a client over a connected socket that this process was born with."""
        inherited = socket.socket(fileno=descriptor)
        inherited.set_inheritable(False)
        reader, writer = await asyncio.open_unix_connection(sock=inherited, limit=_LINE_LIMIT_BYTES)
        task = asyncio.create_task(self._serve(reader, writer), name="first lease")
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)
        await asyncio.sleep(0)  # the lease counts from now on

    async def close(self) -> None:
        """Accept nobody any more and let everybody go."""
        if self._server is not None:
            self._server.close()
        answering = [task for lease in self.open.values() for task in lease.tasks]
        if answering:
            await asyncio.wait(answering, timeout=_LAST_ANSWERS_S)
        await asyncio.gather(*(lease.close() for lease in self.open.values()))
        for reader in self._readers:
            reader.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lease = Lease(next(self._numbers), writer)
        self.open[lease.number] = lease
        try:
            while line := await reader.readline():
                task = asyncio.create_task(self._handle(lease, line))
                lease.tasks.add(task)
                task.add_done_callback(lease.tasks.discard)
        except (OSError, ValueError):
            pass  # a torn or oversize line ends the connection like any other loss
        finally:
            self.open.pop(lease.number, None)
            writer.close()
        await self._lost(lease)

    async def _handle(self, lease: Lease, line: bytes) -> None:
        number: object = None
        try:
            message = json.loads(line)
            number = message.pop("id", None)
            answer = await self._answer(lease, str(message.pop("op", "")), message)
        except ChaosError as refused:
            lease.tell({"id": number, "ok": False, "kind": type(refused).__name__, "error": str(refused)})
        except Exception as broken:  # noqa: BLE001 - outlive a bug: it is logged and told
            traceback.print_exc(file=sys.stderr)
            lease.tell({"id": number, "ok": False, "kind": "KeeperError", "error": f"the keeper failed: {broken!r}"})
        else:
            lease.tell({"id": number, "ok": True, **answer})
