"""Processes of a benchmark: started, waited for, looked at, ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pytest_chaos.errors import StackError

ROOT = Path(__file__).parents[2]
START_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.02


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait(port: int) -> None:
    """Wait until somebody listens there; raise OSError when nobody does in time."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return


@contextlib.contextmanager
def running(*command: str) -> Iterator[int]:
    """Run a command until the block ends; give its process id."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def output(*command: str, timeout_s: float = 120.0) -> str:
    """Give what a command prints; raise StackError with its words when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        msg = f"{' '.join(command[:6])} ...: exit code {done.returncode}: {done.stderr[-800:]}"
        raise StackError(msg)
    return done.stdout


def cpu_s(pid: int) -> float:
    """Give a process's CPU seconds so far, user and system; 0 for none (0)."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(pid: int) -> float:
    """Give a process's resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
