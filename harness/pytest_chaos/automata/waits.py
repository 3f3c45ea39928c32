"""The waits of full jitter as a whole: each may be none at all, all of them hardly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_chaos.automata.grouping import transport_resend
from pytest_chaos.automata.outcomes import end_unseen, retry_after_s
from pytest_chaos.automata.schedule import Exponential
from pytest_chaos.automata.timing import end_ns, ns, seconds
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History

_MOST = 100
_BY_CHANCE = 1e-6
"""Rarer than this, waits are not what chance gave a client that waits as declared; 100 times that is a doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Waits between attempts, in ns, and the most that each could have been."""

    waited_ns: tuple[int, ...]
    most_ns: tuple[int, ...]
    attempts: tuple[Attempt, ...]

    @property
    def chance(self) -> float:
        """How likely waits that are drawn evenly, each up to its most, are as short in all as these."""
        shares = [wait / most for wait, most in zip(self.waited_ns, self.most_ns, strict=True)]
        return min(1.0, math.pow(sum(shares), len(shares)) / math.factorial(len(shares)))

    @property
    def wrong(self) -> bool:
        """Whether no chance explains them."""
        return self.chance < _BY_CHANCE

    @property
    def doubtful(self) -> bool:
        """Whether chance hardly explains them."""
        return self.chance < 100 * _BY_CHANCE

    def __str__(self) -> str:
        """Say it in one sentence."""
        waited, most = seconds(sum(self.waited_ns)), seconds(sum(self.most_ns))
        odds = f"{1 / max(self.chance, 1e-99):.0e}"
        told = f"the {len(self.waited_ns)} waits were {waited} in all, of up to {most}"
        return f"{told}: full jitter is that short by chance once in {odds} times"


def full_jitter(history: History, runs: Iterable[Sequence[Attempt]], backoff: Exponential | None) -> Waits | None:
    """Collect what ``backoff`` alone decided; None where it is no full jitter, or where nothing waited.

    Not what an answer asked for, what a client library sent again by itself, or what nobody saw the beginning of.
    """
    if backoff is None or backoff.jitter != "full":
        return None
    pairs = [
        (before, after, ns(backoff.bounds(k)[1]))
        for tries in runs
        for k, (before, after) in enumerate(itertools.pairwise(tries))
        if retry_after_s(before) is None and not end_unseen(before) and not transport_resend(before, after)
    ]
    pairs = [pair for pair in pairs if pair[2] > 0][:_MOST]
    if not pairs:
        return None
    return Waits(
        waited_ns=tuple(max(0, after.started_ns - end_ns(before, history)) for before, after, _ in pairs),
        most_ns=tuple(most for _, _, most in pairs),
        attempts=tuple({one.id: one for before, after, _ in pairs for one in (before, after)}.values()),
    )
