"""What a user's own conftest looks like: the topology of the system under test."""

from __future__ import annotations

import pytest

from fixtures import shop


@pytest.fixture(scope="session")
def chaos_topology() -> object:
    """The shop."""
    return shop.topology()
