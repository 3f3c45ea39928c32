"""Saga: whatever fails or dies, it ends, undoes what it did, tells the truth, and the books balance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from pytest_chaos.automata.outcomes import outcome_of
from pytest_chaos.automata.saga import SagaRecord, Step, StepRecord, sagas
from pytest_chaos.automata.saga_books import books, stock
from pytest_chaos.automata.timing import seconds
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict

__all__ = ["Saga", "Step"]
_RULES = ("G1", "G2", "G3", "G4", "G5", "G6", "G7", "G10", "T4", "H1")
_FINAL = ("G1", "G2", "G4", "G7", "G10", "T4", "H1")


@registry.register("Saga")
@dataclass(frozen=True, slots=True)
class Saga:
    """``orchestrator`` runs ``steps`` in order; when one fails, those before it are undone in reverse order.

    ``ledger`` names the orchestrator's own rows (key = the saga's id, state, amount); ``completed`` and
    ``compensated`` (and ``parked``) are its final states. Decides G1 (every saga ends), G2 (not completed: nothing
    stands, also where the outcome was unknown), G3 (undone in reverse order), G4 (each undo repeated until it
    succeeds, none skipped because another failed), G5 (nothing undone twice), G6 (nothing undone after the pivot), G7
    (G1 and G2 after the orchestrator was killed), G10 (money and stock add up), T4 (an unknown outcome is followed
    up), H1 (the caller was told the truth). ``stock`` names rows (key = product; states add up to ``initial_stock``).
    Raises ChaosError without steps.
    """

    orchestrator: str
    ledger: str = ""
    steps: tuple[Step, ...] = field(default=(), kw_only=True)
    completed: tuple[str, ...] = field(default=("CONFIRMED",), kw_only=True)
    compensated: tuple[str, ...] = field(default=("COMPENSATED",), kw_only=True)
    parked: tuple[str, ...] = field(default=(), kw_only=True)
    stock: str = field(default="", kw_only=True)
    initial_stock: dict[str, int] = field(default_factory=dict, kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a saga of nothing."""
        if not self.steps:
            msg = f"Saga({self.orchestrator!r}): steps=(): must list at least one Step(name, link, action, undo)"
            raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide every rule."""
        ledger = self.ledger or self.orchestrator
        ledger = ledger if ":" in ledger else f"{self.orchestrator}:{ledger}"
        found = Findings(history, self, ledger, _RULES)
        links = {step.link for step in self.steps}
        active = [
            fault.id
            for fault in history.faults
            if fault.lifted_ns is None and {*links, self.orchestrator} & set(fault.places)
        ]
        if active:
            found.doubt(_FINAL, f"the faults {', '.join(active)} are still active: judge after they are lifted")
        known = sagas(history, ledger, self.steps)
        if not known:
            found.missing(
                _RULES, unhit(history) or f"no saga of this test is in {ledger}, and none of its steps had an effect"
            )
        for one in known:
            self._ends(found, history, one)
            self._undone(found, one)
            self._order(found, one)
            self._persistence(found, one)
            self._unknown(found, one)
            self._answer(found, one)
        self._crashed(found, history, known)
        self._balance(found, history, known)
        self._explain(found, known)
        return found.verdict()

    def _is(self, one: SagaRecord, states: tuple[str, ...]) -> bool:
        return one.state in {state.upper() for state in states}

    def _ended(self, one: SagaRecord) -> bool:
        return self._is(one, (*self.completed, *self.compensated, *self.parked))

    def _ends(self, found: Findings, history: History, one: SagaRecord) -> None:
        if one.row is None:
            found.fail(
                "G1", f"{self.orchestrator} does not know saga {one.id}, although its steps had effects", one.ids()
            )
        elif self._ended(one):
            found.hold("G1", f"saga {one.id} ended {one.state}")
        else:
            unrest = f"; still going on: {history.unrest[0]}" if history.unrest else ""
            found.fail("G1", f"saga {one.id} is still {one.state or 'without a state'}{unrest}", one.ids())

    def _undone(self, found: Findings, one: SagaRecord) -> None:
        """G2 and G5, from the ledgers of each step."""
        for record in one.steps:
            name = record.step.name
            if record.undid > record.did:
                found.fail(
                    "G5",
                    f"saga {one.id}: {name!r} was undone {record.undid} times and done {record.did} times",
                    one.ids(),
                )
            elif record.undid and len(record.undos) > 1:
                found.hold("G5", f"saga {one.id}: {len(record.undos)} requests to undo {name!r} undid it once")
            if self._is(one, self.completed) or not record.step.undo or not record.decided:
                continue
            if record.stands > 0:
                found.fail(
                    "G2",
                    f"saga {one.id} is {one.state or 'unknown to its orchestrator'}, but {name!r} stands: "
                    f"done {record.did} times, undone {record.undid} times",
                    one.ids(),
                )
            elif record.possible:
                found.hold("G2", f"saga {one.id} is {one.state}, and nothing of {name!r} stands")

    def _order(self, found: Findings, one: SagaRecord) -> None:
        """G3 and G6, from the order of requests."""
        undone = [record for record in one.steps if record.undos and record.possible]
        for earlier, later in itertools.pairwise(undone):
            first, last = earlier.undos[0], later.undos[0]
            if first.started_ns < last.started_ns:
                found.fail(
                    "G3",
                    f"saga {one.id}: {earlier.step.name!r} began to be undone "
                    f"{seconds(last.started_ns - first.started_ns)} before "
                    f"{later.step.name!r}, which came after it",
                    [*(a.id for a in (*earlier.actions, *later.actions)), first.id, last.id],
                )
            else:
                found.hold("G3", f"saga {one.id}: {later.step.name!r} was undone before {earlier.step.name!r}")
        pivots = [a for record in one.steps if record.step.pivot for a in record.actions if a.outcome == "ok"]
        if pivots:
            after = [u for record in one.steps for u in record.undos if u.started_ns > pivots[0].started_ns]
            if after:
                found.fail(
                    "G6",
                    f"saga {one.id}: {after[0].operation} was sent after the pivot had succeeded",
                    [pivots[0].id, after[0].id],
                )
            else:
                found.hold("G6", f"saga {one.id}: nothing was undone after the pivot had succeeded")

    def _persistence(self, found: Findings, one: SagaRecord) -> None:
        """G4: required undos are repeated until they succeed, each for itself."""
        if self._is(one, self.completed):
            return
        failing = [record for record in one.steps if any(undo.outcome != "ok" for undo in record.undos)]
        for record in one.steps:
            name = record.step.name
            if not record.step.undo or not record.possible:
                continue
            if record.undos and record.undos[-1].outcome != "ok":
                tries = len(record.undos)
                found.fail(
                    "G4",
                    f"saga {one.id}: undoing {name!r} was tried {tries} time{'s' if tries > 1 else ''}, the last "
                    "ending in "
                    f"{outcome_of(record.undos[-1])}, and never again",
                    one.ids(),
                )
            elif not record.undos and failing:
                found.fail(
                    "G4",
                    f"saga {one.id}: undoing {name!r} was never tried after undoing {failing[0].step.name!r} had "
                    "failed",
                    one.ids(),
                )
            elif record in failing:
                found.hold(
                    "G4",
                    f"saga {one.id}: undoing {name!r} was repeated until it succeeded, {len(record.undos)} requests "
                    "in all",
                )

    def _unknown(self, found: Findings, one: SagaRecord) -> None:
        """T4: an action whose outcome nobody knows is repeated with its key, asked about, or undone."""
        for record in one.steps:
            unknown = [action for action in record.actions if action.outcome != "ok" and action.effect != "none"]
            if not unknown:
                continue
            last = unknown[-1]
            what = f"saga {one.id}: the outcome of {record.step.name!r} was unknown after {outcome_of(last)}"
            if _followed(record, last):
                found.hold("T4", f"{what}; it was followed up")
            elif not record.step.undo:
                found.missing(("T4",), f"{what}, and nothing is declared that undoes it")
            else:
                found.fail(
                    "T4", f"{what}; it was neither repeated with its key, nor asked about, nor undone", one.ids()
                )

    def _answer(self, found: Findings, one: SagaRecord) -> None:
        """H1: a definite answer agrees with how the saga ended."""
        standing = [record for record in one.steps if record.step.undo and record.stands > 0]
        for op in one.ops:
            accepted = op.status == 202
            if op.outcome == "ok" and not accepted and not self._is(one, self.completed):
                state = one.state or "unknown to its orchestrator"
                found.fail("H1", f"{op.operation} was answered {op.status}, but saga {one.id} is {state}", one.ids())
            elif op.outcome == "fail" and self._is(one, self.completed):
                found.fail(
                    "H1", f"{op.operation} was refused with {op.status}, but saga {one.id} is {one.state}", one.ids()
                )
            elif not self._is(one, self.completed) and standing and (op.outcome == "fail" or self._ended(one)):
                found.fail(
                    "H1",
                    f"saga {one.id} calls itself {one.state} and {op.operation} was answered {op.status}, but "
                    f"{standing[0].step.name!r} stands",
                    one.ids(),
                )
            elif op.status == 500 and not self._is(one, self.completed) and (standing or not self._ended(one)):
                found.fail(
                    "H1",
                    f"{op.operation} was answered 500, which says neither why nor that it is pending, while saga "
                    f"{one.id} is "
                    f"{one.state or 'unknown to its orchestrator'}",
                    one.ids(),
                )
            elif self._ended(one) and op.completed_ns is not None:
                found.hold(
                    "H1", f"{op.operation} was answered {op.status or op.error}, and saga {one.id} is {one.state}"
                )

    def _crashed(self, found: Findings, history: History, known: list[SagaRecord]) -> None:
        deaths = [
            event
            for event in history.node_events
            if event.node == self.orchestrator and event.event in ("killed", "exited")
        ]
        if not deaths:
            found.missing(("G7",), f"{self.orchestrator} was not killed")
            return
        for one in known:
            standing = [record for record in one.steps if record.step.undo and record.stands > 0]
            begun = [action.started_ns for record in one.steps for action in record.actions]
            if not begun or min(begun) > deaths[-1].at_ns:
                continue
            if not self._ended(one) or (standing and not self._is(one, self.completed)):
                left = f", and {standing[0].step.name!r} stands" if standing else ""
                found.fail(
                    "G7",
                    f"saga {one.id} is {one.state or 'forgotten'} after {self.orchestrator} was killed{left}",
                    [*one.ids(), deaths[-1].id],
                )
            else:
                found.hold(
                    "G7", f"saga {one.id} ended {one.state} although {self.orchestrator} was killed in the middle"
                )

    def _balance(self, found: Findings, history: History, known: list[SagaRecord]) -> None:
        if not known:
            return
        for wrong in books(known, self.completed):
            found.fail("G10", wrong.message, wrong.witness)
        for wrong in stock(history, self.stock, self.initial_stock):
            found.fail("G10", wrong.message, wrong.witness)
        if any(step.money for step in self.steps):
            found.hold(
                "G10",
                f"the money of {len(known)} sagas adds up: captured less refunded is what the confirmed ones cost",
            )
        else:
            found.missing(("G10",), "no step is declared to move money")

    def _explain(self, found: Findings, known: list[SagaRecord]) -> None:
        turned = [one for one in known if not self._is(one, self.completed)]
        if known and not turned:
            found.missing(("G2", "G3", "G4", "G5"), f"all {len(known)} sagas completed, so nothing had to be undone")
        found.missing(("G4",), "no request to undo a step failed")
        found.missing(("G3",), "fewer than two steps had to be undone")
        found.missing(("G5",), "no request to undo a step was repeated")
        found.missing(("G6",), "no step is declared the pivot, or none succeeded")
        found.missing(("T4",), "no step's outcome was unknown")


def _followed(record: StepRecord, last: Attempt) -> bool:
    later = [one for one in (*record.actions, *record.undos, *record.queries) if one.started_ns > last.started_ns]
    return any(
        one in record.undos or one in record.queries or one.idempotency_key == last.idempotency_key for one in later
    )
