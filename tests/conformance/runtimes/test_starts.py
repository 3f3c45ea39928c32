"""A node's start, as a process and as a container: held, so that callers are refused, or followed by a death."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

from pytest_chaos.faults.lifecycle import Kill
from pytest_chaos.faults.starts import CrashLoop, SlowStart
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import Fault, Schedule
from pytest_chaos.model.history import FaultRecord, NodeEvent
from pytest_chaos.model.topology import Topology
from pytest_chaos.parts import docker
from pytest_chaos.runtimes import procfs
from pytest_chaos.testing.strategies import installed
from tests.conformance.runtimes import boxes, kit

WHY = boxes.missing()
LATE_S = 0.6
"""How long `late` takes until it listens."""
SOURCE = "import os, time; time.sleep(float(os.environ.get('LATE_S', 0)))\n" + kit.SERVICE


@dataclasses.dataclass
class Up:
    client: KeeperClient
    state: StackState

    def install(self, *faults: Fault) -> None:
        compiled = tuple(installed(fault, f"f{number}") for number, fault in enumerate(faults, 1))
        self.client.install(Schedule(id="s1", owner="t", faults=compiled))

    def lift(self) -> list[FaultRecord]:
        return self.client.uninstall("s1")

    def ask(self, node: str = "back") -> str:
        return kit.get(self.state.links[f"test -> {node}"])

    def hits(self) -> int:
        return next(one for one in self.client.faults("t") if one.lifted_ns is None).hits

    def events(self, node: str, since: NodeEvent) -> list[str]:
        return [one.event for one in self.client.node_events() if one.node == node and one.at_ns > since.at_ns]


@pytest.fixture(
    scope="module",
    params=["processes", pytest.param("containers", marks=pytest.mark.skipif(bool(WHY), reason=WHY))],
)
def running(request: pytest.FixtureRequest) -> Iterator[Up]:
    boxed = request.param == "containers"
    make = boxes.service if boxed else kit.service
    late = {"env": {"LATE_S": str(LATE_S)}} if boxed else {"env": {"LATE_S": str(LATE_S)}, "source": SOURCE}
    wanted = Topology(make("back"), make("late", **late))  # type: ignore[operator]
    spec = dataclasses.replace(wanted.spec(), project="/", otlp=False, runtime=request.param)
    with kit.keeper(spec) as (client, state):
        yield Up(client, state)


@pytest.fixture
def up(running: Up) -> Up:
    running.client.baseline()
    return running


@pytest.fixture
def last(up: Up) -> NodeEvent:
    return up.client.node_events()[-1]


def test_a_slow_start_refuses_until_it_is_let_go_on(up: Up, last: NodeEvent) -> None:
    up.install(SlowStart("back", 60), Kill("back", restart_after_s=0))
    kit.until(lambda: "started" in up.events("back", last), what="the start that is held")
    kit.until(lambda: up.hits() == 1, what="the hold")
    assert up.ask() == "ConnectionRefusedError"
    assert "back" not in up.client.running()
    assert up.events("back", last) == ["killed", "started"]
    slow, killed = up.lift()
    assert slow.proof == "SIGSTOP at 1 starts of back, up to 60 s each, its links closed"
    assert (slow.hits, killed.hits, slow.engine) == (1, 1, "runtime")
    assert all(undo.ok for undo in up.client.undos())
    assert up.client.undos()[-1].proof.startswith("no start is held any more; back: TCP connect")
    assert up.ask().startswith("hello")


def test_a_held_start_stands_still(up: Up, last: NodeEvent) -> None:
    up.install(SlowStart("back", 60), Kill("back", restart_after_s=0))
    kit.until(lambda: up.hits() == 1, what="the hold")
    assert stands_still(up)
    up.lift()
    assert not stands_still(up)


def test_a_held_start_goes_on_when_its_time_is_over(up: Up, last: NodeEvent) -> None:
    up.install(SlowStart("back", 0.3), Kill("back", restart_after_s=0))
    kit.until(lambda: up.ask().startswith("hello"), what="the end of the hold")
    assert up.hits() == 1
    up.client.node("back", "restart")
    assert up.hits() == 2, "every start is held, whoever asked for it"
    up.lift()
    up.client.node("back", "restart")
    assert [one.hits for one in up.client.faults("t")][-2:] == [2, 1], "no start is held any more"


def test_a_slow_start_of_a_node_that_nobody_starts_hits_nothing(up: Up, last: NodeEvent) -> None:
    up.install(SlowStart("back", 1))
    (record,) = up.lift()
    assert (record.hits, record.proof) == (0, "")
    assert up.events("back", last) == []


def test_a_crash_loop_kills_so_often_and_then_leaves_it_up(up: Up, last: NodeEvent) -> None:
    up.install(CrashLoop("back", times=2, after_s=1.5))
    kit.until(lambda: up.events("back", last).count("ready") == 2, what="the start that lasts")
    assert up.ask().startswith("hello")
    assert up.events("back", last) == ["killed", "started", "ready"] * 2
    (record,) = up.lift()
    assert (record.hits, record.engine) == (2, "runtime")
    assert record.proof == "SIGKILL: back died 2 of 2 times; 1.5 s after its start it was ready and was killed"
    assert up.events("back", last) == ["killed", "started", "ready"] * 2, "it was left alone"


def test_one_that_dies_before_it_is_ready_never_answers(up: Up, last: NodeEvent) -> None:
    up.install(CrashLoop("late", times=3, after_s=0.05))
    kit.until(lambda: up.events("late", last).count("ready") == 1, what="the start that lasts")
    assert up.events("late", last) == ["killed", "started"] * 3 + ["ready"]
    (record,) = up.lift()
    assert record.hits == 3
    assert record.proof.endswith("0.05 s after its start it was killed before it was ready")
    assert up.ask("late").startswith("hello")


def test_a_lifted_crash_loop_ends_with_the_node_running(up: Up, last: NodeEvent) -> None:
    up.install(CrashLoop("back", times=50, after_s=60))
    kit.until(lambda: "ready" in up.events("back", last), what="its first comeback")
    (record,) = up.lift()
    assert (record.hits, record.proof) == (1, "SIGKILL: back died 1 of 50 times")
    assert up.events("back", last) == ["killed", "started", "ready"]
    assert up.client.undos()[-1].ok
    assert up.ask().startswith("hello")


def stands_still(up: Up) -> bool:
    """Whether the kernel, or the engine, says that `back` does not run."""
    (part,) = [one for one in up.client.state().parts if one["node"] == "back"]
    if part["container"]:
        status, found = docker.call(os.environ, "GET", f"/containers/{part['container']}/json")
        assert status == 200
        return bool(found["State"]["Paused"])
    process = procfs.look(part["pid"])
    assert process is not None
    return process.state == "T"
