"""Correlation: one id from the driver's call to the last message that it caused, on every carrier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pytest_chaos.automata.carriers import Carrier, carriers
from pytest_chaos.automata.grouping import Causes, group
from pytest_chaos.automata.outcomes import with_faults
from pytest_chaos.checkers import Findings, registry, total
from pytest_chaos.model.history import History
from pytest_chaos.model.span import Span
from pytest_chaos.model.topology import DRIVER
from pytest_chaos.model.verdict import Verdict

_RULES = ("X1", "X2", "X4", "X5", "X7")
_HEADER, _TRACE = "x-correlation-id", "traceparent"


@registry.register("Correlation")
@dataclass(frozen=True, slots=True)
class Correlation:
    """Everything that an operation causes carries its ``x-correlation-id``: requests, gRPC metadata, messages.

    Decides X1 (the id is there and the right one), X2 (never another operation's), X4 (also on retries, after
    restarts, on dead letters), X5 (answers carry it, errors too), X7 (a consumer's span has the creation context as
    parent or link; only from spans). Who caused what is known by trace id, payload marker or exclusive use, never by
    the id itself. ``ignore`` names links or ``broker/channel`` that promise nothing, such as a third party's. What
    lies behind a request whose id a fault itself took away or rewrote is not judged, nor are answers to a call on whose
    way a fault did that to a request or an answer.
    """

    ignore: tuple[str, ...] = field(default=(), kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide every rule."""
        found = Findings(history, self, "all carriers", _RULES)
        found.missing(
            ("X1", "X2", "X4"), "the driver's calls caused no request and no message that can be joined to them"
        )
        excused = _excused(history)
        judged = [one for one in carriers(history) if one.where not in self.ignore and not excused(one)]
        for fault_id in dict.fromkeys(fault for _, fault in _tampered(history).values()):
            found.missing(("X1", "X2", "X4"), f"the fault {fault_id} itself changed the id that the callee was given")
        mixable = len({op.correlation_id for op in history.ops}) > 1
        for one in judged:
            self._carried(found, one, mixable=mixable)
        if not mixable:
            found.missing(("X2",), "only one call was made, so there was no other id to mix it up with")
        self._retries(found, history)
        self._answers(found, history)
        self._spans(found, history)
        return found.verdict()

    def _carried(self, found: Findings, one: Carrier, *, mixable: bool) -> None:
        rule = "X4" if one.dead else "X1"
        if one.op is None:
            if one.owner is None and not one.correlation_id and not one.what.startswith("GET "):
                found.doubt(
                    ("X1",), f"{one.what} on {one.where} ({one.id}) carries nothing that says which call caused it"
                )
            return
        if one.correlation_id == one.op.correlation_id:
            found.hold(rule, f"{one.what} on {one.where} carries the id of its cause, {one.correlation_id!r}")
            if mixable:
                found.hold("X2", f"{one.what} on {one.where} carries its own call's id and no other's")
            return
        what = f"{one.what} on {one.where}"
        if one.owner is not None and one.how == "exclusive":
            return
        if one.owner is not None:
            found.fail(
                "X2",
                f"{what}, caused by {one.op.id}, carries the correlation id of {one.owner.id}",
                (one.op.id, one.owner.id, one.id),
            )
        elif one.correlation_id:
            found.fail(
                rule,
                f"{what} carries {one.correlation_id!r}; the call that caused it has {one.op.correlation_id!r}",
                (one.op.id, one.id),
            )
        else:
            found.fail(
                rule,
                f"{what} carries no correlation id; the call that caused it has {one.op.correlation_id!r}",
                (one.op.id, one.id),
            )

    def _retries(self, found: Findings, history: History) -> None:
        tampered = _tampered(history)
        for link in dict.fromkeys(attempt.link for attempt in history.attempts):
            if link in self.ignore or link.startswith(f"{DRIVER} -> "):
                continue
            for call in group(history, link).calls:
                if call.op and call.op.id in tampered:
                    continue
                ids = [one.correlation_id for one in call.attempts]
                if len(ids) < 2 or not ids[0]:
                    continue
                if len(set(ids)) > 1:
                    found.fail(
                        "X4",
                        f"{link}: the {len(ids)} attempts of {call.name} carry {len(set(ids))} different "
                        "correlation ids",
                        with_faults(call.attempts),
                    )
                else:
                    found.hold("X4", f"the {len(ids)} attempts of {call.name} on {link} carry one correlation id")

    def _answers(self, found: Findings, history: History) -> None:
        replaced = {
            one.request_headers.get("traceparent") for one in history.attempts if one.caller == DRIVER and one.faults
        }
        lost = {header.split("-")[1] for header in replaced if header and "-" in header}
        found.missing(("X5",), "no call got an answer over HTTP from the system itself")
        # Whoever passes an answer on passes on what its callee knew, and said, of the id.
        tampered = _tampered(history, answers=True)
        for op in history.ops:
            if op.id in tampered:
                found.missing(("X5",), f"the fault {tampered[op.id][1]} itself changed the id on the way of {op.id}")
                continue
            if op.status is None or not op.correlation_id or op.trace_id in lost or op.link in self.ignore:
                continue
            headers = {name.lower(): value for name, value in op.response_headers.items()}
            given = headers.get(_HEADER, "")
            if given == op.correlation_id:
                found.hold("X5", f"the answer to {op.operation} ({op.status}) carries its id")
            else:
                shown = repr(given) if given else "none"
                found.fail(
                    "X5",
                    f"the answer to {op.operation} ({op.status}) carries {shown}; asked was with {op.correlation_id!r}",
                    (op.id,),
                )

    def _spans(self, found: Findings, history: History) -> None:
        if not history.spans_complete:
            told = ", ".join(history.spans_missing) or "no span came"
            found.doubt(("X7",), f"the spans are incomplete: {told}")
        created = {
            message.traceparent.split("-")[1] for message in history.messages if message.traceparent.count("-") >= 3
        }
        consuming = [span for span in history.spans if _processes(span)]
        if not consuming or not created:
            senders = sorted({span.service for span in history.spans})
            found.missing(
                ("X7",),
                f"no consumer span of a traced message came; spans came from: {', '.join(senders) or 'no service'}",
            )
            return
        for span in consuming:
            contexts = {link.trace_id for link in span.links} | ({span.trace_id} if span.parent_id else set())
            if contexts & created:
                found.hold(
                    "X7", f"{span.service}'s span {span.name!r} has the message's creation context as parent or link"
                )
            else:
                found.fail(
                    "X7",
                    f"{span.service}'s consumer span {span.name!r} has neither parent nor link to the context that "
                    "created the message",
                    (span.span_id,),
                )


@registry.register("Crosstalk")
@dataclass(frozen=True, slots=True)
class Crosstalk:
    """X2 everywhere: nothing carries the correlation id of another operation than its own. Needs no declaration."""

    rules: tuple[str, ...] = field(default=(), kw_only=True)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide X2."""
        found = Findings(history, self, "all carriers", ("X2",))
        found.missing(("X2",), "fewer than two calls with different ids were made")
        excused = _excused(history)
        _crossed(found, (one for one in carriers(history) if not excused(one)))
        return found.verdict()


def _tampered(history: History, *, answers: bool = False) -> dict[str, tuple[int, str]]:
    """Map the id of each op to when (ns) and by which fault its correlation id was changed in a request.

    ``answers``: or in an answer.
    """
    faults = {
        fault.id
        for fault in history.faults
        if fault.params.get("name", "").lower() == _HEADER and (answers or fault.params.get("at") != "response")
    }
    causes = Causes(history)
    found: dict[str, tuple[int, str]] = {}
    for attempt in history.attempts if faults else ():
        op = causes.of(attempt)
        for fault_id in attempt.faults if op else ():
            if op and fault_id in faults:
                found.setdefault(op.id, (attempt.started_ns, fault_id))
    return found


def _foreign(history: History) -> dict[str, int]:
    """Map the trace ids that faults wrote into requests to when they first did (ns): they name another cause."""
    written = {
        fault.id: fault.params.get("value", "").split("-")
        for fault in history.faults
        if fault.params.get("name", "").lower() == _TRACE and fault.params.get("at") != "response"
    }
    found: dict[str, int] = {}
    for attempt in history.attempts if written else ():
        for parts in (written[fault] for fault in attempt.faults if len(written.get(fault, ())) >= 4):
            found.setdefault(parts[1], attempt.started_ns)
    return found


def _excused(history: History) -> Callable[[Carrier], bool]:
    """Give what tells whether a carrier lies behind an id that a fault changed, or names a cause that one made up."""
    tampered, foreign = _tampered(history), _foreign(history)

    def excused(one: Carrier) -> bool:
        if one.op is None:
            return False
        if one.op.id in tampered and one.at_ns > tampered[one.op.id][0]:
            return True
        return one.how == "trace" and one.at_ns > foreign.get(one.op.trace_id, one.at_ns)

    return excused


def _crossed(found: Findings, seen: Iterable[Carrier]) -> None:
    for one in seen:
        # Exclusive use is no proof here: work of an earlier call may still be going on.
        if one.op is None or one.owner is None or one.how == "exclusive":
            continue
        if one.owner.id != one.op.id and one.owner.correlation_id != one.op.correlation_id:
            found.fail(
                "X2",
                f"{one.what} on {one.where}, caused by {one.op.id}, carries the correlation id of {one.owner.id}",
                (one.op.id, one.owner.id, one.id),
            )


def _processes(span: Span) -> bool:
    operation = str(
        span.attributes.get("messaging.operation.type") or span.attributes.get("messaging.operation") or "process"
    )
    return span.kind == "consumer" and operation in ("process", "deliver")
