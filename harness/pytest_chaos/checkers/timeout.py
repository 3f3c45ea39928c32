"""Time-outs and deadlines: attempts end, budgets shrink along the chain, nobody works for who has left."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import Causes, matches
from pytest_chaos.automata.outcomes import outcome_of, with_faults
from pytest_chaos.automata.timing import end_ns, latest_ns, ns, seconds, skew_ns
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.op import Op
from pytest_chaos.model.verdict import Verdict

_UNITS_NS = {"H": 3_600_000_000_000, "M": 60_000_000_000, "S": 1_000_000_000, "m": 1_000_000, "u": 1_000, "n": 1}
_DEADLINE_EXCEEDED = 4


def _positive(checker: object, name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        msg = f"{type(checker).__name__}: {name}={value}: must be more than 0 s"
        raise ChaosError(msg)


@registry.register("Timeout")
@dataclass(frozen=True, slots=True)
class Timeout:
    """The caller of ``link`` ends every attempt within ``attempt_s`` seconds, whatever the callee does. Decides T1.

    Also T2 on gRPC: every call carries a ``grpc-timeout``. An attempt that the caller abandoned without closing it
    counts as one that never ended. ``operations`` restricts it, a trailing ``*`` matching any rest. Raises ChaosError
    on a time that is none.
    """

    link: str = ""
    attempt_s: float = field(default=5.0, kw_only=True)
    operations: tuple[str, ...] = field(default=(), kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a time that is none."""
        _positive(self, "attempt_s", self.attempt_s)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide T1 and, for gRPC, T2."""
        found = Findings(history, self, self.link, ("T1", "T2"))
        bound = ns(self.attempt_s)
        longest = 0
        for one in history.on(self.link):
            if not one.is_request or not matches(one.operation, self.operations):
                continue
            lasted = end_ns(one, history) - one.started_ns
            longest = max(longest, lasted)
            if lasted > latest_ns(history, bound):
                ended = "and had not ended when the test did" if one.ended_ns is None else f"until {outcome_of(one)}"
                found.fail(
                    "T1",
                    f"{self.link}: {one.operation} went on for {seconds(lasted)} {ended}; its time-out is "
                    f"{self.attempt_s:g} s",
                    with_faults((one,)),
                )
            elif lasted >= bound - bound // 10 - skew_ns(history) and _given_up(one):
                found.hold("T1", f"{one.operation} on {self.link} was given up after {seconds(lasted)}")
            if one.protocol == "grpc":
                self._announced(found, one)
        found.missing(
            ("T1",),
            unhit(history, self.link)
            or f"no attempt on {self.link} was given up near its time-out of {self.attempt_s:g} s; the longest took "
            f"{seconds(longest)}",
        )
        found.missing(("T2",), f"no gRPC call was made on {self.link}")
        return found.verdict()

    def _announced(self, found: Findings, one: Attempt) -> None:
        budget = timeout_ns(one)
        if budget is None:
            found.fail(
                "T2",
                f"{self.link}: {one.operation} carries no grpc-timeout, so it has no deadline",
                with_faults((one,)),
            )
        elif budget > ns(self.attempt_s) + ns(self.attempt_s) // 10:
            found.fail(
                "T2",
                f"{self.link}: {one.operation} carries a grpc-timeout of {seconds(budget)}; declared are "
                f"{self.attempt_s:g} s",
                with_faults((one,)),
            )
        else:
            found.hold("T2", f"{one.operation} carries a grpc-timeout of {seconds(budget)}")


@registry.register("Deadline")
@dataclass(frozen=True, slots=True)
class Deadline:
    """Who asks on ``link`` is answered within ``within_s`` seconds; the callee stops working for one who has left.

    Decides T5 (an answer or an explicit error in time), T3 (no new request of that operation by the callee after its
    caller has gone; not those in ``goes_on``, such as compensations), T2 (what the callee asks others over gRPC has
    not more time than is left). Without ``within_s`` the driver's own deadline of each call counts. Raises ChaosError
    on a time that is none.
    """

    link: str = ""
    within_s: float | None = field(default=None, kw_only=True)
    goes_on: tuple[str, ...] = field(default=(), kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a time that is none."""
        _positive(self, "within_s", self.within_s)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide T2, T3, T5."""
        found = Findings(history, self, self.link, ("T2", "T3", "T5"))
        found.missing(("T2", "T3", "T5"), unhit(history) or f"nothing was asked on {self.link} with a deadline")
        found.missing(("T3",), f"no caller on {self.link} left before it was answered")
        causes = Causes(history)
        for asked in (one for one in history.on(self.link) if one.is_request):
            if asked.deferred:
                continue  # a fault kept it back: its callee knew nothing of it while its caller was there
            op = causes.of(asked)
            budget = self._budget_ns(asked, op)
            behind = [
                one
                for one in history.attempts
                if op
                and one.is_request  # what goes to a broker may well be sent after the answer
                and one.caller == asked.callee.partition(".")[0]
                and causes.of(one) is op
                and one.started_ns >= asked.started_ns
            ]
            self._answered(found, history, asked, budget)
            self._stopped(found, history, asked, behind)
            for one in behind:
                self._shrinks(found, history, asked, one, budget)
        return found.verdict()

    def _budget_ns(self, asked: Attempt, op: Op | None) -> int | None:
        if self.within_s is not None:
            return ns(self.within_s)
        announced = timeout_ns(asked)
        if announced is not None:
            return announced
        return ns(op.deadline_s) if op and op.deadline_s else None

    def _answered(self, found: Findings, history: History, asked: Attempt, budget: int | None) -> None:
        if budget is None:
            return
        lasted = end_ns(asked, history) - asked.started_ns
        if lasted > latest_ns(history, budget):
            found.fail(
                "T5",
                f"{self.link}: {asked.operation} was answered after {seconds(lasted)}; promised are {seconds(budget)}",
                with_faults((asked,)),
            )
        elif any(fault.hits and _overlaps(fault, asked, history) for fault in history.faults):
            found.hold("T5", f"{asked.operation} was answered after {seconds(lasted)}, of {seconds(budget)}")

    def _stopped(self, found: Findings, history: History, asked: Attempt, behind: list[Attempt]) -> None:
        if asked.closed_by != "caller" or asked.ended_ns is None:
            return
        late = [
            one
            for one in behind
            if one.started_ns - asked.ended_ns > latest_ns(history, 0) and not matches_any(one, self.goes_on)
        ]
        if late:
            found.fail(
                "T3",
                f"{late[0].link}: {late[0].operation} was begun {seconds(late[0].started_ns - asked.ended_ns)} "
                "after its caller had left",
                with_faults((asked, *late)),
            )
        else:
            found.hold("T3", f"nothing new was begun for {asked.operation} after its caller had left")

    def _shrinks(self, found: Findings, history: History, asked: Attempt, one: Attempt, budget: int | None) -> None:
        if one.protocol != "grpc" or budget is None:
            return
        left = budget - (one.started_ns - asked.started_ns)
        given = timeout_ns(one)
        if given is None:
            found.fail(
                "T2",
                f"{one.link}: {one.operation} carries no grpc-timeout though {seconds(left)} were left",
                (asked.id, one.id),
            )
        elif given > left + latest_ns(history, 0):
            found.fail(
                "T2",
                f"{one.link}: {one.operation} was given {seconds(given)} when {seconds(left)} were left",
                (asked.id, one.id),
            )
        else:
            found.hold("T2", f"{one.operation} was given {seconds(given)} when {seconds(left)} were left")


def _given_up(one: Attempt) -> bool:
    """Whether the caller ended it, or the deadline that it had given along: an answer shows no time-out."""
    return one.closed_by == "caller" or one.grpc_status == _DEADLINE_EXCEEDED


def _overlaps(fault: FaultRecord, asked: Attempt, history: History) -> bool:
    return fault.installed_ns <= end_ns(asked, history) and (fault.lifted_ns or history.ended_ns) >= asked.started_ns


def timeout_ns(attempt: Attempt) -> int | None:
    """Give the ``grpc-timeout`` of a request in ns (gRPC over HTTP/2: up to eight digits and a unit), or None."""
    value = attempt.request_headers.get("grpc-timeout", "")
    if len(value) < 2 or not value[:-1].isdigit() or value[-1] not in _UNITS_NS:
        return None
    return int(value[:-1]) * _UNITS_NS[value[-1]]


def matches_any(attempt: Attempt, wanted: tuple[str, ...]) -> bool:
    """Whether an attempt's operation is one of those wanted; nothing wanted matches nothing."""
    return bool(wanted) and matches(attempt.operation, wanted)
