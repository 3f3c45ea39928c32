"""However a client or the keeper ends in the middle of a fault, no container, network or process of the run is left.

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
from tests.conformance.runtimes import boxes, kit

ROUNDS = int(os.environ.get("PYTEST_CHAOS_SOAK", "1"))
WHY = boxes.missing()
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)

CLIENT = """
import sys
sys.path.insert(0, {root!r})
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.keeper.client import KeeperClient
from tests.conformance.runtimes import boxes, kit
client = KeeperClient.spawn({run!r})
print("begin", flush=True)
back = boxes.service("back")
client.start(boxes.spec_of(boxes.service("front", calls={{"UP": "http://{{back}}"}}), back, Redis("keys")))
faults = kit.rule("hold", "front -> back", at="request"), kit.action("pause", "keys", fault="f2")
client.install(kit.schedule(*faults, kit.action("kill", "back", fault="f3")))
print("fault", flush=True)
sys.stdin.read()
"""
KILLS = [("client", signal.SIGINT), ("client", signal.SIGTERM), ("client", signal.SIGKILL), ("keeper", signal.SIGKILL)]


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize(("who", "how"), KILLS, ids=lambda value: getattr(value, "name", value))
def test_no_container_outlives_its_run(who: str, how: signal.Signals, number: int) -> None:
    run = kit.run_id()
    command = [sys.executable, "-c", CLIENT.format(root=str(Path(__file__).parents[2]), run=run)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        # In the first round in the middle of a fault, then at any moment from the start on.
        assert ("fault\n" if number == 0 else "begin\n") in iter(client.stdout.readline, "")
        time.sleep(0 if number == 0 else random.uniform(0, 5))
        record = home.read_record(home.run_home(run))
        assert record is not None
        os.kill(client.pid if who == "client" else record.pid, how)
        if who == "client":
            kit.until(lambda: _nothing(run, record.pid), what=f"the end of {run}")
        else:
            with kit.keeper():  # the next run's start sweeps
                kit.until(lambda: _nothing(run, record.pid), what=f"the end of {run}")
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()


def _nothing(run: str, keeper: int) -> bool:
    return not boxes.of_run(run) and not kit.left_of(run, keeper)
