"""However a client or the keeper ends, whenever: within 10 s nothing of the run is left, nobody else is touched.

Each case runs once by default; ``PYTEST_CHAOS_SOAK=10`` runs each ten times at random moments (``make soak``).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_chaos.keeper import home
from pytest_chaos.keeper.client import KeeperClient
from pytest_chaos.runtimes import procfs
from tests.conformance.runtimes import kit

ROUNDS = int(os.environ.get("PYTEST_CHAOS_SOAK", "1"))
# A client that starts a stack with a daemon in it, installs faults and lifts them, for ever.
CLIENT = """
import sys
sys.path.insert(0, {root!r})
from pytest_chaos.keeper.client import KeeperClient
from tests.conformance.runtimes import kit
print("begin", flush=True)
client = KeeperClient.spawn({run!r})
back = kit.service("back", source=kit.DAEMON + kit.SERVICE)
state = client.start(kit.spec_of(kit.service("front", calls={{"UP": "http://{{back}}"}}), back))
own = [where for ports in state.ports.values() for where in ports.values()]
print("ports", *state.links.values(), *own, flush=True)
number = 0
while True:
    number += 1
    faults = kit.rule("hold", "front -> back", at="request"), kit.action("kill", "back", fault="f2")
    client.install(kit.schedule(*faults, name=f"s{{number}}"))
    print("fault", flush=True)
    client.uninstall(f"s{{number}}")
"""


def begin(run: str) -> subprocess.Popen[str]:
    source = CLIENT.format(root=str(Path(__file__).parents[2]), run=run)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, start_new_session=True)


def read_until(client: subprocess.Popen[str], word: str) -> list[str]:
    assert client.stdout is not None
    for line in client.stdout:
        if line.startswith(word):
            return line.split()[1:]
    raise AssertionError(f"the client ended before it said {word!r}")


def moment(client: subprocess.Popen[str], number: int) -> list[str]:
    """Wait for a random moment; in the first round it is in the middle of a fault."""
    if number == 0:
        ports = read_until(client, "ports")
        read_until(client, "fault")
        return ports
    read_until(client, "begin")
    time.sleep(random.uniform(0, 1.6))
    return []


def nothing_left(run: str, ports: list[str], keeper: int | None) -> None:
    began = time.monotonic()
    kit.until(lambda: not kit.left_of(run, keeper), what=f"the end of {run}: {kit.left_of(run, keeper)}")
    assert kit.listening(ports) == []
    assert time.monotonic() - began < 10


def end(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.wait()
    assert client.stdout is not None
    client.stdout.close()


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_client_that_ends_leaves_nothing(how: signal.Signals, number: int) -> None:
    run = kit.run_id()
    client = begin(run)
    try:
        ports = moment(client, number)
        record = home.read_record(home.run_home(run))
        os.kill(client.pid, how)
        client.wait(timeout=10)
        nothing_left(run, ports, record.pid if record else None)
    finally:
        end(client)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_keeper_leaves_nothing_after_the_next_start(number: int) -> None:
    run = kit.run_id()
    client = begin(run)
    try:
        ports = moment(client, number)
        record = home.read_record(home.run_home(run))
        if record is None:  # the random moment came before the keeper
            return
        os.kill(record.pid, signal.SIGKILL)
        client.wait(timeout=10)  # its next request is refused
        with kit.keeper():
            nothing_left(run, ports, record.pid)
    finally:
        end(client)


def test_a_terminated_keeper_removes_its_stack() -> None:
    with kit.keeper(kit.chain()) as (client, state):
        pid = kit.keeper_pid(client)
        os.kill(pid, signal.SIGTERM)
        nothing_left(client.home.run_id, list(state.links.values()), pid)


def test_a_keeper_does_not_hear_the_terminals_signals() -> None:
    with kit.keeper(kit.chain()) as (client, state):
        pid = kit.keeper_pid(client)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            os.kill(pid, ignored)
        assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_two_runs_side_by_side_do_not_touch_each_other() -> None:
    with kit.keeper(kit.chain()) as (one, first):
        with kit.keeper(kit.chain()) as (two, second):
            assert not set(first.links.values()) & set(second.links.values())
            one.install(kit.schedule(kit.rule("status", "front -> back", code=503)))
            assert kit.get(second.links["test -> front"], "/ask").startswith("via hello")
            run = two.home.run_id
        assert kit.marked(run) == []
        assert "503" in kit.get(first.links["test -> front"], "/ask")


def test_the_sweep_touches_neither_live_runs_nor_strangers() -> None:
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, "PYTEST_CHAOS_RUN": "no-such-run"}
    )
    try:
        with kit.keeper(kit.chain()) as (_, state), kit.keeper():
            assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_nodes_die_with_their_keeper() -> None:
    client = KeeperClient.spawn(kit.run_id())
    client.start(kit.chain())
    pids = [int(part["pid"]) for part in client.state().parts]
    record = home.read_record(client.home)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)

    def alive() -> list[int]:
        return [pid for pid in pids if (one := procfs.look(pid)) is not None and not one.zombie]

    kit.until(lambda: not alive(), what="their end")
    client.close()
    with kit.keeper():
        nothing_left(client.home.run_id, [], record.pid)
