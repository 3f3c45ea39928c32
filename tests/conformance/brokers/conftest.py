"""A real broker for a module, started by its recipe as the keeper would, with two links."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pytest_chaos.brokers.base import observer_for, recipe_for
from pytest_chaos.errors import PartMissing
from pytest_chaos.model.plan import NodeSpec
from pytest_chaos.model.topology import Broker

LINKS = ("orders -> it", "analytics -> it")


class Running:
    """One broker; its links are relays of the test's own, so that a client that leaves them is seen."""

    def __init__(self, declared: Broker, home: Path) -> None:
        self.declared = declared
        self.recipe = recipe_for(declared.kind)
        self.relays = {name: Relay() for name in LINKS}
        node = NodeSpec(name=declared.name, kind="broker", broker=declared.kind, options=dict(declared.options))
        told = {name: relay.address for name, relay in self.relays.items()}
        self.plan = self.recipe.prepare(node, home / declared.name, told, os.environ, take_port)
        for name, relay in self.relays.items():
            relay.upstream = self.plan.upstreams[name]
        self.mark = f"test-{os.getpid()}-{declared.name}-{time.monotonic_ns()}"
        self.log = home / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTEST_CHAOS_RUN": self.mark, **self.plan.env}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.plan.command, env=env, cwd=self.plan.cwd, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.plan.ports["tcp"]), 1):
                return
            threading.Event().wait(0.02)
        raise AssertionError(self.log.read_text(errors="replace")[-2000:])

    def kill(self) -> None:
        """Kill all of it, whatever left the process group."""
        while pids := self.family():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            threading.Event().wait(0.02)
        if self.process is not None:
            self.process.wait(5)

    def family(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"PYTEST_CHAOS_RUN={self.mark}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def address(self, link: str) -> str:
        return self.recipe.address(self.relays[link].address)

    def observer(self):
        kind, options = self.declared.kind, dict(self.declared.options)
        return observer_for(kind, self.plan.direct, options, name=self.declared.name)

    def close(self) -> None:
        self.kill()
        for relay in self.relays.values():
            relay.close()


class Relay:
    """Passes bytes on and counts connections: what wire does to a link with no fault on it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.upstream = ""
        self.connections = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break what is connected."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.connections += 1
                host, _, port = self.upstream.rpartition(":")
                try:
                    callee = socket.create_connection((host, int(port)), 5)
                except OSError:
                    caller.close()
                    continue
                callee.settimeout(None)
                self._sockets += [caller, callee]
                for one, other in ((caller, callee), (callee, caller)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


_CLAIMS: list[socket.socket] = []


def take_port() -> int:
    """Give a free port, claimed as keepers claim theirs: a broker's port must stay free while it is down."""
    while True:
        port = random.randint(20_000, 32_000)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            claim.bind(f"\0pytest-chaos-port-{port}")
            with socket.create_server(("127.0.0.1", port)):
                _CLAIMS.append(claim)
                return port
        claim.close()


@pytest.fixture(scope="module")
def broker(request, tmp_path_factory):
    """The module's broker, declared by its global BROKER."""
    try:
        running = Running(request.module.BROKER, tmp_path_factory.mktemp("broker"))
    except PartMissing as missing:
        pytest.skip(str(missing))
    running.start()
    yield running
    running.close()
    while _CLAIMS:
        _CLAIMS.pop().close()
    assert running.family() == []


@pytest.fixture
def observer(broker):
    one = broker.observer()
    yield one
    one.close()
    one.close()


def wait_until(condition, timeout_s: float = 8.0):
    """Give the first true value of a condition."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r}"
        threading.Event().wait(0.05)
    return value
