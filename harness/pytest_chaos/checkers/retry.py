"""Retry: how often, how far apart, after which outcomes, until when, and never a second effect."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import Call, Run, group
from pytest_chaos.automata.outcomes import answered_otherwise, end_unseen, outcome_of, retry_after_s, with_faults
from pytest_chaos.automata.resend import resends, turned_away, without_resends
from pytest_chaos.automata.schedule import Exponential
from pytest_chaos.automata.timing import NS_PER_S, between, end_ns, latest_ns, ns, restarts, seconds, skew_ns, slack_ns
from pytest_chaos.automata.waits import Waits, full_jitter
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict

RETRYABLE_STATUSES = (408, 425, 429, 502, 503, 504)
RETRYABLE_GRPC = (4, 8, 14)
__all__ = ["Exponential", "Retry"]
_RULES = ("R1", "R2", "R4", "R5", "R6", "R7", "R9", "R10", "R11")


@registry.register("Retry")
@dataclass(frozen=True, slots=True)
class Retry:
    """The caller of ``link`` retries as declared; all times in seconds, attempts counted including the first.

    Decides R1 (not more than ``max_attempts``), R2 (gaps as ``backoff`` says; of full jitter all together), R4 (only
    after a retryable outcome), R5 (no re-send after an unknown effect without one identical key), R6 (Retry-After is
    respected), R7 (nothing after ``deadline_s``), R9 (attempts are equal), R10 (none after a success, none overlapping
    unless ``hedging``), R11 (it does go on until it succeeds). A gap runs from the end of an attempt to the start of
    the next, as seen on the wire. ``operations`` restricts the policy to those, a trailing ``*`` matching any rest;
    ``idempotent`` names operations that are so by nature. Raises ChaosError on a value out of range.
    """

    link: str = ""
    max_attempts: int = field(default=4, kw_only=True)
    backoff: Exponential | None = field(default=None, kw_only=True)
    deadline_s: float | None = field(default=None, kw_only=True)
    retryable_statuses: tuple[int, ...] = field(default=RETRYABLE_STATUSES, kw_only=True)
    retryable_grpc: tuple[int, ...] = field(default=RETRYABLE_GRPC, kw_only=True)
    operations: tuple[str, ...] = field(default=(), kw_only=True)
    idempotent: tuple[str, ...] = field(default=(), kw_only=True)
    hedging: bool = field(default=False, kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse numbers that are no policy."""
        if self.max_attempts < 1:
            msg = f"Retry: max_attempts={self.max_attempts}: must be 1 or more; it counts the first attempt"
            raise ChaosError(msg)
        if self.deadline_s is not None and not self.deadline_s > 0:
            msg = f"Retry: deadline_s={self.deadline_s}: must be more than 0 s, or None"
            raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide every rule of the policy."""
        found = Findings(history, self, self.link, _RULES)
        grouped = group(history, self.link, operations=self.operations)
        if grouped.loose:
            found.doubt(
                _RULES,
                f"{len(grouped.loose)} attempts on {self.link} overlap and carry neither marker, trace or "
                "correlation id nor key, "
                "so that nobody can say which of them belong together",
            )
        nothing = unhit(history, self.link) or (
            f"no attempt on {self.link} failed retryably, so nothing was retried"
            if grouped.calls
            else f"nothing was sent on {self.link}"
        )
        found.missing(_RULES, nothing)
        for call in grouped.calls:
            self._resends(found, call)
            if call.doubtful:
                found.doubt(_RULES, call.doubtful)
                continue
            self._same(found, call)
            for run in call.runs:
                self._run(found, history, call, run)
        runs = (without_resends(run.attempts) for call in grouped.calls for run in call.runs if not run.detached)
        self._waited(found, full_jitter(history, runs, self.backoff))
        return found.verdict()

    def retryable(self, attempt: Attempt) -> bool:
        """Whether an attempt ended in an outcome that may be tried again."""
        if attempt.outcome == "ok":
            return False
        if attempt.protocol == "grpc" and attempt.grpc_status is not None:
            return attempt.grpc_status in self.retryable_grpc
        if attempt.status is not None and not attempt.error:
            return attempt.status in self.retryable_statuses
        return attempt.ended_ns is not None

    def _run(self, found: Findings, history: History, call: Call, run: Run) -> None:
        tries = without_resends(run.attempts)
        self._order(found, history, call, run)
        self._pushback(found, history, call, tries)
        if run.detached:
            return
        self._count(found, call, tries)
        self._gaps(found, history, call, tries)
        self._classes(found, call, tries)
        self._deadline(found, history, call, tries)
        self._liveness(found, history, call, tries)

    def _count(self, found: Findings, call: Call, tries: list[Attempt]) -> None:
        if len(tries) > self.max_attempts:
            found.fail(
                "R1",
                f"{call.link}: {call.name} was sent {len(tries)} times; declared are at most {self.max_attempts} "
                "attempts",
                with_faults(tries),
            )
        elif len(tries) > 1 or (self.max_attempts == 1 and self.retryable(tries[0])):
            found.hold("R1", f"{call.name} was sent {len(tries)} times, of at most {self.max_attempts}")

    def _gaps(self, found: Findings, history: History, call: Call, tries: list[Attempt]) -> None:
        if self.backoff is None:
            found.missing(("R2",), "no backoff is declared")
            return
        previous_s = 0.0
        for k, (before, after) in enumerate(itertools.pairwise(tries)):
            gap = after.started_ns - end_ns(before, history)
            low_s, high_s = self.backoff.bounds(k, previous_s)
            asked_s = retry_after_s(before) or 0.0
            low, high = ns(low_s), ns(max(high_s, asked_s))
            previous_s = gap / NS_PER_S
            if gap < low - skew_ns(history) and end_unseen(before):
                found.missing(("R2",), f"nobody saw when {before.caller} gave up, only when it closed the connection")
            elif gap < low - skew_ns(history) or gap > latest_ns(history, high):
                found.fail(
                    "R2",
                    f"{call.link}: the wait before attempt {k + 2} of {call.name} was {seconds(gap)}; "
                    f"{self.backoff.jitter} jitter on base {self.backoff.base_s:g} s allows {low_s:g} to {high_s:g} s",
                    with_faults((before, after)),
                )
            else:
                found.hold(
                    "R2",
                    f"the wait before attempt {k + 2} of {call.name} was {seconds(gap)}, of {low_s:g} to {high_s:g} s",
                )

    def _waited(self, found: Findings, waits: Waits | None) -> None:
        """R2 of full jitter, which allows each wait to be none at all: all of them are hardly that short."""
        if waits is not None and waits.wrong:
            found.fail("R2", f"{self.link}: {waits}", with_faults(waits.attempts))
        elif waits is not None and waits.doubtful:
            found.doubt(("R2",), str(waits))

    def _classes(self, found: Findings, call: Call, tries: list[Attempt]) -> None:
        for before, after in itertools.pairwise(tries):
            if before.outcome == "ok" or before.ended_ns is None:
                continue
            if self.retryable(before):
                found.hold("R4", f"{call.name} was retried after {outcome_of(before)}, which may be retried")
            else:
                found.fail(
                    "R4",
                    f"{call.link}: {call.name} was sent again after {outcome_of(before)}, which must not be retried",
                    with_faults((before, after)),
                )
        last = tries[-1]
        if last.outcome != "ok" and last.ended_ns is not None and not self.retryable(last):
            found.hold("R4", f"{call.name} was not sent again after {outcome_of(last)}")

    def _pushback(self, found: Findings, history: History, call: Call, tries: list[Attempt]) -> None:
        for before, after in itertools.pairwise(tries):
            asked_s = retry_after_s(before)
            if asked_s is None:
                continue
            gap = after.started_ns - end_ns(before, history)
            if gap < ns(asked_s) - skew_ns(history):
                found.fail(
                    "R6",
                    f"{call.link}: {call.name} was sent again after {seconds(gap)} although the answer asked to "
                    f"wait {asked_s:g} s",
                    with_faults((before, after)),
                )
            else:
                found.hold("R6", f"{call.name} waited {seconds(gap)} where {asked_s:g} s were asked for")

    def _deadline(self, found: Findings, history: History, call: Call, tries: list[Attempt]) -> None:
        if self.deadline_s is None:
            found.missing(("R7",), "no deadline is declared")
            return
        bound, begun = ns(self.deadline_s), tries[0].started_ns
        late = [one for one in tries if one.started_ns - begun > bound + skew_ns(history)]
        lasted = end_ns(tries[-1], history) - begun
        if late:
            found.fail(
                "R7",
                f"{call.link}: attempt {tries.index(late[0]) + 1} of {call.name} began "
                f"{seconds(late[0].started_ns - begun)} after the first; "
                f"the deadline is {self.deadline_s:g} s",
                with_faults((tries[0], *late)),
            )
        elif lasted > latest_ns(history, bound):
            found.fail(
                "R7",
                f"{call.link}: {call.name} went on for {seconds(lasted)}; the deadline is {self.deadline_s:g} s",
                with_faults((tries[0], tries[-1])),
            )
        elif self._pressed(tries, lasted, bound):
            found.hold("R7", f"{call.name} ended after {seconds(lasted)}, within its deadline of {self.deadline_s:g} s")
        else:
            found.missing(
                ("R7",),
                f"no call on {call.link} came near its deadline of {self.deadline_s:g} s (longest {seconds(lasted)})",
            )

    def _pressed(self, tries: list[Attempt], lasted: int, bound: int) -> bool:
        gave_up = self.retryable(tries[-1]) and len(tries) < self.max_attempts
        return 2 * lasted >= bound or (gave_up and lasted + self._next_wait_ns(len(tries)) >= bound)

    def _next_wait_ns(self, made: int) -> int:
        return ns(self.backoff.bounds(made - 1)[1]) if self.backoff else 0

    def _resends(self, found: Findings, call: Call) -> None:
        for one in resends(call, self.idempotent):
            if one.kind == "unsafe":
                found.fail("R5", one.message, with_faults((one.before, one.after)), blame=one.blame)
            elif one.kind == "safe":
                found.hold("R5", one.message)
            else:
                found.missing(("R5",), one.message)

    def _same(self, found: Findings, call: Call) -> None:
        for origin in dict.fromkeys(call.origins):
            mine = [one for one, its in zip(call.attempts, call.origins, strict=True) if its == origin]
            bodies, keys = {one.body_hash for one in mine}, {one.idempotency_key for one in mine}
            if max(len(bodies), len(keys)) > 1:
                what, values = ("body", bodies) if len(bodies) > 1 else ("idempotency key", keys)
                found.fail(
                    "R9",
                    f"{call.link}: the {len(mine)} attempts of {call.name} differ in their {what} "
                    f"({len(values)} different ones)",
                    with_faults(mine),
                )
            elif len(mine) > 1:
                found.hold("R9", f"the {len(mine)} attempts of {call.name} are equal in body and key")

    def _order(self, found: Findings, history: History, call: Call, run: Run) -> None:
        for before, after in itertools.pairwise(run.attempts):
            end = end_ns(before, history)
            after_success = before.outcome == "ok" and after.started_ns > end + skew_ns(history)
            if after_success and answered_otherwise(before, history):
                found.missing(("R10",), f"a fault gave {call.name} an answer that may well be no success to its caller")
            elif after_success:
                found.fail(
                    "R10",
                    f"{call.link}: {call.name} was sent again {seconds(after.started_ns - end)} after its success "
                    "had been answered",
                    with_faults((before, after)),
                )
            elif after.started_ns < end - skew_ns(history) and not self.hedging:
                found.fail(
                    "R10",
                    f"{call.link}: an attempt of {call.name} began {seconds(end - after.started_ns)} before the one "
                    "before it had ended",
                    with_faults((before, after)),
                )
            else:
                found.hold("R10", f"the attempts of {call.name} came one after the other, none after a success")

    def _liveness(self, found: Findings, history: History, call: Call, tries: list[Attempt]) -> None:
        if not any(self.retryable(one) for one in tries):
            return
        last = tries[-1]
        if last.outcome == "ok":
            found.hold("R11", f"{call.name} went on until it succeeded at attempt {len(tries)}")
            return
        end = end_ns(last, history)
        wait = self._next_wait_ns(len(tries))
        if len(tries) >= self.max_attempts or not self.retryable(last):
            return
        # Another attempt has to fit: a client may well not begin what it could not wait for.
        longest = max(end_ns(one, history) - one.started_ns for one in tries)
        due = end + wait + slack_ns(history, wait) + longest
        if self.deadline_s is not None and due >= tries[0].started_ns + ns(self.deadline_s):
            found.missing(
                ("R11",), f"{call.name} had no time for another attempt before its deadline of {self.deadline_s:g} s"
            )
        elif end + latest_ns(history, wait) > history.ended_ns:
            found.missing(("R11",), f"the test ended before {call.name} would have been tried again")
        elif between(restarts(history, last.caller), last.started_ns, end + latest_ns(history, wait)):
            found.missing(("R11",), f"{last.caller} was not alive to try {call.name} again")
        elif turned_away(history, call, end):
            found.missing(("R11",), f"{call.name} was turned away with Retry-After, as an open breaker does")
        else:
            found.fail(
                "R11",
                f"{call.link}: {call.name} gave up after {len(tries)} of {self.max_attempts} attempts, the last "
                f"being {outcome_of(last)}",
                with_faults(tries),
            )
