from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_chaos.cli import main
from pytest_chaos.parts import all_parts


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTEST_CHAOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    for name in ("KAFKA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_doctor_names_every_part_in_80_columns(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = lines[lines.index("-" * 80) + 1 :]
    assert {row.split()[0] for row in rows if not row.startswith(" ")} == set(all_parts())
    assert max(len(row) for row in rows) <= 80


def test_doctor_fails_only_when_it_is_asked_to_be_strict():
    assert main(["doctor", "--strict"]) == 1


def test_setup_goes_on_without_what_cannot_be_had(capsys):
    assert main(["setup", "redis", "toxiproxy"]) == 0
    out = capsys.readouterr().out
    assert "redis: cannot be had here" in out
    assert "toxiproxy: cannot be had here" in out
    assert "Going on without: redis, toxiproxy" in out


def test_setup_fails_when_it_is_asked_to_be_strict():
    assert main(["setup", "--strict", "redis"]) == 1


def test_an_unknown_part_is_a_clear_error(capsys):
    assert main(["setup", "reddis"]) == 2
    assert "no part is called reddis; known: chromium, docker," in capsys.readouterr().err


def test_a_command_that_does_not_exist_is_wrong_usage():
    with pytest.raises(SystemExit) as ended:
        main(["doktor"])
    assert ended.value.code == 2


def test_a_reader_that_has_read_enough_is_no_error():
    command = [sys.executable, "-c", "from pytest_chaos.cli import main; raise SystemExit(main(['faults']))"]
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")
