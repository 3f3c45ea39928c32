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
from pytest_chaos.model.orders import check_values, is_http, read_order
from pytest_chaos.wire.peers import stranger

_LINE_LIMIT_BYTES = 64 * 1024 * 1024
_LAST_ANSWERS_S = 1.0
_CHUNK_BYTES = 65_536


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
        if refused := stranger(writer.get_extra_info("socket")):
            await _hang_up(reader, writer, refused)
            return
        lease = Lease(next(self._numbers), writer)
        self.open[lease.number] = lease
        try:
            while line := await reader.readline():
                if is_http(line):
                    refused = "this socket takes orders as JSON lines, not HTTP"
                    break
                task = asyncio.create_task(self._handle(lease, line))
                lease.tasks.add(task)
                task.add_done_callback(lease.tasks.discard)
        except ValueError:
            refused = f"the line is longer than {_LINE_LIMIT_BYTES} bytes"
        except OSError:
            pass  # a torn connection ends like any other loss
        finally:
            self.open.pop(lease.number, None)
            if refused:
                await _hang_up(reader, writer, refused)
            writer.close()
        await self._lost(lease)

    async def _handle(self, lease: Lease, line: bytes) -> None:
        number: object = None
        try:
            message = read_order(line)
            number = message.pop("id", None)
            check_values(message)
            answer = await self._answer(lease, str(message.pop("op", "")), message)
        except ChaosError as refused:
            lease.tell({"id": number, "ok": False, "kind": type(refused).__name__, "error": str(refused)})
        except Exception as broken:  # noqa: BLE001 - outlive a bug: it is logged and told
            traceback.print_exc(file=sys.stderr)
            lease.tell({"id": number, "ok": False, "kind": "KeeperError", "error": f"the keeper failed: {broken!r}"})
        else:
            lease.tell({"id": number, "ok": True, **answer})


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reason: str) -> None:
    """Say why, and close; what comes meanwhile is thrown away: it may have been made to look like an order."""
    refusal = {"id": None, "ok": False, "kind": "KeeperError", "error": reason}
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(json.dumps(refusal, separators=(",", ":")).encode() + b"\n")
        writer.write_eof()  # a close with something unread would throw the reason away
        async with asyncio.timeout(_LAST_ANSWERS_S):
            while await reader.read(_CHUNK_BYTES):
                pass
    writer.close()
