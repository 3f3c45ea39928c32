"""The port that every runtime fills: start a node, see it exit, stop, kill, pause and resume all of it."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

RUN_MARK = "PYTEST_CHAOS_RUN"
NODE_MARK = "PYTEST_CHAOS_NODE"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """One start of one node, with everything resolved: no templates, no names of other nodes.

    ``ports`` maps a port's name to its number; ``env`` is the whole environment; output is appended to ``log``.
    ``mounts`` maps folders of this host to where a container sees them, read-only.
    """

    name: str
    run_id: str
    command: tuple[str, ...] = ()
    image: str = ""
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    log: Path
    ports: dict[str, int] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a node's leading process ended: ``code`` of its exit, or the ``signal`` that ended it."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        """Say it in words, as a message needs it."""
        if self.signal is not None:
            try:
                return f"ended by {signal.Signals(self.signal).name}"
            except ValueError:
                return f"ended by signal {self.signal}"
        return "ended" if self.code is None else f"exit code {self.code}"


class Running(Protocol):
    """One started node; after ``kill`` and ``stop`` nothing of it is left, descendants included."""

    @property
    def pid(self) -> int | None:
        """The leading process, when it is one of this host."""

    @property
    def container(self) -> str:
        """The container's id, or the empty string."""

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Done when the leading process has ended, whoever ended it."""

    def address(self, port: str) -> str:
        """Give ``host:port`` where a port really listens, seen from this host."""

    async def stop(self, *, grace_s: float) -> None:
        """Ask it to end (SIGTERM to the group); after ``grace_s`` seconds kill what is left."""

    async def kill(self) -> None:
        """End all of it at once (SIGKILL); returns when every member is gone. Raises StackError when one stays."""

    async def pause(self) -> None:
        """Freeze all of it (SIGSTOP)."""

    async def resume(self) -> None:
        """Let it go on (SIGCONT)."""


class Runtime(Protocol):
    """Starts nodes; ``name`` is what the journal calls it."""

    name: str

    async def open(self) -> str:
        """Make what all nodes share; give this host's address as nodes reach it. Called before any start."""

    def host(self, node: str) -> str:
        """Give the address that a node listens on, seen from this host and from other nodes, restarts included."""

    async def start(self, run: NodeRun) -> Running:
        """Start a node; raise StackError when it cannot even begin (no such command, no such image)."""

    async def close(self) -> list[str]:
        """Remove everything that carries the run's id; give what could not be removed, in words."""
