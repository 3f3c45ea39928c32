"""The journal: one JSON object a line; everything that people see is a view of it.

The first record is a :class:`RunRecord`, then one :class:`CaseRecord` a test as it ends, :class:`UndoRecord` as undos
happen, and an :class:`EndRecord`. ``read`` and ``write`` are in ``engine``; this file is only the shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.model.fault import Schedule
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict

CaseOutcome = Literal["passed", "failed", "inconclusive", "error", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInUse:
    """A part of the stack: what it is, the version that it reports itself, its runtime, where it listens."""

    node: str
    kind: str
    version: str = ""
    runtime: str = ""
    address: str = ""
    container: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInUse:
    """A link of the stack: where callers reach it, and which engine carries byte faults out on it."""

    name: str
    address: str
    engine: Literal["wire", "toxiproxy"] = "wire"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The journal's first record."""

    type: Literal["run"] = "run"
    run_id: str
    seed: int
    started: str
    command: str
    python: str = ""
    pytest_chaos: str = ""
    runtime: str = ""
    parts: tuple[PartInUse, ...] = ()
    links: tuple[LinkInUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about one request that a rule matches: ``n`` is its ordinal within the operation ``op``.

    ``drawn`` is what chance said (a hit is below the rule's probability), ``delay_ms`` the delay that was drawn. With
    one seed all but ``at_ns`` (monotonic) is the same again, where the rule promises to repeat.
    """

    fault: str
    rule: str
    link: str
    op: str = ""
    n: int
    hit: bool = False
    drawn: float | None = None
    delay_ms: float | None = None
    at_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """One test: its outcome, why, the verdicts, and the whole History that they were computed from.

    ``schedules`` are the faults as they were installed, in order: values that a replay installs once more.
    ``decisions`` are sorted by fault, rule, operation and ordinal; ``decisions_left_out`` counts those beyond 2000.
    """

    type: Literal["test"] = "test"
    nodeid: str
    outcome: CaseOutcome
    message: str = ""
    duration_s: float = 0.0
    required: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    not_exercised: tuple[str, ...] = ()
    history: History | None = None
    logs: dict[str, str] = field(default_factory=dict)
    checkers: tuple[dict[str, object], ...] = ()
    replay: str = ""
    schedules: tuple[Schedule, ...] = ()
    decisions: tuple[Decision, ...] = ()
    decisions_left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRecord:
    """One undo: what was taken back, how long it took, how it is known, or why it is not."""

    type: Literal["undo"] = "undo"
    fault: str
    action: str
    at_ns: int
    took_ms: float = 0.0
    ok: bool
    proof: str = ""
    error: str = ""
    test: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRecord:
    """The journal's last record; ``dirty`` when something could not be undone."""

    type: Literal["end"] = "end"
    ended: str
    dirty: bool = False
    counts: dict[str, int] = field(default_factory=dict)
