"""Who waits in wire waits as long as it was told: never less, on either event loop."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from pytest_chaos.model.fault import WireRule
from pytest_chaos.wire.spool import Spool
from pytest_chaos.wire.table import Facts
from pytest_chaos.wire.world import World

LINK = "orders -> payments"


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_no_wait_ends_early_on_a_busy_loop(loop, tmp_path):
    """uvloop counts in whole milliseconds: it ends a wait of 3.4 ms after 3, or sooner where others wake it."""
    early_ns = []

    async def wait(world, step, number):
        wait_s = 0.003 + number * 0.00017
        for _ in range(5):
            began = time.monotonic_ns()
            await world.pause(step, f"a{number}", wait_s=wait_s)
            early_ns.append(began + round(wait_s * 1e9) - time.monotonic_ns())

    async def main():
        world = World(seed=1, spool=Spool(tmp_path / "spool"))
        world.table.install("s", "t", [WireRule(id="r", fault="f", link=LINK, kind="latency", params={"ms": 3})])
        (step,) = world.table.decide(LINK, Facts(operation="GET /")).request
        await asyncio.gather(*(wait(world, step, number) for number in range(40)))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert len(early_ns) == 200
    assert max(early_ns) <= 0
