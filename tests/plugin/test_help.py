"""``pytest --help`` ends with the catalogue of faults."""

from __future__ import annotations

import pytest

from pytest_chaos.faults import catalogue


def test_help_lists_every_fault_behind_pytests_own(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help")
    assert result.ret == 0
    own, _, ours = result.stdout.str().partition("faults (pytest-chaos; one of them with its fields")
    assert "--chaos-seed" in own
    assert all(f"\n  {name} " in ours for name in catalogue.names())


def test_other_runs_do_not_print_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    assert "AnswerLost" not in pytester.runpytest_subprocess().stdout.str()
