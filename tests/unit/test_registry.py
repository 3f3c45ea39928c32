"""A room's files are found by themselves; a name taken twice or unknown is an error that lists names."""

from __future__ import annotations

import pytest

from pytest_chaos.errors import ChaosError
from pytest_chaos.registry import Registry


def test_every_file_of_a_room_is_found() -> None:
    from pytest_chaos.faults import catalogue

    assert {"AnswerLost", "Latency", "Refuse"} <= set(catalogue.names())


def test_an_unknown_name_lists_the_known() -> None:
    registry: Registry[object] = Registry("pytest_chaos.model")
    registry.register("Known")(object)
    with pytest.raises(ChaosError, match="no plug-in is called 'Unknown'; known: Known"):
        registry.get("Unknown")


def test_a_name_taken_by_another_module_is_refused() -> None:
    registry: Registry[type] = Registry("pytest_chaos.model")
    registry.register("Name")(Registry)
    with pytest.raises(ChaosError, match="registered twice"):
        registry.register("Name")(ChaosError)
