"""Who waits in wire waits as long as it was told: never less, on either event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from pytest_chaos.model.fault import WireRule
from pytest_chaos.wire.spool import Spool
from pytest_chaos.wire.table import Facts
from pytest_chaos.wire.world import World

uvloop = pytest.importorskip("uvloop")
LINK = "orders -> payments"
WAIT_S = 0.02


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_no_wait_ends_early_on_a_busy_loop(loop, tmp_path):
    """uvloop counts in whole milliseconds: a loop that other timers wake would end such a wait up to 1 ms early."""
    waited = []

    async def wait(world, step, name):
        began = time.monotonic_ns()
        await world.pause(step, name, wait_s=WAIT_S)
        waited.append(time.monotonic_ns() - began)

    async def main():
        world = World(seed=1, spool=Spool(tmp_path / "spool"))
        rule = WireRule(id="r", fault="f", link=LINK, kind="latency", params={"ms": WAIT_S * 1000})
        world.table.install("s", "t", [rule])
        (step,) = world.table.decide(LINK, Facts(operation="GET /")).request
        async with asyncio.TaskGroup() as waits:
            for number in range(200):
                waits.create_task(wait(world, step, f"a{number}"))
                await asyncio.sleep(0.0003 if number % 3 else 0.001)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert len(waited) == 200
    assert min(waited) >= WAIT_S * 1e9
