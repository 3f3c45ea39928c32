"""What a test asks for by its ``chaos`` marker."""

from __future__ import annotations

from typing import Any

from pytest_chaos.errors import ChaosError


def marker_options(nodeid: str, given: dict[str, Any]) -> dict[str, Any]:
    """Give the marker's options with their defaults; raise ChaosError naming test and option that make no sense."""
    wanted: dict[str, Any] = {"env": {}, "needs": (), "isolation": "exclusive", "allow_inconclusive": False}
    for name, value in given.items():
        if name not in wanted:
            msg = f"{nodeid}: the chaos marker has no option {name!r}; it has: {', '.join(wanted)}"
            raise ChaosError(msg)
        wanted[name] = value
    if wanted["isolation"] not in ("exclusive", "fresh", "shared"):
        msg = f"{nodeid}: isolation={wanted['isolation']!r} must be 'exclusive', 'fresh' or 'shared'"
        raise ChaosError(msg)
    if wanted["isolation"] == "shared" and wanted["env"]:
        msg = (
            f"{nodeid}: env={wanted['env']!r} starts nodes with other settings, under the feet of the tests that share "
            "the stack: leave isolation='shared' out"
        )
        raise ChaosError(msg)
    if isinstance(wanted["needs"], str):
        wanted["needs"] = (wanted["needs"],)
    return wanted
