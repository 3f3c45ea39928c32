"""Who runs on this machine, as /proc says: sessions, parents, environment markers. Empty where there is no /proc."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _PPID, _SESSION, _START = 0, 1, 3, 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; ``started`` (clock ticks since boot) tells it from a later one with the same number."""

    pid: int
    ppid: int
    session: int
    state: str
    started: int

    @property
    def zombie(self) -> bool:
        """Whether it has ended and only waits to be reaped."""
        return self.state == "Z"


def look(pid: int) -> Process | None:
    """Give one process, or None when there is none of that number."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (OSError, ValueError):
        return None
    fields = text[text.rfind(")") + 2 :].split()
    return Process(
        pid=pid,
        ppid=int(fields[_PPID]),
        session=int(fields[_SESSION]),
        state=fields[_STATE],
        started=int(fields[_START]),
    )


def scan() -> list[Process]:
    """Give every process of this machine that can be seen."""
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 - a thousand Path objects a scan are too many
    except OSError:
        return []
    found = (look(int(name)) for name in names if name.isdigit())
    return [process for process in found if process is not None]


def carries(pid: int, marks: Collection[bytes]) -> bool:
    """Whether a process was started with all of these ``NAME=value`` in its environment."""
    try:
        environ = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return set(marks) <= set(environ)


def maps(pid: int, name: str) -> bool | None:
    """Whether a process has a file of this name (its last part) in its memory; None when that may not be seen."""
    try:
        text = (_PROC / str(pid) / "maps").read_text(errors="replace")
    except ProcessLookupError:
        return False
    except OSError as wrong:
        return False if isinstance(wrong, FileNotFoundError) else None
    return any(line.endswith(f"/{name}") for line in text.splitlines())


def family(everyone: Iterable[Process], root: int) -> set[int]:
    """Give the numbers of a process's session members and of all its descendants, itself included."""
    children: dict[int, list[int]] = {}
    found: set[int] = set()
    for process in everyone:
        children.setdefault(process.ppid, []).append(process.pid)
        if root in (process.session, process.pid):
            found.add(process.pid)
    todo = [root, *found]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def send(process: Process, what: signal.Signals) -> None:
    """Signal exactly this process: never a later one that got its number. One that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not hasattr(os, "pidfd_open"):
            os.kill(process.pid, what)
            return
        handle = os.pidfd_open(process.pid)
        try:
            same = look(process.pid)
            if same is not None and same.started == process.started:
                signal.pidfd_send_signal(handle, what)
        finally:
            os.close(handle)


def boot_id() -> str:
    """Give the kernel's id of this boot, or the empty string."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
