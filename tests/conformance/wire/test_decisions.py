"""One seed, one set of decisions: whatever the order in which parallel callers happen to come."""

from __future__ import annotations

import asyncio
import random

import httpx

OPS, TRIES, CLIENTS = 60, 3, 12
RULES = [
    {"id": "chance", "kind": "status", "when": {"probability": 0.3}, "params": {"code": 503}},
    {"id": "jitter", "kind": "latency", "when": {"probability": 0.5}, "params": {"ms": 4, "jitter_ms": 3}},
    {"id": "once", "kind": "status", "when": {"first": 1, "per": "op"}, "params": {"code": 429}},
    {"id": "mine", "kind": "hold", "whom": {"correlation_prefix": "op-1"}, "params": {"ms": 2}},
]  # fmt: skip


def run(wire, base, order):
    """Drive every operation (a try after the other) by parallel clients in an order of their own; give the log."""
    fault = {"link": "orders -> payments", "operation": ""}
    wire.do("install", schedule="s", owner="t", rules=[{**fault, "fault": f"f-{one['id']}", **one} for one in RULES])
    begun = len(wire.rows("d"))

    async def drive():
        async with httpx.AsyncClient(base_url=base, timeout=20) as client:

            async def worker(mine):
                for op in mine:
                    for _ in range(TRIES):
                        await client.post("/pay", headers={"x-correlation-id": f"op-{op}"})

            await asyncio.gather(*(worker(order[number::CLIENTS]) for number in range(CLIENTS)))

    asyncio.run(drive())
    log = wire.rows("d")[begun:]
    wire.lift()
    return sorted(
        ({name: value for name, value in row.items() if name != "at_ns"} for row in log),
        key=lambda row: (row["fault"], row["op"], row["n"]),
    )


def three_runs(wire, callee, shuffles):
    base = f"http://127.0.0.1:{wire.link(callee.address)}"
    logs = []
    for shuffle in shuffles:
        order = list(range(OPS))
        random.Random(shuffle).shuffle(order)
        logs.append(run(wire, base, order))
    return logs


def test_one_seed_decides_the_same_for_parallel_callers_three_times(wire, callee):
    first, second, third = three_runs(wire, callee, [1, 2, 3])
    assert first == second == third
    by_rule = {one["id"]: [row for row in first if row["rule"] == one["id"]] for one in RULES}
    assert {name: len(rows) for name, rows in by_rule.items()} == {
        "chance": OPS * TRIES,
        "jitter": OPS * TRIES,
        "once": OPS * TRIES,
        "mine": 11 * TRIES,
    }
    hits = {name: sum(row["hit"] for row in rows) for name, rows in by_rule.items()}
    assert hits["once"] == OPS
    assert hits["mine"] == 11 * TRIES
    assert 0.15 < hits["chance"] / (OPS * TRIES) < 0.45
    assert len({row["delay_ms"] for row in by_rule["jitter"] if row["hit"]}) > 20


def test_the_seed_and_nothing_else_decides(tmp_path, callee, wire):
    logs = []
    for seed in (7, 7, 8):
        folder = tmp_path / f"wire{len(logs)}"
        folder.mkdir()
        other = type(wire)(folder, seed=seed)
        try:
            logs += three_runs(other, callee, [seed])
        finally:
            other.stop()
    assert logs[0] == logs[1] != logs[2]


def test_no_rule_on_a_link_is_no_row_for_it(wire, callee):
    base = f"http://127.0.0.1:{wire.link(callee.address)}"
    other = wire.link(callee.address, name="a -> b")
    wire.rule("status", "POST /other", code=503)
    httpx.get(f"http://127.0.0.1:{other}/x")
    httpx.get(base + "/x")
    assert wire.rows("d") == []
