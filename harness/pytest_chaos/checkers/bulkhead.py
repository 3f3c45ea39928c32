"""Bulkhead: not more than so many requests at a time on a link."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pytest_chaos.automata.grouping import matches
from pytest_chaos.automata.intervals import peak
from pytest_chaos.automata.outcomes import with_faults
from pytest_chaos.automata.pressure import pressed
from pytest_chaos.automata.timing import end_ns, skew_ns
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict

_MOST_WITNESSES = 16


@registry.register("Bulkhead")
@dataclass(frozen=True, slots=True)
class Bulkhead:
    """At most ``limit`` requests are under way on ``link`` at any time, counted from first byte to end. Decides L1.

    It passes where the limit was reached and a further call was seen to be kept back. ``operations`` restricts it to
    those, a trailing ``*`` matching any rest. Raises ChaosError on a limit below 1.
    """

    shared_state: ClassVar[bool] = True
    link: str = ""
    limit: int = field(default=1, kw_only=True)
    operations: tuple[str, ...] = field(default=(), kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a limit that lets nothing through."""
        if self.limit < 1:
            msg = f"Bulkhead: limit={self.limit}: must be 1 or more"
            raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide L1."""
        found = Findings(history, self, self.link, ("L1",))
        attempts = [one for one in history.on(self.link) if one.is_request and matches(one.operation, self.operations)]
        top = peak([(one.started_ns, end_ns(one, history)) for one in attempts], shrink_ns=skew_ns(history))
        if top.count > self.limit:
            members = [attempts[index] for index in top.members]
            found.fail(
                "L1",
                f"{self.link}: {top.count} requests were under way at once; the limit is {self.limit}",
                with_faults(members)[:_MOST_WITNESSES],
            )
        elif top.count == self.limit and pressed(history, self.link, attempts, self.limit):
            found.hold(
                "L1",
                f"never more than {top.count} requests were under way on {self.link}, which is its limit, and a call "
                "that came then was kept back",
            )
        else:
            found.missing(
                ("L1",),
                unhit(history, self.link)
                or f"at most {top.count} requests were under way on {self.link}, and no call was seen to be kept back; "
                f"its limit is {self.limit}: make more calls than that while they are held",
            )
        return found.verdict()
