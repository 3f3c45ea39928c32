"""Who is connected to a port: the kernel's tables, read for real sockets of this process and of another."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_chaos.runtimes import procnet

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
CONNECT = """
import socket, sys
connected = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(connected.getsockname()[1], flush=True)
sys.stdin.read()
"""


def _can_listen(host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        try:
            tried.bind((host, 0))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("host", [one for one in ("127.0.0.1", "::1", "::ffff:127.0.0.1") if _can_listen(one)])
def test_the_callers_end_is_found_with_who_holds_it(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert procnet.outgoing({port}) == []
        command = [sys.executable, "-c", CONNECT, host, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            from_port = int(other.stdout.readline())
            (one,) = procnet.outgoing({port})
            assert (one.port, one.to_port) == (from_port, port)
            assert one.inode in procnet.sockets(other.pid)
            assert one.inode not in procnet.sockets(os.getpid())
            assert procnet.program(other.pid).startswith("python")
            other.communicate("")
        assert procnet.outgoing({port}) == []


def test_what_is_gone_has_nothing() -> None:
    assert procnet.sockets(0) == set()
    assert procnet.environ(0) == {}
    assert procnet.program(0) == ""
    assert procnet.environ(os.getpid())
