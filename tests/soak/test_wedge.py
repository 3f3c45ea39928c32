"""A Toxiproxy wedged by a client that stops reading: its fault is undone within 10 s, traffic flows again, every time.

Twice in CI, 20 times with ``PYTEST_CHAOS_SOAK=10`` (``make soak``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.topology import Topology
from pytest_chaos.parts import toxiproxy
from tests.conformance.runtimes import kit
from tests.conformance.runtimes.test_toxiproxy_links import toxic
from tests.soak.rounds import rounds

pytestmark = pytest.mark.skipif(not toxiproxy.find(os.environ).found, reason="no toxiproxy-server here: make setup")
LINK = "test -> back"
# Answers with far more than every buffer on the way holds.
FLOOD = kit.SERVICE.replace(
    'if self.path == "/die": os._exit(9)',
    'if self.path == "/flood":\n'
    "            self.send_response(200); self.end_headers()\n"
    '            while True: self.wfile.write(b"x" * 1_000_000)',
)


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[KeeperClient, StackState]]:
    nodes = (kit.service("front", calls={"UP": "http://{back}"}), kit.service("back", source=FLOOD))
    plan = Topology(*nodes, toxiproxy=[LINK, "front -> back"]).spec()
    with kit.keeper(dataclasses.replace(plan, project="/", otlp=False)) as up:
        yield up


@contextlib.contextmanager
def deaf(address: str) -> Iterator[socket.socket]:
    """A client that asks for a flood and reads its beginning only."""
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect((host, int(port)))
        client.sendall(b"GET /flood HTTP/1.1\r\nHost: back\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 200")
        yield client


@pytest.mark.parametrize("number", rounds(2, each=2))
def test_a_wedged_toxiproxy_is_undone_and_the_link_works(stack: tuple[KeeperClient, StackState], number: int) -> None:
    client, state = stack
    fault = toxic(LINK, "latency", latency=50)
    client.install(kit.schedule(fault, name=f"s{number}"))
    with deaf(state.links[LINK]):
        _until_it_is_full(client)
        began = time.monotonic()
        (record,) = client.uninstall(f"s{number}")
        assert "hello" in kit.get(state.links[LINK])
        assert kit.get(state.links["test -> front"], "/ask").startswith("via hello"), "the other link, too"
        assert time.monotonic() - began < 10
    assert record.hits >= 1
    undo = client.undos()[-1]
    assert undo.ok
    assert undo.error.startswith("undo: Toxiproxy at "), "it was wedged"
    assert "after its restart" in undo.proof
    assert f"a TCP connection through {LINK} reached its callee" in undo.proof


def _until_it_is_full(client: KeeperClient) -> None:
    """Wait until nothing moves any more: no buffer between the callee and its deaf caller has room."""
    (engine,) = (part for part in client.state().parts if part["kind"] == "toxiproxy")
    calm, before = 0, -1
    deadline = time.monotonic() + 10
    while calm < 5:
        # What a process has written is counted by the kernel.
        counters = Path(f"/proc/{engine['pid']}/io").read_text()
        wrote = int(counters.split("wchar: ")[1].split()[0])
        calm = calm + 1 if wrote == before else 0
        before = wrote
        assert time.monotonic() < deadline, "the flood never stopped"
        time.sleep(0.05)
