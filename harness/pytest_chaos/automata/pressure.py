"""Whether more was wanted of a link at once than its limit lets through: else a limit that is kept shows nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_chaos.automata.grouping import Causes
from pytest_chaos.automata.intervals import crowded
from pytest_chaos.automata.timing import end_ns, skew_ns
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.op import Op

_TOO_MANY = 429


def pressed(history: History, link: str, attempts: Sequence[Attempt], limit: int) -> bool:
    """Whether some call was kept back while ``limit`` of ``attempts`` were under way on ``link``.

    That is a call that was there (it had reached the caller, or, where it came as a message, had been made) early
    enough to be sent on while they were, as others are, and was sent on only afterwards, or never. Calls that were all
    sent at once would also be let through by a caller without a limit, and one that was refused with 4xx (other than
    429) would not have been sent anyway.
    """
    full = crowded([(one.started_ns, end_ns(one, history)) for one in attempts], limit, shrink_ns=skew_ns(history))
    if not full:
        return False
    causes, caller = Causes(history), link.partition(" -> ")[0]
    sent: dict[str, int] = {}
    for one in attempts:
        if (op := causes.of(one)) is not None:
            sent[op.id] = min(sent.get(op.id, one.started_ns), one.started_ns)
    came: dict[str, int] = {}
    for one in history.attempts:
        if one.is_request and one.callee.partition(".")[0] == caller and (op := causes.of(one)) is not None:
            came[op.id] = max(came.get(op.id, 0), one.started_ns)
    using = {op.operation for op in history.ops if op.id in sent}
    kept: list[tuple[int, int]] = []  # since when a call waited, and until when there was no room
    usual_ns = 0
    for op in history.ops:
        if op.operation not in using or (op.id not in sent and _refused_by_itself(op)):
            continue
        begun, out = came.get(op.id, op.invoked_ns), sent.get(op.id)
        before = [ends for begins, ends in full if begun < ends and (out > ends if out is not None else begun > begins)]
        if before:
            kept.append((begun, before[-1]))
        elif out is not None:
            usual_ns = max(usual_ns, out - begun)
    return any(begun + usual_ns < ends for begun, ends in kept)


def _refused_by_itself(op: Op) -> bool:
    return op.outcome == "fail" and op.status != _TOO_MANY
