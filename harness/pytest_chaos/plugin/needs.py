"""Real parts that a test needs: skipped without them, failed where the run requires them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_chaos.parts import all_parts

if TYPE_CHECKING:
    from pytest_chaos.engine.session import Session


def need(needs: tuple[str, ...], missing: Mapping[str, str], required: tuple[str, ...]) -> None:
    """Skip a test whose part is missing, or fail it where the run requires that part.

    A required part is everybody's need.
    """
    for part in (*needs, *required):
        if part not in missing:
            continue
        reason = f"needs {part}: {missing[part]}"
        if part in required:
            pytest.fail(f"--chaos-require={part}: {reason}", pytrace=False)
        pytest.skip(reason)


def not_to_be_had(session: Session, required: tuple[str, ...]) -> dict[str, str]:
    """Map every missing part to how to get it.

    Those of the topology, and required ones that the topology does not start.
    """
    sources = all_parts()
    found = {part: sources[part].find(os.environ) for part in required}
    return {name: part.how_to_get for name, part in found.items() if part.found is None} | session.missing_parts()
