"""When wire or Toxiproxy die or hang in mid-run: started anew on the same ports, the lost faults named, no hang."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.history import NodeEvent
from pytest_chaos.parts import toxiproxy
from tests.conformance.runtimes import kit
from tests.conformance.runtimes.test_toxiproxy_links import spec as with_toxiproxy
from tests.conformance.runtimes.test_toxiproxy_links import toxic

Up = tuple[KeeperClient, StackState]
NO_TOXIPROXY = not toxiproxy.find(os.environ).found


@pytest.fixture
def chain() -> Iterator[Up]:
    with kit.keeper(kit.chain()) as up:
        yield up


@pytest.fixture
def toxic_chain() -> Iterator[Up]:
    if NO_TOXIPROXY:
        pytest.skip("no toxiproxy-server here: make setup")
    with kit.keeper(with_toxiproxy()) as up:
        yield up


def pid_of(client: KeeperClient, kind: str) -> int:
    return next(int(part["pid"]) for part in client.state().parts if part["kind"] == kind)


def of(client: KeeperClient, part: str) -> list[NodeEvent]:
    return [event for event in client.node_events() if event.node == part]


def test_a_wire_that_dies_is_back_on_its_ports_and_its_faults_are_reported_lost(chain: Up) -> None:
    client, state = chain
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    before = client.mark().offset
    client.install(kit.schedule(kit.rule("status", "front -> back", code=503), kit.action("pause", "back", fault="f2")))
    dead = pid_of(client, "wire")
    os.kill(dead, signal.SIGKILL)
    (record, paused) = client.uninstall("s1")
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    assert client.state().links == state.links
    assert pid_of(client, "wire") != dead
    died, back = of(client, "+wire")
    assert (died.event, back.event) == ("exited", "ready")
    assert "died (ended by SIGKILL)" in died.detail
    assert "f1 status on front -> back (t)" in died.detail
    assert "f2" not in died.detail, "a paused node is not wire's to lose"
    assert record.lifted_ns is not None
    assert record.lifted_ns <= back.at_ns, "it ended with wire, not with its undo"
    assert paused.lifted_ns is not None
    assert [undo.ok for undo in client.undos()] == [True, True]
    assert client.state().dirty == ()
    later = client.mark().offset
    assert later > before, "the new wire appends to the same spool"


def test_names_of_attempts_are_not_given_again(chain: Up) -> None:
    client, state = chain
    kit.get(state.links["test -> front"], "/ask")
    assert client.mark().offset, "it is in the file, not in wire's buffer"
    os.kill(pid_of(client, "wire"), signal.SIGKILL)
    client.baseline()
    kit.get(state.links["test -> front"], "/ask")
    end = client.mark().offset
    from pytest_chaos.engine import spool

    names = [one.id for one in spool.read(client.attempts_spool, 0, end).attempts]
    assert len(names) >= 4
    assert len(set(names)) == len(names)


def test_a_callee_that_dies_together_with_wire_is_refused_and_back_again(chain: Up) -> None:
    client, state = chain
    os.kill(pid_of(client, "wire"), signal.SIGKILL)
    client.node("back", "kill")
    assert "refused" in kit.get(state.links["test -> front"], "/ask")
    client.baseline()
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_a_wire_that_hangs_is_replaced_by_the_undo(chain: Up) -> None:
    client, state = chain
    client.install(kit.schedule(kit.rule("hold", "front -> back", at="request")))
    os.kill(pid_of(client, "wire"), signal.SIGSTOP)
    began = time.monotonic()
    client.uninstall("s1")
    assert time.monotonic() - began < 10
    (undo,) = client.undos()
    assert undo.ok
    assert "after its restart" in undo.proof
    assert undo.error.startswith("undo: wire did not answer 'uninstall' within")
    died, _ = of(client, "+wire")
    assert "f1 hold on front -> back" in died.detail
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_a_wire_that_cannot_be_started_anew_is_told_at_once_and_every_time(chain: Up) -> None:
    client, state = chain
    _, _, port = state.links["front -> back"].rpartition(":")
    pid = pid_of(client, "wire")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        kit.until(lambda: _taken(thief, int(port)), what="the theft of its port")
        for _ in range(2):
            with pytest.raises(KeeperError, match="could not be started anew"):
                client.baseline()


def _taken(thief: socket.socket, port: int) -> bool:
    try:
        thief.bind(("127.0.0.1", port))
        thief.listen()
    except OSError:
        return False
    return True


def test_a_toxiproxy_that_dies_is_back_on_its_ports_without_its_toxics(toxic_chain: Up) -> None:
    client, state = toxic_chain
    client.install(kit.schedule(toxic("front -> back", "latency", latency=400)))
    dead = pid_of(client, "toxiproxy")
    os.kill(dead, signal.SIGKILL)
    (record,) = client.uninstall("s1")
    assert record.lifted_ns is not None
    client.baseline()
    began = time.monotonic()
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    assert time.monotonic() - began < 0.4
    died, back = of(client, "+toxiproxy")
    assert (died.event, back.event) == ("exited", "ready")
    assert "Toxiproxy died (ended by SIGKILL)" in died.detail
    assert "f1 latency on front -> back (t)" in died.detail
    assert pid_of(client, "toxiproxy") != dead
    assert all(undo.ok for undo in client.undos())
    # The next test's faults work on the new one.
    client.install(kit.schedule(toxic("front -> back", "latency", latency=400), name="s2"))
    began = time.monotonic()
    kit.get(state.links["test -> front"], "/ask")
    assert time.monotonic() - began >= 0.4
    assert client.uninstall("s2")[0].hits == 1
