"""How often the soak repeats: a little in CI, ``PYTEST_CHAOS_SOAK`` times as often by ``make soak`` (10)."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("PYTEST_CHAOS_SOAK", "0"))


def rounds(ci: int, *, each: int = 1) -> range:
    """Give the rounds of a test: ``ci`` of them, or ``each`` times the soak's number when that is asked for."""
    return range(SOAK * each or ci)
