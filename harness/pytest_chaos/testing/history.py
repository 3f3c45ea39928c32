"""Histories by hand: times are milliseconds from the test's start, everything else has a sensible default."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from pytest_chaos.model.attempt import Attempt, Outcome
from pytest_chaos.model.history import FaultRecord, History, NodeEvent, NodeInfo
from pytest_chaos.model.message import Effect, Message
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import Span

_START_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


def _at(ms: float) -> int:
    return _START_NS + round(ms * _NS_PER_MS)


def _fate(
    operation: str, status: int | None, grpc: int | None, upstream: int | None, forwarded_ns: int | None
) -> dict[str, Any]:
    """Say what caller and callee were told, in the fields of the operation's protocol."""
    is_grpc = operation.startswith("/")
    answered = (grpc if is_grpc else status) if upstream is None else upstream
    return {
        "protocol": "grpc" if is_grpc else "http/1.1",
        "forwarded_ns": forwarded_ns,
        "status": status,
        "grpc_status": grpc,
        "upstream_grpc_status" if is_grpc else "upstream_status": None if forwarded_ns is None else answered,
    }


class HistoryBuilder:
    """Collects events and builds one History, everything in time order.

    Each method gives back the event that it added; ids count up by kind (``o1``, ``a1``, ``m1``, ``e1``, ``f1``,
    ``n1``).
    """

    def __init__(self, test: str = "test") -> None:
        self._test = test
        self._ops: list[Op] = []
        self._attempts: list[Attempt] = []
        self._messages: list[Message] = []
        self._effects: list[Effect] = []
        self._spans: list[Span] = []
        self._faults: list[FaultRecord] = []
        self._events: list[NodeEvent] = []
        self._nodes: dict[str, NodeInfo] = {}

    def op(
        self,
        link: str = "test -> orders",
        operation: str = "POST /api/orders",
        *,
        at: float = 0,
        took: float | None = 100,
        status: int | None = 200,
        **more: Any,
    ) -> Op:
        """The driver made a call; ``took`` None: it never returned."""
        number = len(self._ops) + 1
        outcome: Outcome = (
            "info" if status is None or status >= 500 or took is None else "ok" if status < 400 else "fail"
        )
        correlation = f"corr-{number}"
        known: dict[str, Any] = {
            "correlation_id": correlation,
            "trace_id": f"{number:032x}",
            "outcome": outcome,
            "response_headers": {"x-correlation-id": correlation},
        }
        op = Op(
            id=f"o{number}",
            link=link,
            operation=operation,
            invoked_ns=_at(at),
            completed_ns=None if took is None else _at(at + took),
            status=status,
            **{**known, **more},
        )
        self._ops.append(op)
        return op

    def attempt(
        self,
        link: str = "orders -> payments",
        operation: str = "POST /payments",
        *,
        at: float = 0,
        took: float | None = 10,
        status: int | None = None,
        grpc: int | None = None,
        error: str = "",
        op: Op | None = None,
        key: str = "",
        body: str = "body",
        forwarded: bool = True,
        upstream: int | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Attempt:
        """A request was seen on a link; without ``status``, ``grpc`` and ``error`` it was answered 200.

        ``took`` None: it is still open. ``op`` gives it that op's trace and correlation ids. ``forwarded`` False: the
        callee never saw it.
        """
        number = len(self._attempts) + 1
        if status is None and grpc is None and not error and took is not None:
            status = 200
        sent = dict(headers or {})
        if op is not None:
            sent.setdefault("traceparent", f"00-{op.trace_id}-{number:016x}-01")
            sent.setdefault("x-correlation-id", op.correlation_id)
        if key:
            sent["idempotency-key"] = key
        known: dict[str, Any] = {
            "connection": f"c{number}",
            "reused": False,
            "connected_ns": _at(at),
            "started_ns": _at(at),
            "sent_ns": _at(at),
            "answered_ns": None if took is None or (status is None and grpc is None) else _at(at + took),
            "ended_ns": None if took is None else _at(at + took),
            "body_hash": hashlib.blake2b(body.encode(), digest_size=8).hexdigest(),
            **_fate(operation, status, grpc, upstream, _at(at) if forwarded else None),
        }
        attempt = Attempt(
            id=f"a{number}", link=link, operation=operation, error=error, request_headers=sent, **{**known, **more}
        )
        self._attempts.append(attempt)
        return attempt

    def stub_effect(
        self,
        node: str = "acquirer",
        operation: str = "POST /charges",
        *,
        at: float = 0,
        attempt: Attempt | None = None,
        **more: Any,
    ) -> Effect:
        """A stub did its work."""
        known: dict[str, Any] = {
            "ledger": node,
            "key": "",
            "operation": operation,
            "attempt": attempt.id if attempt else "",
        }
        effect = Effect(id=f"e{len(self._effects) + 1}", node=node, source="stub", at_ns=_at(at), **{**known, **more})
        self._effects.append(effect)
        return effect

    def state(self, node: str, ledger: str, key: str, *, at: float = 10_000, **more: Any) -> Effect:
        """A service's state query gave a row."""
        effect = Effect(
            id=f"e{len(self._effects) + 1}", node=node, ledger=ledger, key=key, source="state", at_ns=_at(at), **more
        )
        self._effects.append(effect)
        return effect

    def message(
        self,
        event: str = "published",
        *,
        marker: str,
        at: float = 0,
        broker: str = "bus",
        channel: str = "queue",
        **more: Any,
    ) -> Message:
        """Something happened to a message."""
        message = Message(
            id=f"m{len(self._messages) + 1}",
            broker=broker,
            channel=channel,
            event=event,  # type: ignore[arg-type]
            marker=marker,
            at_ns=_at(at),
            **more,
        )
        self._messages.append(message)
        return message

    def fault(
        self, kind: str, target: str, *, at: float = 0, lifted: float | None = None, hits: int = 1, **more: Any
    ) -> FaultRecord:
        """A fault was installed; ``hits`` 0: it touched nothing."""
        first = _at(at) if hits else None
        fault = FaultRecord(
            id=f"f{len(self._faults) + 1}",
            kind=kind,
            target=target,
            installed_ns=_at(at),
            lifted_ns=None if lifted is None else _at(lifted),
            hits=hits,
            **{"first_hit_ns": first, **more},
        )
        self._faults.append(fault)
        return fault

    def node(self, name: str, event: str, *, at: float = 0) -> NodeEvent:
        """Something happened to a node."""
        happened = NodeEvent(
            id=f"n{len(self._events) + 1}",
            node=name,
            event=event,  # type: ignore[arg-type]
            at_ns=_at(at),
        )
        self._events.append(happened)
        return happened

    def info(self, name: str, kind: str = "service", **more: Any) -> NodeInfo:
        """Say what a node is."""
        self._nodes[name] = NodeInfo(name=name, kind=kind, **more)  # type: ignore[arg-type]
        return self._nodes[name]

    def span(
        self, service: str, name: str = "span", *, trace: str, at: float = 0, took: float = 1, **more: Any
    ) -> Span:
        """A service sent a span."""
        known: dict[str, Any] = {"span_id": f"{len(self._spans) + 1:016x}", "received_ns": _at(at + took)}
        span = Span(
            trace_id=trace,
            service=service,
            name=name,
            start_unix_ns=_at(at),
            end_unix_ns=_at(at + took),
            **{**known, **more},
        )
        self._spans.append(span)
        return span

    def build(self, *, ends: float | None = None, **more: Any) -> History:
        """Build the History; ``ends`` is its end in ms, else ten seconds after the last event."""
        last = max(
            [
                *(op.completed_ns or op.invoked_ns for op in self._ops),
                *(one.ended_ns or one.started_ns for one in self._attempts),
                *(one.at_ns for one in self._messages),
                *(one.at_ns for one in self._events),
                _START_NS,
            ]
        )
        known: dict[str, Any] = {
            "ops": tuple(sorted(self._ops, key=lambda op: op.invoked_ns)),
            "attempts": tuple(sorted(self._attempts, key=lambda one: one.started_ns)),
            "messages": tuple(sorted(self._messages, key=lambda one: one.at_ns)),
            "effects": tuple(sorted(self._effects, key=lambda one: one.at_ns)),
            "spans": tuple(self._spans),
            "faults": tuple(self._faults),
            "node_events": tuple(sorted(self._events, key=lambda one: one.at_ns)),
            "nodes": tuple(self._nodes.values()),
        }
        ended = last + 10 * 1000 * _NS_PER_MS if ends is None else _at(ends)
        return dataclasses.replace(History(test=self._test, started_ns=_START_NS, ended_ns=ended), **{**known, **more})
