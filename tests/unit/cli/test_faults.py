"""``pytest-chaos faults``: everything in the catalogue, and one of it."""

from __future__ import annotations

import pytest

from pytest_chaos.cli import main
from pytest_chaos.faults import catalogue


def test_the_list_has_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in catalogue.names())
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("name", catalogue.names())
def test_each_can_be_asked_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", name]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"from pytest_chaos import {name}\n")
    assert "xample" in said
    assert max(map(len, said.splitlines())) <= 100


def test_fields_have_their_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "Latency"]) == 0
    said = capsys.readouterr().out
    assert "ms: 1 to 600 000 ms or text; must be given" in said
    assert "wire or Toxiproxy; HTTP/1.1" in said
    assert 'distribution: "uniform", "normal"; default "uniform"' in said


def test_one_that_there_is_not_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "AnswersLost"]) == 2
    assert "AnswerLost" in capsys.readouterr().err
