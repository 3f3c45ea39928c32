"""The labels of what a run makes at the Docker engine, and whether the run that they name still lives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from pytest_chaos.runtimes import procfs

RUN = "pytest-chaos.run"
NODE = "pytest-chaos.node"
KEEPER = "pytest-chaos.keeper"


def of_run(run_id: str) -> dict[str, str]:
    """Give the labels of everything that this process makes for a run: the run's id, and who keeps it."""
    return {RUN: run_id, KEEPER: _identity(os.getpid())}


def is_dead(labels: Mapping[str, str]) -> bool:
    """Whether the process that kept this run is gone.

    A process of another process namespace cannot be seen from here, so what it keeps is left alone.
    """
    pid, _, rest = labels.get(KEEPER, "").partition(" ")
    if not pid.isdigit():
        return False
    _, boot, namespace = rest.split(" ")
    if boot != procfs.boot_id():
        return True
    return namespace == _namespace() and labels[KEEPER] != _identity(int(pid))


def _identity(pid: int) -> str:
    """Name a process so that no later one with its number is meant: number, start, boot, process namespace."""
    process = procfs.look(pid)
    started = 0 if process is None or process.zombie else process.started
    return f"{pid} {started} {procfs.boot_id()} {_namespace()}"


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no file, a name
    return ""
