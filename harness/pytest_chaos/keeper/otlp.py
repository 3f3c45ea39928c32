"""The OTLP receiver of a run: started once, before any service that could send to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pytest_chaos.telemetry.receiver import Receiver


class Otlp:
    """Receives spans into the run's spool. ``start`` may be called again; it then only tells the endpoints.

    ``host`` is the address to listen on; set it before the first start.
    """

    def __init__(self, spool: Path) -> None:
        self._receiver = Receiver(spool)
        self._ports: dict[str, int] = {}
        self._once = asyncio.Lock()
        self.host = "127.0.0.1"

    async def start(self) -> dict[str, int]:
        """Listen; give the ports by protocol: ``http``, and ``grpc`` where grpcio is installed."""
        async with self._once:
            if not self._ports:
                # In a thread: importing grpcio takes a while, and the links can be opened meanwhile.
                self._ports = await asyncio.to_thread(self._receiver.start, self.host)
        return self._ports

    def offset(self) -> int:
        """How many bytes have been written."""
        return self._receiver.offset()

    async def stop(self) -> None:
        """Stop listening."""
        async with self._once:
            if self._ports:
                self._ports = {}
                await asyncio.to_thread(self._receiver.stop)
