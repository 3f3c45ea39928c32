"""The main job with every node in a container: what each file of chaos/ promises is proved in the journal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.parts import docker
from pytest_chaos.reporting.reading import Run, read_run

ROOT = Path(__file__).parents[2]
IMAGES = ("shop-users", "pytest-chaos/kafka:local")
# The rules that each file of chaos/ must have decided for the better, in a test whose faults all hit.
PROMISED = {
    "test_retry.py": {"R1", "R2", "R4", "R7", "R11"},
    "test_breaker.py": {"B1", "B3", "B4", "B5", "B7"},
    "test_timeout.py": {"T1", "T2", "T5"},
    "test_idempotency.py": {"I1", "I9", "R5"},
    "test_saga.py": {"G1", "G2", "G3", "G4", "G7", "G10", "H1", "T4"},
    "test_correlation.py": {"X1", "X5"},
    "test_rabbitmq.py": {"D1", "D3", "D9"},
    "test_kafka.py": {"D1", "D3", "D4", "D12"},
    "test_redis.py": {"D1"},
    "test_fire_and_forget.py": {"N1", "N2", "L1"},
    "test_bytes.py": {"T2"},
    "test_redelivery.py": {"I1"},
}
MOST_S = 400


def _missing() -> str:
    found = docker.find(os.environ)
    if found.found is None:
        return f"no Docker engine answers: {found.how_to_get}"
    absent = [image for image in IMAGES if docker.call(os.environ, "GET", f"/images/{image}/json")[0] != 200]
    return f"no image {', '.join(absent)}: make setup-containers" if absent else ""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The journal of ``pytest chaos --chaos --chaos-runtime=containers``."""
    if why := _missing():
        pytest.skip(why)
    reports = tmp_path_factory.mktemp("reports")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "chaos",
        "--chaos",
        "--chaos-runtime=containers",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--chaos-require=docker", f"--chaos-report-dir={reports}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MOST_S, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    return read_run(reports / "latest" / "journal.jsonl")


def test_every_test_passed_and_none_was_skipped_or_undecided(run: Run) -> None:
    assert run.notes == ()
    assert not run.dirty
    assert set(run.counts) == {"passed"}
    assert run.counts["passed"] >= 20


def test_every_rule_is_proved_where_the_fault_hit(run: Run) -> None:
    proved = {
        file: set().union(*(_passes(case) for case in run.cases if f"/{file}::" in case.nodeid)) for file in PROMISED
    }
    assert {file: rules - proved[file] for file, rules in PROMISED.items() if rules - proved[file]} == {}


def test_every_node_runs_in_a_container_of_its_own_and_every_real_part_tells_its_version(run: Run) -> None:
    parts = {part.node: part for part in run.record.parts if part.kind != "wire"}
    assert {part.runtime for part in parts.values()} == {"containers"}
    assert len({part.container for part in parts.values() if re.fullmatch("[0-9a-f]{64}", part.container)}) == len(
        parts
    )
    versions = {part.kind: part.version for part in parts.values() if part.kind != "service"}
    assert set(versions) == {"kafka", "rabbitmq", "redis", "toxiproxy"}
    assert all(re.match(r"\d+\.\d+", version) for version in versions.values())


def _passes(case: CaseRecord) -> set[str]:
    assert case.history is not None
    if not case.history.faults or not all(fault.hits for fault in case.history.faults):
        return set()
    return {result.rule for verdict in case.verdicts for result in verdict.results if result.outcome == "PASS"}
