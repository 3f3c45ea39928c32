"""Which rows of which ledger a declaration names."""

from __future__ import annotations

from pytest_chaos.model.history import History
from pytest_chaos.model.message import Effect


def rows(history: History, name: str) -> list[Effect]:
    """Give the effects that ``node``, ``node:ledger`` or ``stub:operation`` names: a stub's, else a state's rows."""
    node, _, part = name.partition(":")
    stub = [one for one in history.stub_effects(node) if part in ("", one.operation, one.ledger)]
    return stub or [one for one in history.state(node) if part in ("", one.ledger, one.operation)]


def of_subject(effects: list[Effect], subject: str) -> list[Effect]:
    """Give the rows that are about one subject (an order, a message), by marker, key, or a key that contains it."""
    return [one for one in effects if subject in (one.marker, one.key) or (not one.marker and subject in one.key)]
