"""What ``pytest --help`` says of the catalogue."""

from __future__ import annotations

from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import described

_WIDTH = 80


def faults() -> list[str]:
    """List every fault with one line; a catalogue that cannot be read must not take pytest's own help away."""
    try:
        found = described.listed(_WIDTH)
    except ChaosError as broken:
        found = [f"the catalogue cannot be read: {broken}"]
    return ["", "faults (pytest-chaos; one of them with its fields: pytest-chaos faults NAME):", "", *found]
