"""The OTLP receiver of a run, where the telemetry room can be had; without one nobody is told to send spans."""

from __future__ import annotations

from pathlib import Path


class Otlp:
    """Receives spans into the run's spool; ``start`` may be called again."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def start(self) -> str:
        """Listen on loopback; give the endpoint for services, or nothing when spans cannot be received here."""
        return ""

    def offset(self) -> int:
        """How many bytes have been written."""
        return self._spool.stat().st_size if self._spool.exists() else 0

    def stop(self) -> None:
        """Stop listening."""
