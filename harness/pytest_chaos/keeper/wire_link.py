"""The keeper's end of wire's control socket: requests answered in any order, events as they come."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_chaos.errors import FaultError, KeeperError

_LINE_LIMIT_BYTES = 64 * 1024 * 1024
_CALL_TIMEOUT_S = 10.0
Event = Callable[[dict[str, Any]], None]


class WireLink:
    """One control connection to wire. Closing it lets wire lift its faults and exit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_event: Event) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pump = asyncio.create_task(self._read(), name="wire events")

    @classmethod
    async def connect(
        cls, path: Path, on_event: Event, *, alive: Callable[[], bool], timeout_s: float = 10.0
    ) -> WireLink:
        """Connect as soon as wire listens; raise KeeperError when it has died or ``timeout_s`` is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_LIMIT_BYTES)
                return cls(reader, writer, on_event)
            except (FileNotFoundError, ConnectionRefusedError):
                if not alive() or loop.time() > deadline:
                    msg = "wire, the proxy on every link, did not start"
                    raise KeeperError(msg) from None
            await asyncio.sleep(0.005)

    async def call(self, op: str, *, timeout_s: float = _CALL_TIMEOUT_S, **fields: object) -> dict[str, Any]:
        """Ask wire; raise FaultError with its own sentence when it refuses, KeeperError when it is gone or silent."""
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            if self._pump.done() or self._writer.is_closing():
                msg = f"wire is gone; {op!r} cannot be asked of it"
                raise KeeperError(msg)
            self._writer.write(json.dumps({"id": number, "op": op, **fields}, separators=(",", ":")).encode() + b"\n")
            told = await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            msg = f"wire did not answer {op!r} within {timeout_s:g} s"
            raise KeeperError(msg) from None
        finally:
            self._waiting.pop(number, None)
        if not told.get("ok"):
            raise FaultError(str(told.get("error", f"wire refused {op!r}")))
        return told

    @property
    def ended(self) -> bool:
        """Whether wire has hung up."""
        return self._pump.done()

    async def close(self) -> None:
        """Close the connection; wire notices."""
        self._writer.close()
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if "event" in message:
                    self._on_event(message)
                    continue
                waiting = self._waiting.get(message.get("id"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        except (OSError, ValueError):
            pass  # torn connection: whoever waits is told below
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(KeeperError("wire is gone: its control connection ended"))
