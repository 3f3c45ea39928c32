"""When a system has come to rest.

The driver's calls returned, no request open, nothing waiting in outboxes, queues or sagas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_chaos.automata.attribution import split
from pytest_chaos.engine.clock import now_ns, pause
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import Evidence
from pytest_chaos.model.message import Effect
from pytest_chaos.model.op import Op

if TYPE_CHECKING:
    from pytest_chaos.engine.session import Session

_POLL_S = 0.05
# Two looks in a row, so that work between two hops (a relay's loop, a consumer's next fetch) is not taken for rest.
_LOOKS = 2


def unrest(
    open_ops: int, attempts: Iterable[Attempt], backlog: dict[str, int], rows: Sequence[Effect]
) -> tuple[str, ...]:
    """Name everything that is still going on; empty means at rest. Long-lived connections are not requests."""
    found = [f"{open_ops} calls of the driver have not returned"] if open_ops else []
    found += [
        f"{attempt.id} {attempt.operation} on {attempt.link} is open" for attempt in attempts if attempt.is_request
    ]
    found += [f"{channel}: {waiting} messages wait" for channel, waiting in sorted(backlog.items()) if waiting]
    found += [
        f"{row.node}: {row.count} in {row.ledger} {row.key}".rstrip()
        for row in rows
        if row.ledger == "outbox" and row.count
    ]
    found += [f"{row.node}: {row.ledger} {row.key} is {row.state}" for row in rows if row.state.upper() in _IN_FLIGHT]
    return tuple(found)


def own_unrest(test: str, ops: Sequence[Op], session: Session, *, before: Sequence[Effect]) -> tuple[str, ...]:
    """Name what is still going on of one test where others share the stack; ``test`` is its 12 hex digits.

    What is not known to be its own is not waited for. Messages are looked at one by one only where something waits.
    """
    backlog = session.backlog()
    messages = session.messages() if any(backlog.values()) else []
    seen = Evidence(
        attempts=tuple(session.recorder.open_attempts()), messages=tuple(messages), effects=tuple(session.all_state())
    )
    mine, _ = split(test, ops, seen, before=before)
    waiting = Counter(
        f"{one.broker} {one.channel}" for one in mine.messages if one.event in ("pending", "unacked") and one.marker
    )
    unknown = {channel: count for channel, count in backlog.items() if count < 0}
    return unrest(sum(op.completed_ns is None for op in ops), mine.attempts, {**waiting, **unknown}, mine.effects)


# States that say of themselves that they are not final; a reservation or a charge that merely stands is for a checker
# to judge.
_IN_FLIGHT = frozenset({"PENDING", "RUNNING", "COMPENSATING"})


def settle(look: Callable[[], tuple[str, ...]], *, timeout_s: float) -> tuple[str, ...]:
    """Look until nothing goes on, twice in a row; give what still went on when the time was up, else nothing."""
    deadline = now_ns() + int(timeout_s * 1e9)
    calm = 0
    while True:
        going_on = look()
        calm = 0 if going_on else calm + 1
        if calm >= _LOOKS:
            return ()
        if now_ns() > deadline:
            return going_on
        pause(_POLL_S)
