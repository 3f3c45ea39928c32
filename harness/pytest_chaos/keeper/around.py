"""Connections that go around the proxy: to a node's own port, from somebody who has a link for that or needs one.

Both ends are compared: who holds the caller's end of each connection to a node's real port, and which of those are
wire's, Toxiproxy's or the harness's. The kernel keeps no count of what a port has accepted, so this is a look now and
then (at marks, at most four a second, and when a History is made): a connection that comes and goes between two looks
is missed. It sees processes of this host and user, so neither what containers say to each other nor other hosts.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_chaos.runtimes import procfs, procnet
from pytest_chaos.runtimes.base import NODE_MARK, RUN_MARK

_GAP_NS = 250_000_000
_OURS = "+"
"""What the names of our own processes (wire, Toxiproxy, the harness) begin with; a node's never does."""


@dataclass(slots=True)
class _Seen:
    program: str
    first_ns: int
    last_ns: int = 0
    ports: set[int] = field(default_factory=set)


class Around:
    """Looks for such connections; ``nodes`` maps real ports to nodes, ``harness`` gives our own clients' processes."""

    def __init__(self, run_id: str, nodes: Callable[[], Mapping[int, str]], harness: Callable[[], set[int]]) -> None:
        self._run_id = run_id
        self._nodes = nodes
        self._harness = harness
        self._seen: dict[tuple[str, str, int, int], _Seen] = {}
        self._owners: dict[int, tuple[str, int]] = {}
        self._looked_ns = 0
        self._looking: asyncio.Task[None] | None = None

    def look_soon(self) -> None:
        """Look beside whatever goes on, unless that was done just now."""
        idle = self._looking is None or self._looking.done()
        if idle and time.monotonic_ns() - self._looked_ns > _GAP_NS:
            self._looking = asyncio.create_task(self._look(), name="around")

    async def since(self, began_ns: int) -> list[dict[str, Any]]:
        """Look now, and give what was seen since a moment: a row for each caller, callee, port and process."""
        if self._looking is not None:
            await asyncio.wait({self._looking})
        await self._look()
        return [
            {
                "caller": caller, "callee": callee, "address": f"127.0.0.1:{port}", "pid": pid, "program": seen.program,
                "connections": len(seen.ports), "first_ns": seen.first_ns, "last_ns": seen.last_ns,
            }
            for (caller, callee, port, pid), seen in self._seen.items()
            if seen.last_ns >= began_ns
        ]  # fmt: skip

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> None:
        self._looked_ns = time.monotonic_ns()
        try:
            await asyncio.to_thread(self._compare, dict(self._nodes()), self._harness() | {os.getpid()})
        except (OSError, ValueError) as odd:  # a /proc of another shape tells nothing
            sys.stderr.write(f"connections around the proxy cannot be looked for: {odd!r}\n")

    def _compare(self, nodes: Mapping[int, str], harness: set[int]) -> None:
        found = procnet.outgoing(nodes)
        self._find_owners({one.inode for one in found}, harness)
        now = time.monotonic_ns()
        for one in found:
            caller, pid = self._owners.get(one.inode, (_OURS, 0))
            callee = nodes[one.to_port]
            if caller.startswith(_OURS) or caller == callee:
                continue
            seen = self._seen.setdefault(
                (caller, callee, one.to_port, pid), _Seen(program=procnet.program(pid), first_ns=now)
            )
            seen.last_ns = now
            seen.ports.add(one.port)

    def _find_owners(self, inodes: set[int], harness: set[int]) -> None:
        """Learn who holds each socket; those that are known already are not looked for."""
        self._owners = {inode: owner for inode, owner in self._owners.items() if inode in inodes}
        unknown = inodes - set(self._owners)
        if not unknown:
            return
        everyone = procfs.scan()
        parents = {one.pid: one.ppid for one in everyone}
        for process in everyone:
            held = procnet.sockets(process.pid) & unknown
            if held:
                name = self._name(process.pid, harness, parents)
                self._owners.update(dict.fromkeys(held, (name, process.pid)))
                unknown -= held
                if not unknown:
                    return

    def _name(self, pid: int, harness: set[int], parents: Mapping[int, int]) -> str:
        """Give the node that a process is of, ``+...`` for our own, or the empty string."""
        marks = procnet.environ(pid)
        if marks.get(RUN_MARK) == self._run_id and NODE_MARK in marks:
            return marks[NODE_MARK]
        while pid > 1:
            if pid in harness:
                return f"{_OURS}harness"
            pid = parents.get(pid, 0)
        return ""
