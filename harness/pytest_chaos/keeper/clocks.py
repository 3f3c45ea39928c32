"""The nodes' wall clocks: what lets a node's clock be stepped later is given to it at its start."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_chaos.errors import FaultError
from pytest_chaos.injectors.clock import Clock
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.model.plan import NodeSpec, StackSpec
from pytest_chaos.parts import Part, libfaketime
from pytest_chaos.runtimes import procfs
from pytest_chaos.runtimes.base import Running

_OFFSET = "offset"
_READ_BY_ALL, _ENTERED_BY_ALL = 0o644, 0o755


class NodeClocks:
    """The clocks of the nodes that declare ``clock=True``."""

    def __init__(self, home: RunHome) -> None:
        self._home = home
        self._part: Part | None = None
        self._clocks: dict[str, Clock] = {}

    def find(self, spec: StackSpec, environ: Mapping[str, str]) -> dict[str, str]:
        """Look for libfaketime when a node needs it; give how to get it when it is missing."""
        if not any(node.clock for node in spec.nodes):
            return {}
        self._part = libfaketime.find(environ)
        return {} if self._part.found is not None else {libfaketime.NAME: self._part.how_to_get}

    def settings(self, node: NodeSpec, env: dict[str, str], *, at: str) -> dict[str, str]:
        """Add to a node's environment what lets its clock be stepped; give the mounts that a container needs for it.

        ``at`` is where the node sees the folder of its clock (empty: where it is). Without libfaketime nothing is
        added: the node runs, and its clock cannot be stepped.
        """
        if self._part is None or self._part.found is None:
            return {}
        folder = self._home.clock(node.name)
        if node.name not in self._clocks:
            self._clocks[node.name] = self._make(folder, self._part.require())
        own = env.get("LD_PRELOAD", "")
        seen = at or str(folder)
        env.update(libfaketime.settings(f"{seen}/{libfaketime.LIBRARY}", f"{seen}/{_OFFSET}"))
        env["LD_PRELOAD"] += f":{own}" if own else ""
        return {str(folder): at} if at else {}

    def steppable(self, node: NodeSpec, running: Running | None) -> Clock:
        """Give a node's clock; raise FaultError saying why it cannot be stepped."""
        if not node.clock:
            why = f"its topology does not ask for it: Service({node.name!r}, ..., clock=True)"
        elif self._part is None or self._part.found is None:
            why = f"libfaketime is not on this machine: {self._part.how_to_get if self._part else ''}"
        elif running is None or node.name not in self._clocks:
            why = "it does not run"
        elif not _preloaded(running):
            why = (
                "libfaketime is not loaded in any of its processes: they are static programs, run with other rights "
                "than the one that started them, or in an image with another C library"
            )
        else:
            return self._clocks[node.name]
        msg = f"ClockStep: the clock of {node.name!r} cannot be stepped: {why}"
        raise FaultError(msg)

    def parts(self, runtime: str) -> list[dict[str, Any]]:
        """Describe libfaketime for the journal, when it is used."""
        if self._part is None or self._part.found is None:
            return []
        part = {"node": libfaketime.NAME, "kind": libfaketime.NAME, "version": self._part.version or ""}
        return [{**part, "pid": None, "address": "", "runtime": runtime}]

    @staticmethod
    def _make(folder: Path, library: Path) -> Clock:
        """Lay a node's folder out, readable for whichever user its processes run as."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_ENTERED_BY_ALL)
        shutil.copyfile(library, folder / libfaketime.LIBRARY)
        clock = Clock(folder / _OFFSET)
        clock.write()
        for file in (folder / libfaketime.LIBRARY, clock.offset):
            file.chmod(_READ_BY_ALL)
        return clock


def _preloaded(running: Running) -> bool:
    """Whether a process of the node has the library; where that may not be seen, only a read will tell."""
    if running.pid is None:
        return True
    found = [procfs.maps(pid, libfaketime.LIBRARY) for pid in procfs.family(procfs.scan(), running.pid)]
    return any(one or one is None for one in found)
