"""Who is connected to which port of this host, as /proc says. Empty where there is no /proc."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TABLES = ("net/tcp", "net/tcp6")
_LOOPBACK_6 = "00000000000000000000000001000000"
_MAPPED_6 = "0000000000000000FFFF0000"
_SOCKET = "socket:["


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The caller's end of a connection within this host: its own port, the callee's, and the socket's inode."""

    port: int
    to_port: int
    inode: int


def outgoing(to_ports: Collection[int]) -> list[Outgoing]:
    """Give the callers' ends of all connections to these loopback ports; one that nobody holds any more is none."""
    return [one for table in _TABLES for one in _rows(_PROC / table, to_ports)]


def _rows(table: Path, to_ports: Collection[int]) -> Iterator[Outgoing]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        _, local, remote, _, _, _, _, _, _, inode, *_ = line.split()
        address, _, port = remote.partition(":")
        to_port = int(port, 16)
        if to_port in to_ports and inode != "0" and _is_loopback(address):
            yield Outgoing(int(local.rpartition(":")[2], 16), to_port, int(inode))


def _is_loopback(address: str) -> bool:
    """Whether an address as the kernel prints it (each word in the machine's order) is of the loopback network."""
    if len(address) > len("0100007F"):
        return address == _LOOPBACK_6 or (address.startswith(_MAPPED_6) and _is_loopback(address[-8:]))
    return bytes.fromhex(address)[-1 if _LITTLE else 0] == 127


_LITTLE = memoryview(b"\x01\x00").cast("H")[0] == 1


def sockets(pid: int) -> set[int]:
    """Give the inodes of a process's sockets; empty when it is gone, or another user's."""
    folder = f"{_PROC}/{pid}/fd"
    found: set[int] = set()
    try:
        names = os.listdir(folder)  # noqa: PTH208 - strings, since there may be thousands
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as above
        except OSError:
            continue
        if target.startswith(_SOCKET):
            found.add(int(target[len(_SOCKET) : -1]))
    return found


def environ(pid: int) -> dict[str, str]:
    """Give the environment that a process was started with; empty when it cannot be read."""
    try:
        pairs = (_PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def program(pid: int) -> str:
    """Give a process's short name, or the empty string."""
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""
