"""Safe re-sending, on every link of every test."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import group
from pytest_chaos.automata.outcomes import with_faults
from pytest_chaos.automata.resend import resends
from pytest_chaos.checkers import Findings, registry, total
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict


@registry.register("SafeResend")
@dataclass(frozen=True, slots=True)
class SafeResend:
    """R5 on every link: nothing that may have had an effect is sent again under another key. Needs no declaration.

    Where nothing carries a key the payload may identify the operation: only a declared ``Retry`` holds such a link to
    a key.
    """

    rules: tuple[str, ...] = field(default=(), kw_only=True)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide R5 for every link of the history."""
        found = Findings(history, self, "every link", ("R5",))
        found.missing(("R5",), "nothing was sent again after an unknown effect")
        for link in dict.fromkeys(attempt.link for attempt in history.attempts):
            for call in group(history, link).calls:
                for one in resends(call):
                    if one.kind == "unsafe" and one.keyless:
                        found.missing(
                            ("R5",),
                            f"{call.operation} on {link} was sent again without a key; declare Retry to hold it to one",
                        )
                    elif one.kind == "unsafe":
                        found.fail("R5", one.message, with_faults((one.before, one.after)), blame=one.blame)
                    elif one.kind == "safe":
                        found.hold("R5", one.message)
                    elif call.doubtful:
                        found.missing(("R5",), one.message)
        return found.verdict()
