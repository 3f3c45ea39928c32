"""One saga as seen from outside: which steps were tried, took effect, were undone, and what still stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import Causes, matches
from pytest_chaos.automata.ledger import of_subject, rows
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.message import Effect
from pytest_chaos.model.op import Op


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga: the operation ``action`` on ``link``, and what undoes it.

    ``undo`` is the compensation's operation on the same link; empty: nothing undoes it. ``done`` names where its
    effect shows (a stub, a stub's operation, ``node:ledger``), ``undone`` where the compensation's shows. Where one
    ledger holds both, ``standing`` lists the states of its rows that count as done and not undone. ``money``: the
    amounts of ``done`` less those of ``undone`` must be what the confirmed sagas cost. ``pivot``: once it has
    succeeded nothing is undone any more. Raises ChaosError when it names no link or operation.
    """

    name: str
    link: str
    action: str
    undo: str = ""
    done: str = field(default="", kw_only=True)
    undone: str = field(default="", kw_only=True)
    standing: tuple[str, ...] = field(default=(), kw_only=True)
    money: bool = field(default=False, kw_only=True)
    pivot: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a step that cannot be found on the wire."""
        if " -> " not in self.link or not self.action:
            msg = (
                f"Step {self.name!r}: link={self.link!r}, action={self.action!r}: must name a link 'a -> b' and an "
                "operation on it"
            )
            raise ChaosError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What happened to one step of one saga. ``did`` and ``undid`` count effects; ``stands`` is what is left."""

    step: Step
    actions: tuple[Attempt, ...]
    undos: tuple[Attempt, ...]
    queries: tuple[Attempt, ...]
    rows: tuple[Effect, ...]
    undone_rows: tuple[Effect, ...]
    did: int
    undid: int
    stands: int

    @property
    def decided(self) -> bool:
        """Whether a ledger says what the step did."""
        return bool(self.step.done)

    @property
    def possible(self) -> bool:
        """Whether the step may have happened, by what was sent or by the ledger."""
        return self.did > 0 or any(one.effect != "none" for one in self.actions)

    def ids(self) -> list[str]:
        """List the ids of everything that it is known from."""
        return [
            *(one.id for one in (*self.actions, *self.undos, *self.queries)),
            *(one.id for one in (*self.rows, *self.undone_rows)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaRecord:
    """One saga: its id, the orchestrator's row for it (None: it has forgotten it), the driver's calls, its steps."""

    id: str
    row: Effect | None
    ops: tuple[Op, ...]
    steps: tuple[StepRecord, ...]

    @property
    def state(self) -> str:
        """The orchestrator's word for where it stands, in capitals."""
        return self.row.state.upper() if self.row else ""

    def ids(self) -> list[str]:
        """List the ids of everything that it is known from, the faults that acted on it among them."""
        faults = [fault for step in self.steps for one in (*step.actions, *step.undos) for fault in one.faults]
        found = [*(op.id for op in self.ops), *faults, *(one for step in self.steps for one in step.ids())]
        return list(dict.fromkeys([*found, *([self.row.id] if self.row else [])]))


def sagas(history: History, ledger: str, steps: Sequence[Step]) -> list[SagaRecord]:
    """Find the sagas of this history.

    They are the rows of the ledger that requests or effects of this history are about, and effects with no row. Rows
    of earlier tests are left alone: nothing in this history refers to them.
    """
    known = {row.key: row for row in rows(history, ledger)}
    referred = _referred(history, steps)
    ids = [key for key in known if any(mentions(one, key) for one in referred)]
    orphans = sorted(_effect_markers(history, steps) - set(known))
    causes = Causes(history)
    return [_saga(history, one, known.get(one), steps, causes) for one in (*ids, *orphans)]


def mentions(text: str, subject: str) -> bool:
    """Whether a text names a subject, as a word of its own: ``charge-o-1`` names ``o-1``, ``o-10`` does not."""
    return subject in text and re.search(rf"(?<![A-Za-z0-9]){re.escape(subject)}(?![A-Za-z0-9])", text) is not None


def _referred(history: History, steps: Iterable[Step]) -> set[str]:
    links = {step.link for step in steps}
    found = {one.marker for one in history.attempts if one.link in links}
    found |= {one.idempotency_key for one in history.attempts if one.link in links}
    found |= {op.response_body for op in history.ops} | {op.marker for op in history.ops}
    return (found | _effect_markers(history, steps)) - {""}


def _effect_markers(history: History, steps: Iterable[Step]) -> set[str]:
    named = [name for step in steps for name in (step.done, step.undone) if name]
    return {one.marker for name in named for one in rows(history, name) if one.source == "stub"} - {""}


def _saga(history: History, saga_id: str, row: Effect | None, steps: Sequence[Step], causes: Causes) -> SagaRecord:
    about = [one for one in history.attempts if _is_about(one, saga_id)]
    ops = {op.id: op for one in about if (op := causes.of(one))}
    ops |= {op.id: op for op in history.ops if mentions(op.response_body, saga_id) or op.marker == saga_id}
    if not ops and len(history.ops) == 1:
        ops = {op.id: op for op in history.ops}
    ids = {one.id for one in about}
    # Requests that carry nothing of the saga itself belong to it when its call caused them and has no other saga.
    mine = [
        one
        for one in history.attempts
        if one.id in ids or (not _names_one(one) and (op := causes.of(one)) and op.id in ops)
    ]
    return SagaRecord(
        id=saga_id, row=row, ops=tuple(ops.values()), steps=tuple(_step(history, saga_id, step, mine) for step in steps)
    )


def _step(history: History, saga_id: str, step: Step, mine: Sequence[Attempt]) -> StepRecord:
    on_link = [one for one in mine if one.link == step.link and not one.replayed]
    done = of_subject(rows(history, step.done), saga_id) if step.done else []
    undone = of_subject(rows(history, step.undone), saga_id) if step.undone else []
    if step.standing:
        did = sum(one.count for one in done)
        stands = sum(one.count for one in done if one.state.lower() in {state.lower() for state in step.standing})
        undid = did - stands
    else:
        did, undid = sum(one.count for one in done), sum(one.count for one in undone)
        stands = did - undid
    return StepRecord(
        step=step,
        actions=tuple(one for one in on_link if matches(one.operation, (step.action,))),
        undos=tuple(one for one in on_link if step.undo and matches(one.operation, (step.undo,))),
        queries=tuple(one for one in on_link if one.operation.startswith("GET ") or "/Get" in one.operation),
        rows=tuple(done),
        undone_rows=tuple(undone),
        did=did,
        undid=undid,
        stands=stands,
    )


def _is_about(attempt: Attempt, saga_id: str) -> bool:
    return attempt.marker == saga_id or mentions(attempt.idempotency_key, saga_id)


def _names_one(attempt: Attempt) -> bool:
    return bool(attempt.marker)
