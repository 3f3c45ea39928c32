"""A node's wall clock, stepped while it runs, as a process and as a container; what it reads itself is asked of it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator

import pytest

from pytest_chaos.errors import FaultError
from pytest_chaos.faults.clock import ClockStep
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import Fault, Schedule
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.topology import Http, Service, Topology
from pytest_chaos.parts import libfaketime
from pytest_chaos.testing.strategies import installed
from tests.conformance.runtimes import boxes, kit

FOUND = libfaketime.find(os.environ)
pytestmark = pytest.mark.skipif(FOUND.found is None, reason=FOUND.how_to_get)
WHY = boxes.missing()
HOUR_S = 3600
NEAR_S = 30
# Says what it reads of its clocks, after a sleep; /child asks a program that it starts.
SOURCE = """
import json, os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
READ = "import json, time; time.sleep(0.001); print(json.dumps([time.time(), time.monotonic()]))"
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.001)
        if self.path == "/child":
            text = subprocess.run([sys.executable, "-S", "-c", READ], capture_output=True, check=True).stdout
        else:
            text = json.dumps([time.time(), time.monotonic()]).encode() if self.path == "/now" else b"hello"
        self.send_response_only(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text)
    def log_message(self, form, *args): pass
host = os.environ.get("HOST", "127.0.0.1")
ThreadingHTTPServer((host, int(os.environ["PORT"])), Handler).serve_forever()
"""


def service(name: str, **fields: object) -> Service:
    command = ("python3", "-c", SOURCE)
    return Service(name, command=command, image=boxes.IMAGE, ports={"http": "PORT"}, ready=Http("/"), **fields)  # type: ignore[arg-type]


@dataclasses.dataclass
class Up:
    client: KeeperClient
    state: StackState

    def install(self, *faults: Fault, name: str = "s1") -> None:
        compiled = tuple(
            installed(fault, f"{name}-f{number}", nodes=("stepped", "plain")) for number, fault in enumerate(faults, 1)
        )
        self.client.install(Schedule(id=name, owner=name, faults=compiled))

    def lift(self, name: str = "s1") -> FaultRecord:
        return self.client.uninstall(name)[0]

    def ahead_s(self, node: str = "stepped", path: str = "/now") -> float:
        """How far a node's clock is ahead, in s; its monotonic clock must be this host's."""
        before = time.monotonic()
        wall, monotonic = json.loads(kit.get(self.state.links[f"test -> {node}"], path))
        assert before <= monotonic <= time.monotonic()
        return float(wall - time.time())


@pytest.fixture(
    scope="module",
    params=["processes", pytest.param("containers", marks=pytest.mark.skipif(bool(WHY), reason=WHY))],
)
def running(request: pytest.FixtureRequest) -> Iterator[Up]:
    wanted = Topology(service("stepped", clock=True), service("plain"))
    spec = dataclasses.replace(wanted.spec(), project="/", otlp=False, runtime=request.param)
    with kit.keeper(spec) as (client, state):
        assert "libfaketime" not in state.missing
        yield Up(client, state)


@pytest.fixture
def up(running: Up) -> Up:
    running.client.baseline()
    assert abs(running.ahead_s()) < NEAR_S
    return running


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S, 86_400.5])
def test_a_step_is_read_at_once_and_taken_back(up: Up, by_s: float) -> None:
    up.install(ClockStep("stepped", by_s))
    assert abs(up.ahead_s() - by_s) < NEAR_S
    assert abs(up.ahead_s("plain")) < NEAR_S
    record = up.lift()
    assert (record.hits, record.engine, record.target) == (1, "runtime", "stepped")
    assert record.proof.startswith(f"a process of stepped read its clock, {by_s:+g} s off, ")
    undo = up.client.undos()[-1]
    assert (undo.ok, undo.proof) == (True, "the clock's file says +0.000000 s, and is read at each look at the clock")
    assert abs(up.ahead_s()) < NEAR_S


def test_a_clock_that_nobody_looks_at_is_not_hit(up: Up) -> None:
    up.install(ClockStep("stepped", HOUR_S))
    record = up.lift()
    assert (record.hits, record.proof) == (0, "")


def test_steps_add_up_and_are_taken_back_one_by_one(up: Up) -> None:
    up.install(ClockStep("stepped", 2 * HOUR_S))
    up.install(ClockStep("stepped", -HOUR_S), name="s2")
    assert abs(up.ahead_s() - HOUR_S) < NEAR_S
    first = up.lift()
    assert abs(up.ahead_s() + HOUR_S) < NEAR_S
    second = up.lift("s2")
    assert (first.hits, second.hits) == (1, 1)
    assert "+3600 s off" in first.proof
    assert "+3600 s off" in second.proof, "both were in force when it was read"
    assert abs(up.ahead_s()) < NEAR_S


def test_what_the_node_starts_has_its_clock(up: Up) -> None:
    up.install(ClockStep("stepped", HOUR_S))
    assert abs(up.ahead_s(path="/child") - HOUR_S) < NEAR_S
    up.client.node("stepped", "restart")
    assert abs(up.ahead_s() - HOUR_S) < NEAR_S, "it is the machine's clock that is wrong"
    assert up.lift().hits == 1
    assert abs(up.ahead_s(path="/child")) < NEAR_S


def test_a_node_that_was_not_made_for_it_is_refused_with_what_to_do(up: Up) -> None:
    with pytest.raises(FaultError, match=r"'plain' cannot be stepped: .*Service\('plain', \.\.\., clock=True\)"):
        up.install(ClockStep("plain", HOUR_S))


def test_a_node_that_is_down_is_refused(up: Up) -> None:
    up.client.node("stepped", "kill")
    with pytest.raises(FaultError, match="'stepped' cannot be stepped: it does not run"):
        up.install(ClockStep("stepped", HOUR_S))


def test_libfaketime_stands_in_the_journal(up: Up) -> None:
    (part,) = [one for one in up.state.parts if one["kind"] == "libfaketime"]
    assert part["version"] == (FOUND.version or "")


def test_a_program_that_drops_the_library_is_refused() -> None:
    dropped = ("env", "-u", "LD_PRELOAD", "python3", "-c", SOURCE)
    spec = dataclasses.replace(
        Topology(Service("stepped", command=dropped, ports={"http": "PORT"}, ready=Http("/"), clock=True)).spec(),
        project="/", otlp=False,
    )  # fmt: skip
    with kit.keeper(spec) as (client, state), pytest.raises(FaultError, match="not loaded in any of its processes"):
        Up(client, state).install(ClockStep("stepped", HOUR_S))


def test_without_libfaketime_the_node_runs_and_its_clock_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_CHAOS_CACHE", str(tmp_path))
    spec = dataclasses.replace(Topology(service("stepped", clock=True)).spec(), project="/", otlp=False)
    with kit.keeper(spec) as (client, state):
        assert "pytest-chaos setup libfaketime" in state.missing["libfaketime"]
        up = Up(client, state)
        with pytest.raises(FaultError, match="libfaketime is not on this machine: install libfaketime"):
            up.install(ClockStep("stepped", HOUR_S))
        assert abs(up.ahead_s()) < NEAR_S
