"""What happened to messages and effects: publishes, deliveries, settlements; ledger rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

POISON = "x-chaos-poison"
"""The header (Redis: field) of a message that a fault put into a channel; no effect is owed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that happened to one message at a broker.

    ``event``: ``published`` (the broker holds it, seen by the harness's own observer), ``settled`` (acknowledged or
    offset committed past it), ``unacked`` (delivered, not acknowledged, at the end), ``pending`` (waiting at the
    end), ``dead`` (dead-lettered). ``marker`` joins events of one message: the event id in the payload, else the
    message id, else topic:partition:offset.
    """

    id: str
    broker: str
    channel: str
    event: Literal["published", "settled", "unacked", "pending", "dead"]
    marker: str
    at_ns: int
    key: str = ""
    group: str = ""
    partition: int | None = None
    offset: int | None = None
    correlation_id: str = ""
    traceparent: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One row of a ledger: a stub's own record of the work, or what a service's state query said at the end.

    ``source`` is ``stub`` (happened when wire says so) or ``state`` (a service's own word). ``count`` is how often
    the effect stands. ``at_ns`` is when the stub did the work, else when the state was read.
    """

    id: str
    node: str
    ledger: str
    key: str
    source: Literal["stub", "state"]
    at_ns: int
    marker: str = ""
    amount_minor: int | None = None
    state: str = ""
    count: int = 1
    attempt: str = ""
    operation: str = ""
    fields: dict[str, str] = field(default_factory=dict)
