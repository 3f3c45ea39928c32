"""Stacks that cannot start: one clear error with the node's last lines, and nothing left."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from pytest_chaos.errors import StackError
from pytest_chaos.keeper.client import KeeperClient
from pytest_chaos.model.plan import StackSpec
from pytest_chaos.model.topology import Backing, LogLine, Service, Tcp
from tests.conformance.runtimes import kit

BUSY = "import os, socket; s = socket.socket(); s.bind(('127.0.0.1', int(os.environ['FIXED'])))"
SULKING = "import time; print('I will not listen', flush=True); time.sleep(600)"
# Binds its port only the second time: as if somebody else had been faster the first time.
UNLUCKY = """
import os, pathlib
seen = pathlib.Path(os.environ["SEEN"])
if not seen.exists():
    seen.write_text(os.environ["PORT"])
    raise OSError(98, "Address already in use")
"""


def failure(spec: StackSpec) -> str:
    client = KeeperClient.spawn(kit.run_id())
    pid = kit.keeper_pid(client)
    try:
        with pytest.raises(StackError) as caught:
            client.start(spec)
    finally:
        client.close()
    kit.until(lambda: not kit.left_of(client.home.run_id, pid), what="the end")
    return str(caught.value)


def test_a_node_that_dies_at_its_start_is_quoted() -> None:
    dying = kit.service("one", source="print('line one', flush=True); raise SystemExit('no database')")
    text = failure(kit.spec_of(dying, kit.service("two")))
    quoted, advice = text.rsplit("\n", 1)
    assert quoted == "one: died at its start (exit code 1).\nlast lines of one:\n  line one\n  no database"
    assert advice == "All nodes start at once: one that needs another has to wait until that answers."


def test_a_node_that_goes_into_the_background_is_told_to_stay() -> None:
    text = failure(kit.spec_of(kit.service("one", source="raise SystemExit(0)")))
    assert text.endswith("Its command has to stay in the foreground as long as the node runs.")


def test_a_node_killed_at_its_start_is_told_with_its_signal() -> None:
    text = failure(kit.spec_of(kit.service("one", source="import os; os.kill(os.getpid(), 11)")))
    assert text == "one: died at its start (ended by SIGSEGV).\none wrote no output."


def test_a_command_that_does_not_exist_is_named() -> None:
    text = failure(
        kit.spec_of(Service("one", command=("no-such-program-9", "x"), ports={"http": "PORT"}), kit.service("two"))
    )
    assert text.startswith("one: its command 'no-such-program-9' was not found on PATH")


def test_a_node_that_never_gets_ready_tells_what_was_polled_and_how_long() -> None:
    began = time.monotonic()
    text = failure(kit.spec_of(kit.service("one", source=SULKING, ready=Tcp(), ready_timeout_s=0.5)))
    assert time.monotonic() - began < 5
    assert text.startswith("one: not ready within 0.5 s; polled tcp 127.0.0.1:")
    assert "Connection refused" in text
    assert text.endswith("last lines of one:\n  I will not listen")


def test_a_node_that_answers_500_is_not_ready() -> None:
    failing = kit.SERVICE.replace("send_response(200)", "send_response(503)")
    text = failure(kit.spec_of(kit.service("one", source=failing, ready_timeout_s=0.5)))
    assert "polled http://127.0.0.1:" in text
    assert "it answered 503" in text


def test_a_log_line_that_never_comes_is_quoted() -> None:
    text = failure(kit.spec_of(kit.service("one", source=SULKING, ready=LogLine("listening on"), ready_timeout_s=0.3)))
    assert "polled its output: no line matches 'listening on'" in text


def test_a_fixed_port_in_use_is_quoted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = failure(kit.spec_of(kit.service("one", source=BUSY, env={"FIXED": str(taken.getsockname()[1])})))
    assert "Address already in use" in text


def test_several_failures_are_told_together() -> None:
    text = failure(
        kit.spec_of(kit.service("one", source="raise SystemExit(1)"), kit.service("two", source="raise SystemExit(2)"))
    )
    assert "one: died at its start (exit code 1)" in text
    assert "two: died at its start (exit code 2)" in text


def test_a_lost_race_for_a_port_is_retried_with_another(tmp_path: object) -> None:
    seen = f"{tmp_path}/seen"
    with kit.keeper(kit.spec_of(kit.service("one", source=UNLUCKY + kit.SERVICE, env={"SEEN": seen}))) as (
        client,
        state,
    ):
        assert kit.get(state.links["test -> one"]).startswith("hello")
        assert not state.ports["one"]["http"].endswith(":" + Path(seen).read_text())
        assert [event.event for event in client.node_events()] == ["started", "started", "ready"]


def test_a_stack_can_be_started_after_one_that_failed() -> None:
    with kit.keeper() as (client, _):
        with pytest.raises(StackError):
            client.start(kit.spec_of(kit.service("one", source="raise SystemExit(1)")))
        state = client.start(kit.spec_of(kit.service("one")))
        assert kit.get(state.links["test -> one"]).startswith("hello")


def test_a_backing_is_told_its_port() -> None:
    with kit.keeper(
        kit.spec_of(Backing("db", command=("python", "-c", kit.SERVICE)), kit.service("one", uses={"DB": "db"}))
    ) as (_, state):
        assert kit.get(state.links["one -> db"]).startswith("hello")
