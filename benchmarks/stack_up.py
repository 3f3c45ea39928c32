"""How long the whole shop takes to come up, beside each broker's own start through its recipe alone.

Ours is from the keeper's birth to a stack that is ready: seven services, three brokers, stubs, wire, Toxiproxy. A peer
is the recipe's layout of its folder, the process, and the same poll for readiness. All caches are warm.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.rows import Measured, row
from fixtures import shop
from pytest_chaos.brokers.base import recipe_for
from pytest_chaos.engine.session import new_run_id
from pytest_chaos.errors import PartMissing
from pytest_chaos.keeper import wiring
from pytest_chaos.keeper.client import KeeperClient
from pytest_chaos.keeper.ports import Ports
from pytest_chaos.keeper.ready import wait_ready
from pytest_chaos.model.plan import NodeSpec, StackSpec
from pytest_chaos.runtimes.base import NodeRun
from pytest_chaos.runtimes.processes import ProcessRuntime
from pytest_chaos.runtimes.reaper import Reaper

ROOT = Path(__file__).parents[1]
ROUNDS = 3
GOAL_S = 3.0


def measure(rounds: int = ROUNDS) -> Measured:
    """Bring the stack and each of its brokers up in turn, ``rounds`` times; raise StackError when the stack cannot."""
    spec = replace(shop.topology("").spec(), project=str(ROOT))
    brokers = [node for node in spec.nodes if node.kind == "broker"]
    ours: list[float] = []
    peers: dict[str, list[float]] = {node.broker: [] for node in brokers}
    notes: set[str] = set()
    for _ in range(rounds):
        seconds, missing = _stack_s(spec)
        ours.append(seconds)
        notes |= {f"{part} is not here, so the stack came up without it" for part in missing}
        for node in brokers:
            try:
                peers[node.broker].append(_broker_s(node, spec))
            except PartMissing as away:
                notes.add(str(away))
    found = row(f"stack up, {len(spec.nodes)} nodes, caches warm, against a broker alone", "s", ours, peers, digits=2)
    return Measured(rows=(found,), notes=(*sorted(notes), goal(found.ours, found.peers)))


def goal(ours_s: float, peers_s: Mapping[str, float]) -> str:
    """Say how the stack's start stands to the goal: the slowest broker's own start and three seconds."""
    if not peers_s:
        return "goal: none, since no broker could be had here"
    slowest = max(peers_s, key=lambda name: peers_s[name])
    limit_s = peers_s[slowest] + GOAL_S
    verdict = "met" if ours_s <= limit_s else "MISSED"
    return f"goal: {slowest} alone + {GOAL_S:g} s = {limit_s:.2f} s; ours {ours_s:.2f} s: {verdict}"


def _stack_s(spec: StackSpec) -> tuple[float, tuple[str, ...]]:
    began = time.monotonic()
    with KeeperClient.spawn(new_run_id()) as keeper:
        state = keeper.start(spec)
        return time.monotonic() - began, tuple(state.missing)


def _broker_s(node: NodeSpec, spec: StackSpec) -> float:
    with tempfile.TemporaryDirectory(prefix="chaos-bench-") as folder:
        ports = Ports()
        try:
            return asyncio.run(_start_alone(node, spec, Path(folder), ports))
        finally:
            ports.close()


async def _start_alone(node: NodeSpec, spec: StackSpec, folder: Path, ports: Ports) -> float:
    links = {link.name: f"127.0.0.1:{ports.take()}" for link in spec.links if link.callee == node.name}
    recipe, environ = recipe_for(node.broker), dict(os.environ)
    reaper, run_id = Reaper(), new_run_id()
    reaper.attach()
    try:
        began = time.monotonic()
        plan = await asyncio.to_thread(recipe.prepare, node, folder / "data", links, environ, ports.take)
        run = NodeRun(
            name=node.name,
            run_id=run_id,
            command=plan.command,
            env={**wiring.inherited(environ), **plan.env},
            cwd=plan.cwd,
            log=folder / "log",
            ports=plan.ports,
        )
        running = await ProcessRuntime(run_id, reaper).start(run)
        try:
            await wait_ready(node.name, plan.ready, running, run.log, port="tcp")
            return time.monotonic() - began
        finally:
            await running.kill()
    finally:
        reaper.detach()
