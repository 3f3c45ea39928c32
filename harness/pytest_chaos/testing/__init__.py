"""The public kit for people who write checkers: build histories by hand, and hold checkers to their laws."""

from __future__ import annotations

from pytest_chaos.testing.history import HistoryBuilder as HistoryBuilder
from pytest_chaos.testing.laws import assert_laws as assert_laws
from pytest_chaos.testing.laws import relabelled as relabelled

__all__ = ["HistoryBuilder", "assert_laws", "relabelled"]
