"""Faults on messages, in words that read well on any broker: thin over what wire does to calls and their answers.

``operation`` is wire's name for the call (``publish EXCHANGE KEY``, ``deliver QUEUE``, ``ack QUEUE`` on AMQP;
``Produce TOPIC``, ``Fetch TOPIC``, ``OffsetCommit GROUP`` on Kafka; ``XADD STREAM``, ``deliver CHANNEL`` on Redis) with
``*`` and ``**`` as everywhere, and `` | `` between alternatives. Left empty, it is what the fault's name says, on each
of the brokers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, OnRequests, bounded, catalogue, one_of
from pytest_chaos.model.fault import Action, WireRule

_DAY_S = 86_400.0
_PUBLISH = "publish ** | Produce** | XADD ** | PUBLISH ** | SPUBLISH ** | LPUSH ** | RPUSH **"
_PUSHED = "deliver **"
_FETCHED = "Fetch** | get ** | XREAD ** | XREADGROUP ** | XAUTOCLAIM ** | BLPOP ** | BRPOP ** | BLMOVE ** | LPOP **"


@dataclass(frozen=True, slots=True)
class _OnMessages(OnRequests):
    def _rule(self, fault_id: str, number: int, operation: str, kind: str, params: dict[str, Any]) -> Action:
        (action,) = self.rule(fault_id, kind, params)
        if not isinstance(action, WireRule):
            return action
        return dataclasses.replace(action, id=f"{fault_id}.{number}", operation=self.operation or operation)


@catalogue.register("ConfirmLost")
@dataclass(frozen=True, slots=True)
class ConfirmLost(_OnMessages):
    """The broker takes the message; the publisher never hears of it.

    What is lost is the publisher's confirm (AMQP, in confirm mode), the produce answer (Kafka), the command's answer
    (Redis). ``how``: the connection is ``reset`` or closed (``close``) in its place, or it lives on and stays silent
    (``hang``): on AMQP only that confirm is missing; where answers come in order, nothing is heard on the connection
    until the fault is lifted, and then it is reset. A publish that nothing confirms is not hit.
    """

    how: Literal["reset", "close", "hang"] = field(default="reset", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        one_of(self, "how", self.how, ("reset", "close", "hang"))

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return (self._rule(fault_id, 1, _PUBLISH, "answer_lost", {"how": self.how}),)


@catalogue.register("HoldDelivery")
@dataclass(frozen=True, slots=True)
class HoldDelivery(_OnMessages):
    """Messages reach the consumer ``for_s`` seconds late, else when the fault is lifted.

    What the broker pushes (``deliver ...``) is held as it comes; where a consumer asks (``Fetch``, ``XREADGROUP``, any
    other ``operation`` that is named), the answer is. Both are counted by themselves.
    """

    for_s: Annotated[float, Between(0.001, _DAY_S, "s")] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "for_s", self.for_s, 0.001, _DAY_S, unit="s")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule each for what is pushed and for what is asked for."""
        ms = None if self.for_s is None else max(1, round(self.for_s * 1000))
        pushed = self._rule(fault_id, 1, _PUSHED, "hold", {"ms": ms, "at": "request"})
        asked = self._rule(fault_id, 2, _FETCHED, "hold", {"ms": ms, "at": "response"})
        if not self.operation:
            return (pushed, asked)
        return (pushed,) if self.operation.startswith("deliver") else (asked,)


@catalogue.register("DelayFetch")
@dataclass(frozen=True, slots=True)
class DelayFetch(_OnMessages):
    """Each time a consumer asks for messages, the broker hears it ``ms`` milliseconds late (1 to 600 000).

    Give or take up to ``jitter_ms``. For consumers that ask: Kafka's, Redis streams', AMQP's ``basic.get``; what a
    broker pushes is :class:`HoldDelivery`'s.
    """

    ms: Annotated[int, Between(1, 600_000, "ms")]
    jitter_ms: Annotated[int, Between(0, 600_000, "ms")] = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "ms", self.ms, 1, 600_000, unit="ms")
        bounded(self, "jitter_ms", self.jitter_ms, 0, self.ms, unit="ms (not more than ms itself)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return (self._rule(fault_id, 1, _FETCHED, "latency", {"ms": self.ms, "jitter_ms": self.jitter_ms}),)


@catalogue.register("DropConnectionAt")
@dataclass(frozen=True, slots=True)
class DropConnectionAt(_OnMessages):
    """The connection to the broker is reset at a call: a publish, a delivery, an acknowledgement, a commit.

    ``operation`` names it, ``nth``, ``first`` or ``every`` say at which of them (none given: at each).
    ``at="request"``: before the call is handed on; ``"response"``: in place of its answer.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"operation": "publish ** | Produce ** | XADD **"},
        {"operation": "publish ** | Produce ** | XADD **", "at": "response"},
        {"operation": "ack ** | OffsetCommit ** | XACK **"},
    )

    operation: str
    at: Literal["request", "response"] = field(default="request", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        one_of(self, "at", self.at, ("request", "response"))
        if not str(self.operation).strip():
            msg = f"{type(self).__name__}: operation={self.operation!r}: must name a call, for example 'XADD orders'"
            raise FaultError(msg)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "reset", {"at": self.at})
