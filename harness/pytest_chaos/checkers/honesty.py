"""Honesty: an answer says what is so, and it answers the request that was asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import Causes, matches
from pytest_chaos.automata.ledger import rows
from pytest_chaos.automata.saga import mentions
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.message import Effect
from pytest_chaos.model.op import Op
from pytest_chaos.model.verdict import Verdict


@registry.register("Honesty")
@dataclass(frozen=True, slots=True)
class Honesty:
    """The driver's ``operations`` tell the truth about their effect in ``effects``: a stub, its operation, or a ledger.

    Decides H1 (answered well: the effect is there; definitely refused: it is not; nothing is asked of an unknown
    outcome or of 202) and H2 (the answer is about its own request: no other call's marker stands in it). An effect
    belongs to a call by trace or correlation id, or because its key or marker stands in the call's request or answer.
    Raises ChaosError when ``effects`` names nothing.
    """

    effects: str
    operations: tuple[str, ...] = field(default=(), kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what names no ledger."""
        if not self.effects:
            msg = "Honesty: effects='': must name a stub or ledger, for example 'mailgate' or 'orders:orders'"
            raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide H1 and H2."""
        found = Findings(history, self, self.effects, ("H1", "H2"))
        found.missing(("H1", "H2"), unhit(history) or "no call of the driver had a definite answer")
        causes = Causes(history)
        attempts = {one.id: one for one in history.attempts}
        known = rows(history, self.effects)
        for op in history.ops:
            if not matches(op.operation, self.operations) or op.status == 202:
                continue
            mine = [one for one in known if _belongs(one, op, causes, attempts.get(one.attempt))]
            self._told(found, op, mine)
        self._own(found, history)
        return found.verdict()

    def _told(self, found: Findings, op: Op, mine: list[Effect]) -> None:
        count = sum(one.count for one in mine)
        ids = [op.id, *(one.id for one in mine)]
        if op.outcome == "ok" and not count:
            found.fail("H1", f"{op.operation} was answered {op.status}, but {self.effects} has no effect of it", ids)
        elif op.outcome == "fail" and count:
            found.fail(
                "H1", f"{op.operation} was refused with {op.status}, but {self.effects} has {count} effects of it", ids
            )
        elif op.outcome != "info":
            found.hold("H1", f"{op.operation} was answered {op.status}, and {self.effects} has {count} effects of it")

    def _own(self, found: Findings, history: History) -> None:
        marked = [op for op in history.ops if op.marker and op.response_body]
        for op in marked:
            others = [
                other for other in marked if other.marker != op.marker and mentions(op.response_body, other.marker)
            ]
            if others and not mentions(op.response_body, op.marker):
                found.fail(
                    "H2",
                    f"the answer to {op.id} is about {others[0].marker}, which {others[0].id} asked for",
                    (op.id, others[0].id),
                )
            elif mentions(op.response_body, op.marker) and len(marked) > 1:
                found.hold("H2", f"the answer to {op.operation} is about its own {op.marker}")


def _belongs(effect: Effect, op: Op, causes: Causes, attempt: Attempt | None) -> bool:
    if attempt is not None and (cause := causes.of(attempt) or causes.exclusive(attempt.started_ns)) is not None:
        return cause.id == op.id
    texts = (op.request_body, op.response_body, op.marker, op.idempotency_key)
    return any(name and mentions(text, name) for name in (effect.marker, effect.key) for text in texts if text)
