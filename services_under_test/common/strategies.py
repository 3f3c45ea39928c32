"""The seams: every decision that a planted defect may get wrong, with the right answer as its default."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from services_under_test.common import compensation
from services_under_test.common.breaker import Breaker
from services_under_test.common.outcome import RETRYABLE, Effect, Outcome

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractQueue

AfterFailure = Literal["retry", "park", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideLimits:
    """Bounds of fire-and-forget work: ``limit`` 0 and ``timeout_s`` None mean none."""

    limit: int
    backlog: int
    timeout_s: float | None


def _is_retryable(outcome: Outcome) -> bool:
    return outcome.code in RETRYABLE


def _deadline_at(at_s: float) -> float:
    return at_s


def _rpc_timeout(left_s: float) -> float | None:
    return max(left_s, 0.001)


def _effect_of(outcome: Outcome) -> Effect:
    return outcome.effect


def _same(value: str) -> str:
    return value


def _after_failure(attempt: int, limit: int, *, permanent: bool) -> AfterFailure:
    return "park" if permanent or attempt >= limit else "retry"


async def _declare_email_queue(channel: AbstractChannel) -> AbstractQueue:
    from services_under_test.common import amqp  # noqa: PLC0415 - a broker's client is loaded by those who use it

    return await amqp.declare_email_queue(channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategies:
    """What the services ask where they could go wrong; a defect replaces one or two of these.

    ``retryable``: may this outcome be tried again. ``deadline_at``: the point in time (monotonic seconds) that ends an
    operation. ``breaker``: makes the circuit breaker. ``rpc_timeout``: the deadline in seconds that a gRPC call
    carries. ``effect_of``: what a saga step's outcome says about its effect. ``compensate``: runs the undoing.
    ``order_key``: the idempotency key that goes out. ``outbound_correlation``: the correlation id that goes out.
    ``side_limits``: bounds of fire-and-forget work. ``email_queue``: the queue that ``email`` consumes.
    ``publishers_queue``: what the publisher declares, so that an event before its first subscriber is kept.
    ``mandatory``: whether an event that no queue takes counts as not published.
    ``mail_key``: the key for the gateway, from the event's id. ``mail_seen``: whether an event id was dealt with, given
    what the table says. ``after_failure``: what happens to a record whose effect failed.
    """

    retryable: Callable[[Outcome], bool] = _is_retryable
    deadline_at: Callable[[float], float] = _deadline_at
    breaker: Callable[..., Breaker] = Breaker
    rpc_timeout: Callable[[float], float | None] = _rpc_timeout
    effect_of: Callable[[Outcome], Effect] = _effect_of
    compensate: Callable[[Sequence[compensation.Undo]], Awaitable[None]] = compensation.undo_all
    order_key: Callable[[str], str] = _same
    outbound_correlation: Callable[[str], str] = _same
    side_limits: Callable[[SideLimits], SideLimits] = lambda limits: limits
    email_queue: Callable[[Any], Awaitable[Any]] = _declare_email_queue
    publishers_queue: Callable[[Any], Awaitable[Any]] = _declare_email_queue
    mandatory: bool = True
    mail_key: Callable[[str], str] = _same
    mail_seen: Callable[[bool], bool] = bool
    after_failure: Callable[..., AfterFailure] = _after_failure
