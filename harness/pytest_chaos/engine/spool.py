"""Reading what wire appended: attempts, stub effects and hits, by byte offset."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.codec import from_json
from pytest_chaos.model.message import Effect

_DECISION = b'{"k":"d",'


@dataclass(slots=True)
class Spooled:
    """What one stretch of the spool holds, in the order of writing."""

    attempts: list[Attempt] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    hits: list[dict[str, Any]] = field(default_factory=list)


def read(path: Path, start: int, end: int) -> Spooled:
    """Read the spool's bytes ``start`` to ``end``; raise ChaosError quoting a line that is not a record."""
    found = Spooled()
    if end <= start:
        return found
    for line in _lines(path, start, end):
        try:
            row = json.loads(line)
            kind = row.pop("k")
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            msg = f"{path}: not a spool record: {line[:120]!r}"
            raise ChaosError(msg) from wrong
        if kind == "a":
            found.attempts.append(from_json(Attempt, row))
        elif kind == "e":
            found.effects.append(from_json(Effect, row))
        elif kind == "h":
            found.hits.append(row)
    return found


def decisions(path: Path, start: int, end: int) -> list[dict[str, Any]]:
    """Read the decisions alone of the spool's bytes ``start`` to ``end``."""
    return [json.loads(line) for line in _lines(path, start, end) if line.startswith(_DECISION)]


def _lines(path: Path, start: int, end: int) -> list[bytes]:
    with path.open("rb") as spool:
        spool.seek(start)
        return spool.read(max(0, end - start)).splitlines()
