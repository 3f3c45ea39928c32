"""The order saga: reserve, pay, confirm; on failure refund and release, in this order, until both are done.

Each step is written down as "may have happened" before it is sent, so whatever moment the process dies in, the next
one knows what it has to repeat or to undo. Every call is idempotent by the order's id, and inventory and payments
refuse what comes after its undoing. The pivot is the local commit of CONFIRMED, after inventory's Confirm: until then
everything can be undone, from then on nothing is. Inventory's Release undoes a Confirm as well, so Confirm needs no
compensation of its own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from services_under_test.common import retry
from services_under_test.common.compensation import Undo
from services_under_test.common.outcome import Effect, Outcome
from services_under_test.common.runner import Host
from services_under_test.orders.book import Book, Order, OrderState, Step, UndoName
from services_under_test.orders.partners import Inventory, Payments
from services_under_test.orders.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an order will not be confirmed; ``retry_after_s`` when the same order may succeed later."""

    reason: str
    retry_after_s: float | None = None


class Watcher(Protocol):
    """Who wants to know how a saga goes on."""

    def ended(self, order_id: str, state: OrderState, failure: Failure | None) -> None:
        """Commit the end of a saga."""
        ...

    def stalled(self, order_id: str, retry_after_s: float) -> None:
        """Learn that nothing will happen for so many seconds."""
        ...


class Saga:
    """Drives one order at a time to its end; safe to run again after a crash at any point."""

    def __init__(
        self, host: Host, settings: Settings, book: Book, payments: Payments, inventory: Inventory, watcher: Watcher
    ) -> None:
        self._host = host
        self._settings = settings
        self._book = book
        self._payments = payments
        self._inventory = inventory
        self._watcher = watcher

    async def run(self, order_id: str, deadline_at_s: float) -> None:
        """Go forward until the deadline (monotonic seconds), else back for as long as it takes."""
        order = self._book.get(order_id)
        failure = Failure(reason=order.reason)
        if order.state is OrderState.PENDING:
            found = await self._forward(order, deadline_at_s)
            if found is None:
                self._watcher.ended(order_id, OrderState.CONFIRMED, None)
                return
            failure = found
            self._turn_back(order_id, failure)
        await self._undo(order_id)
        self._watcher.ended(order_id, OrderState.COMPENSATED, failure)

    async def _forward(self, order: Order, deadline_at_s: float) -> Failure | None:
        outcome = await self._step(order, "reserve", lambda: self._inventory.reserve(order, deadline_at_s))
        if not outcome.ok:
            return _reservation_failure(outcome)
        outcome = await self._step(order, "pay", lambda: self._payments.charge(order, deadline_at_s))
        if not outcome.ok:
            return _payment_failure(outcome)
        # The money is taken: from here on it is better late than undone, so the caller's deadline no longer counts,
        # only our own.
        outcome = await self._step(order, "confirm", lambda: self._inventory.confirm(order, math.inf))
        return None if outcome.ok else Failure(reason="confirm_failed")

    async def _step(self, order: Order, step: Step, send: Callable[[], Awaitable[Outcome]]) -> Outcome:
        before = order.effect_of(step)
        if before is Effect.HAPPENED:
            return Outcome(code="before", effect=before, detail="an earlier process has done it")
        attributes: Mapping[str, str | int] = {"saga.id": order.id, "saga.step": step}
        with self._host.telemetry.span(f"saga {step}", attributes=attributes) as mark:
            self._book.note(order.id, step, Effect.UNKNOWN)
            outcome = await send()
            effect = self._host.strategies.effect_of(outcome)
            if effect is Effect.NONE and before is Effect.UNKNOWN:
                # An earlier process may have got through; that this one did not even try does not take it back.
                effect = Effect.UNKNOWN
            self._book.note(order.id, step, effect)
            if not outcome.ok:
                mark.failed(outcome.code)
                why = f"{outcome.code} {outcome.detail}".rstrip()
                log.warning("order %s: %s failed: %s; its effect: %s", order.id, step, why, effect)
        return outcome

    def _turn_back(self, order_id: str, failure: Failure) -> None:
        order = self._book.get(order_id)
        refund, release = order.pay is not Effect.NONE, order.reserve is not Effect.NONE
        self._book.turn_back(order_id, failure.reason, refund=refund, release=release)
        log.warning("order %s turns back: %s; refund: %s, release: %s", order_id, failure.reason, refund, release)

    async def _undo(self, order_id: str) -> None:
        order = self._book.get(order_id)
        undos = []
        if order.refund:
            undos.append(self._undo_of(order, "refund", lambda number: self._payments.refund_once(order, number)))
        if order.release:
            undos.append(self._undo_of(order, "release", lambda _: self._inventory.release_once(order)))
        await self._host.strategies.compensate(undos)

    def _undo_of(self, order: Order, name: UndoName, send: Callable[[int], Awaitable[Outcome]]) -> Undo:
        tries = 0
        last = Outcome(code="", effect=Effect.NONE)

        async def once() -> bool:
            nonlocal tries, last
            attributes: Mapping[str, str | int] = {"saga.id": order.id, "saga.step": name, "saga.try": tries}
            with self._host.telemetry.span(f"saga {name}", attributes=attributes) as mark:
                last = await send(tries)
                if not last.ok:
                    mark.failed(last.code)
            tries += 1
            if last.ok:
                self._book.undone(order.id, name)
            else:
                log.warning("order %s: %s did not succeed: %s %s", order.id, name, last.code, last.detail)
                if last.code == "breaker":
                    self._watcher.stalled(order.id, last.retry_after_s or 0.0)
            return last.ok

        async def pause(number: int) -> None:
            drawn_s = retry.backoff_s(
                number, base_s=self._settings.undo_base_s, cap_s=self._settings.undo_cap_s, rng=self._host.rng
            )
            await self._host.clock.sleep(max(drawn_s, last.retry_after_s or 0.0))

        return Undo(name=name, once=once, pause=pause)


def _reservation_failure(outcome: Outcome) -> Failure:
    if outcome.detail.startswith("out_of_stock"):
        return Failure(reason="out_of_stock")
    return Failure(reason="reservation_refused" if outcome.refused else "inventory_unavailable")


def _payment_failure(outcome: Outcome) -> Failure:
    if outcome.code == "breaker":
        return Failure(reason="circuit_open", retry_after_s=outcome.retry_after_s or 0.0)
    if outcome.code == "http:402":
        return Failure(reason="declined")
    return Failure(reason="payment_refused" if outcome.refused else "payments_unavailable")
