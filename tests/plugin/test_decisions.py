"""The journal holds every decision: one seed gives the same log in every run, however parallel callers come."""

from __future__ import annotations

import json
from typing import Any

import pytest

TESTS = """
import random
import time
from pytest_chaos import Correlation, Delay, Status

disorder = random.SystemRandom()


def test_parallel_clients(chaos):
    client = chaos.client("front")

    def call(index):
        for turn in range(1 + index % 3):
            time.sleep(disorder.random() / 50)  # callers come in any order
            client.post("/charges", json={"order": f"o-{index}-{turn}"})
            if turn % 2:
                client.get("/")

    with chaos.fault(
        Status("front -> bank", 503, probability=0.4),
        Delay("test -> front", 3, jitter_ms=2, operation="POST /charges", probability=0.5, per="op"),
        Status("front -> bank", 429, first=1, per="op", whom=chaos.mine, probability=0.5),
    ):
        chaos.burst(12, call)
    client.post("/charges", json={"order": "after"})
    chaos.check(Correlation(rules=("X5",)))
"""


def run(project: pytest.Pytester, seed: int) -> dict[str, Any]:
    done = project.runpytest_subprocess("--chaos", f"--chaos-seed={seed}", "-p", "no:cacheprovider", "-q")
    done.assert_outcomes(passed=1)
    lines = (project.path / "reports" / "latest" / "journal.jsonl").read_text().splitlines()
    (case,) = [record for record in map(json.loads, lines) if record["type"] == "test"]
    assert isinstance(case, dict)
    return case


def timeless(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "at_ns"} for row in case["decisions"]]


def test_three_runs_of_one_seed_decide_the_same_and_another_seed_does_not(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    first, second, third, other = (run(project, seed) for seed in (7, 7, 7, 8))
    log = timeless(first)
    assert log == timeless(second) == timeless(third)
    assert log == sorted(log, key=lambda row: (row["fault"], row["op"], row["n"]))
    assert "decisions_left_out" not in first
    calls = {op["correlation_id"] for op in first["history"]["ops"]}
    assert {row["op"] for row in log} < calls
    asked = {fault: [row for row in log if row["fault"] == fault] for fault in ("f1", "f2", "f3")}
    assert len(asked["f2"]) == 24, "of every call of the burst one decision, and none of the one behind it"
    assert any(row.get("hit") for row in asked["f1"])
    assert len({row["delay_ms"] for row in asked["f2"] if row.get("hit")}) > 3
    hits = {row["op"] for row in asked["f1"] if row.get("hit")} | {row["op"] for row in asked["f3"] if row.get("hit")}
    assert hits == {
        one["request_headers"]["x-correlation-id"]
        for one in first["history"]["attempts"]
        if one["link"] == "front -> bank" and one.get("faults")
    }
    numbers = [{(row["fault"], row["n"], row.get("drawn")) for row in timeless(case)} for case in (first, other)]
    assert numbers[0] != numbers[1]
