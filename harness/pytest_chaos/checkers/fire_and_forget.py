"""Fire and forget: the caller's promise does not depend on its side task, which has bounds of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import matches
from pytest_chaos.automata.intervals import peak
from pytest_chaos.automata.outcomes import with_faults
from pytest_chaos.automata.pressure import pressed
from pytest_chaos.automata.timing import end_ns, latest_ns, ns, seconds, skew_ns, slack_ns
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.op import Op
from pytest_chaos.model.verdict import Verdict

_MOST_WITNESSES = 16


@registry.register("FireAndForget")
@dataclass(frozen=True, slots=True)
class FireAndForget:
    """The driver's ``operations`` do not depend on the side task that goes out on ``link``.

    Decides N1 (calls made while a fault hit the link have the same result as those made without it, and take no
    longer) and N2 (each request of the side task ends within ``bound_s`` seconds, at most ``limit`` at a time). N1
    needs at least one call without the fault to compare with. Raises ChaosError on a bound that is none.
    """

    link: str = ""
    operations: tuple[str, ...] = field(default=(), kw_only=True)
    bound_s: float | None = field(default=None, kw_only=True)
    limit: int | None = field(default=None, kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse bounds that are none."""
        if (self.bound_s is not None and not self.bound_s > 0) or (self.limit is not None and self.limit < 1):
            msg = f"FireAndForget: bound_s={self.bound_s}, limit={self.limit}: must be more than 0 s, and 1 or more"
            raise ChaosError(msg)

    @property
    def shared_state(self) -> bool:
        """Whether requests of several tests count towards one limit."""
        return self.limit is not None

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide N1 and N2."""
        found = Findings(history, self, self.link, ("N1", "N2"))
        callee = self.link.partition(" -> ")[2]
        active = [fault for fault in history.faults if {self.link, callee} & set(fault.places) and fault.hits]
        if not active:
            found.missing(("N1", "N2"), unhit(history, self.link, callee) or f"no fault acted on {self.link}")
        self._isolated(found, history, active)
        self._bounded(found, history)
        return found.verdict()

    def _isolated(self, found: Findings, history: History, active: list[FaultRecord]) -> None:
        caller = self.link.partition(" -> ")[0]
        ops = [
            op
            for op in history.ops
            if op.link.partition(" -> ")[2].partition(".")[0] == caller and matches(op.operation, self.operations)
        ]
        during = [op for op in ops if any(_meets(op, fault, history) for fault in active)]
        without = [op for op in ops if op not in during and op.outcome == "ok" and op.completed_ns is not None]
        if not during:
            found.missing(("N1",), f"no call to {caller} was made while a fault acted on {self.link}")
            return
        if not without:
            found.missing(
                ("N1",), f"no call to {caller} succeeded without the fault, so there is nothing to compare with"
            )
            return
        usual = max((op.completed_ns or 0) - op.invoked_ns for op in without)
        for op in during:
            took = (op.completed_ns or history.ended_ns) - op.invoked_ns
            ids = [without[0].id, op.id, *(fault.id for fault in active)]
            if op.outcome != "ok":
                what = op.error or f"status {op.status}"
                found.fail(
                    "N1",
                    f"{op.operation} ended in {what} while {self.link} was disturbed; without that it succeeds",
                    ids,
                )
            elif took > usual + slack_ns(history, usual) + skew_ns(history):
                found.fail(
                    "N1",
                    f"{op.operation} took {seconds(took)} while {self.link} was disturbed; without that at most "
                    f"{seconds(usual)}",
                    ids,
                )
            else:
                found.hold(
                    "N1",
                    f"{op.operation} took {seconds(took)} while {self.link} was disturbed, without that "
                    f"{seconds(usual)}",
                )

    def _bounded(self, found: Findings, history: History) -> None:
        attempts = [one for one in history.on(self.link) if one.is_request]
        if self.bound_s is None and self.limit is None:
            found.missing(("N2",), "neither bound_s nor limit is declared")
            return
        near = False
        for one in attempts if self.bound_s is not None else ():
            lasted, bound = end_ns(one, history) - one.started_ns, ns(self.bound_s or 0)
            near = near or lasted >= bound - bound // 10 - skew_ns(history)
            if lasted > latest_ns(history, bound):
                state = "still open" if one.ended_ns is None else "open"
                found.fail(
                    "N2",
                    f"{self.link}: {one.operation} was {state} for {seconds(lasted)}; its bound is {self.bound_s:g} s",
                    with_faults((one,)),
                )
        top = peak([(one.started_ns, end_ns(one, history)) for one in attempts], shrink_ns=skew_ns(history))
        if self.limit is not None and top.count > self.limit:
            members = [attempts[index] for index in top.members]
            found.fail(
                "N2",
                f"{self.link}: {top.count} side tasks ran at once; the limit is {self.limit}",
                with_faults(members)[:_MOST_WITNESSES],
            )
        if near or (self.limit is not None and pressed(history, self.link, attempts, self.limit)):
            found.hold("N2", f"side tasks on {self.link} kept their bounds; at most {top.count} ran at once")
        else:
            found.missing(("N2",), f"no side task on {self.link} came near its bounds")


def _meets(op: Op, fault: FaultRecord, history: History) -> bool:
    ended = op.completed_ns or history.ended_ns
    return op.invoked_ns <= (fault.lifted_ns or history.ended_ns) and ended >= fault.installed_ns
