"""One link, by either engine: a client's socket and its callee's in the test's own hands."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import time

from pytest_chaos.injectors.toxiproxy import ToxiproxyClient, server_plan
from pytest_chaos.injectors.toxiproxy.client import Toxic
from tests.conformance.wire.conftest import Wire

LIMIT_S = 10.0
NAME = "orders -> payments"


class Link:
    """``caller -> wire -> callee``, or ``caller -> wire -> Toxiproxy -> callee``."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.stack = contextlib.ExitStack()
        self.listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.listener.settimeout(LIMIT_S)
        address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.wire = Wire(folder)
        self.stack.callback(self.wire.stop)
        self.toxiproxy = None
        if engine == "toxiproxy":
            address = self._toxiproxy(address)
        self.port = self.wire.link(address, name=NAME)

    def _toxiproxy(self, address):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        plan = server_plan(os.environ, port)
        process = subprocess.Popen(plan.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(process.wait, LIMIT_S)
        self.stack.callback(process.kill)
        self.toxiproxy = ToxiproxyClient(plan.address)
        deadline = time.monotonic() + LIMIT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline
            select.select([], [], [], 0.01)
        return self.toxiproxy.create("p", listen="127.0.0.1:0", upstream=address).listen

    def open(self):
        """Connect: give the caller's socket and the callee's, proved to be connected to each other."""
        caller = self.stack.enter_context(socket.create_connection(("127.0.0.1", self.port), LIMIT_S))
        callee, _ = self.listener.accept()
        self.stack.enter_context(callee)
        for end in (caller, callee):
            end.settimeout(LIMIT_S)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return caller, callee

    def spoken(self):
        """Open a connection on which both sides have said something, as a pool has it."""
        caller, callee = self.open()
        caller.sendall(b"\0hi")
        assert take(callee, 3) == b"\0hi"
        callee.sendall(b"ho")
        assert take(caller, 2) == b"ho"
        return caller, callee

    def install(self, toxic, stream="downstream", *, name="t", **attributes):
        if self.toxiproxy is not None:
            self.toxiproxy.add_toxic("p", Toxic(name=name, type=toxic, stream=stream, attributes=attributes))
        else:
            self.wire.rule(f"bytes.{toxic}", link=NAME, schedule=name, rule=name, stream=stream, **attributes)

    def lift(self, name="t"):
        """Lift; give what wire counted."""
        if self.toxiproxy is not None:
            self.toxiproxy.remove_toxic("p", name, timeout_s=LIMIT_S)
            return None
        return self.wire.lift(name)[name]

    def close(self):
        self.stack.close()


def take(sock, size):
    """Receive exactly so many bytes, or what there is before the end."""
    got = b""
    while len(got) < size and (data := sock.recv(size - len(got))):
        got += data
    return got


def ending(sock, within_s=LIMIT_S):
    """Read until something ends it: ``eof``, ``reset``, or ``open`` when nothing does in time."""
    sock.settimeout(within_s)
    deadline = time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            if not sock.recv(65536):
                return "eof"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "open"
    finally:
        sock.settimeout(LIMIT_S)
    return "open"


def quiet(sock, within_s=0.3):
    """Whether nothing comes, and no end either."""
    return not select.select([sock], [], [], within_s)[0]


def rst(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
