"""A project for the soak: two services, a broker, Toxiproxy on a link; a test full of faults, and a clean one."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.conformance.runtimes import boxes, kit

ROOT = Path(__file__).parents[2]
CONFTEST = """
import sys
sys.path.insert(0, {root!r})
import pytest
from pytest_chaos import Redis, Topology
from tests.conformance.runtimes import boxes, kit


@pytest.fixture(scope="session")
def chaos_topology():
    back = {kit}.service("back")
    front = {kit}.service("front", calls={{"UP": "http://{{back}}"}}, uses={{"KEYS": "keys"}})
    return Topology(front, back, Redis("keys"), toxiproxy={toxiproxy!r})
"""
TESTS = """
import contextlib
import http.client
import json
import pathlib
import socket
import time

import httpx
import pytest
from pytest_chaos import Latency, Pause, Status

pytestmark = pytest.mark.chaos(allow_inconclusive=True)


def test_faults(chaos):
    parts = chaos._session.keeper.state().parts
    print("parts", json.dumps({part["node"]: part.get("container") or part["pid"] for part in parts}), flush=True)
    front, until = chaos.client("front", timeout_s=5), time.monotonic() + 30
    while not pathlib.Path("stop").exists():
        assert time.monotonic() < until, "nobody said stop"
        with chaos.fault(Latency("front -> back", 20), Status("test -> front", 503, every=2), Pause("keys")):
            print("in a fault now", flush=True)
            with contextlib.suppress(httpx.HTTPError):
                front.get("/ask")
                front.get("/ask")


def test_clean(chaos):
    print("clean", flush=True)
    keeper = chaos._session.keeper
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(keeper.home.wire_socket))
        wire.sendall(b'{"id": 1, "op": "rules"}\\n')
        table = json.loads(wire.makefile().readline())
    assert table["rules"] == []
    assert all(link["listening"] for link in table["links"].values())
    for part in keeper.state().parts:
        if part["kind"] == "toxiproxy":
            server = http.client.HTTPConnection(part["address"], timeout=5)
            server.request("GET", "/proxies")
            proxies = json.loads(server.getresponse().read())
            assert [(one["enabled"], one["toxics"]) for one in proxies.values()] == [(True, [])]
    answer = chaos.client("front").get("/ask")
    assert (answer.status_code, answer.text[:9]) == (200, "via hello")
    chaos.publish("keys", "events", {"order": "o-1"})
    chaos.check()
"""


class Run:
    """One ``pytest --chaos`` in that project; its output is read as it comes."""

    def __init__(self, folder: Path, *options: str, containers: bool = False, toxiproxy: bool = True) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        links = ["front -> back"] if toxiproxy else []
        conftest = CONFTEST.format(root=str(ROOT), kit="boxes" if containers else "kit", toxiproxy=links)
        for name, text in {"conftest.py": conftest, "test_it.py": TESTS, "pytest.ini": "[pytest]\n"}.items():
            (folder / name).write_text(text)
        (folder / "stop").unlink(missing_ok=True)
        self.lines: list[str] = []
        self._came = threading.Condition()
        runtime = "containers" if containers else "processes"
        command = [sys.executable, "-u", "-m", "pytest", "--chaos", "-s", "-p", "no:cacheprovider"]
        self.process = subprocess.Popen(
            [*command, f"--chaos-runtime={runtime}", *options],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, *, timeout_s: float = 60.0) -> re.Match[str]:
        """Wait for a line that begins so; fail with all of the output when it does not come."""
        deadline = time.monotonic() + timeout_s
        with self._came:
            while True:
                for line in self.lines:
                    if found := re.match(pattern, line):
                        return found
                over = self.process.poll() is not None and not self._reader.is_alive()
                assert not over and time.monotonic() < deadline, f"no line {pattern!r} in:\n{self.output}"  # noqa: PT018
                self._came.wait(0.1)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.wait_for(r"chaos: run (\S+),")[1]

    @property
    def output(self) -> str:
        """Everything that it said so far."""
        return "".join(self.lines)

    def stop(self) -> None:
        """Let the test with the faults end."""
        (self.folder / "stop").touch()

    def end(self, *, timeout_s: float = 60.0) -> int:
        """Wait for its end; give its exit status."""
        status = self.process.wait(timeout=timeout_s)
        self._reader.join(10)
        return status

    def close(self) -> None:
        """End it, however far it is."""
        self.process.kill()
        self.process.wait()
        self._reader.join(10)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._came:
                    self.lines.append(line)
                    self._came.notify_all()


def left_of(run: str) -> list[str]:
    """Everything that is still there of a run, containers included where there is an engine."""
    return [*kit.left_of(run), *([] if boxes.missing() else boxes.of_run(run))]
