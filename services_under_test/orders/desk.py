"""The order desk: takes an order once.

Starts its saga, tells its caller the truth, and takes unfinished sagas up again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services_under_test.common import correlation, deadline
from services_under_test.common.idempotency import Keys, KeyState, fingerprint
from services_under_test.common.outbox import Outbox
from services_under_test.common.outcome import Effect
from services_under_test.common.runner import Host
from services_under_test.orders.book import Book, Item, Order, OrderState
from services_under_test.orders.partners import Inventory, Payments
from services_under_test.orders.saga import Failure, Saga
from services_under_test.orders.settings import Settings

log = logging.getLogger(__name__)
CHANNEL = "kafka"
_RESUME_EVERY_S = 0.02
# Nothing was done and the cause may go away: the key is freed, and a repeat is a new order.
_TRANSIENT = frozenset({"circuit_open", "payments_unavailable", "inventory_unavailable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An order as it is asked for.

    ``bounded`` tells that the caller's deadline bounds the saga, as a gRPC deadline does.
    """

    user_id: str
    items: tuple[Item, ...]
    marker: str
    scope: str
    key: str
    bounded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the caller is told: 201 confirmed, 402 or 409 never, 503 not now or not known yet."""

    status: int
    body: Mapping[str, Any]
    retry_after_s: int | None = None
    replayed: bool = False


@dataclass(slots=True, kw_only=True)
class _Progress:
    told: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def tell(self, answer: Answer) -> None:
        if not self.told.done():
            self.told.set_result(answer)


class Desk:
    """Everything that can be asked of orders. Watches its own sagas."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        *,
        book: Book,
        keys: Keys,
        outbox: Outbox,
        payments: Payments,
        inventory: Inventory,
        publishes: bool,
    ) -> None:
        self._host = host
        self._settings = settings
        self._book = book
        self._keys = keys
        self._outbox = outbox
        self._breaker = payments.breaker
        self._publishes = publishes
        self._saga = Saga(host, settings, book, payments, inventory, self)
        self._progress: dict[str, _Progress] = {}

    async def place(self, draft: Draft) -> Answer:
        """Take an order, or find the one that its key stands for, and wait for the end of its saga."""
        at_s = self._host.strategies.deadline_at(self._host.clock.now() + self._settings.order_timeout_s)
        if draft.bounded:
            at_s = min(at_s, deadline.current())
        known = self._known(draft) if draft.key else None
        if isinstance(known, Answer):
            return known
        if known is None:
            if not self._breaker.would_admit():
                return _not_now(Failure(reason="circuit_open", retry_after_s=self._breaker.retry_after_s()), {})
            known = self._take(draft)
            self._begin(known, at_s)
        return await self._wait(known, min(at_s, deadline.current()))

    async def resume(self) -> None:
        """Take up what an earlier process left unfinished, a few a second, so that a restart is no flood."""
        for order in self._book.unfinished():
            if order.id in self._progress:
                continue
            with correlation.bound(order.correlation_id):
                log.info("order %s is taken up again, %s", order.id, order.state)
                self._begin(order.id, self._host.clock.now() + self._settings.order_timeout_s)
            await asyncio.sleep(_RESUME_EVERY_S)

    def ended(self, order_id: str, state: OrderState, failure: Failure | None) -> None:
        """Commit the end of a saga: its state, its event and its answer, in one transaction."""
        order = self._book.get(order_id)
        with self._host.store.transaction():
            self._book.end(order_id, state)
            ended = self._book.get(order_id)
            self._publish("order.confirmed" if state is OrderState.CONFIRMED else "order.cancelled", ended)
            answer = self._answer(ended, order, failure)
            if answer.status == 503:
                self._keys.forget(order.scope, order_id)
            else:
                self._keys.settle(order.scope, order_id, answer.status, answer.body)
        log.info("order %s: %s %s", order_id, state, ended.reason)
        if progress := self._progress.pop(order_id, None):
            progress.tell(answer)

    def stalled(self, order_id: str, retry_after_s: float) -> None:
        """Tell whoever waits that this will take a while."""
        if progress := self._progress.get(order_id):
            failure = Failure(reason="circuit_open", retry_after_s=retry_after_s)
            progress.tell(_not_now(failure, self._book.get(order_id).view()))

    def orders_of(self, user_id: str) -> list[Order]:
        """List a user's orders."""
        return list(self._book.of_user(user_id))

    def find(self, order_id: str) -> Order | None:
        """Give an order, or None."""
        try:
            return self._book.get(order_id)
        except KeyError:
            return None

    def _known(self, draft: Draft) -> Answer | str | None:
        claim = self._keys.look(draft.scope, draft.key, _print(draft))
        if claim is None:
            return None
        if claim.state is KeyState.CLASH:
            return Answer(status=422, body={"error": "key_reused", "detail": "this key came with another order before"})
        if claim.state is KeyState.DONE:
            return Answer(status=claim.status, body=claim.body or {}, replayed=True)
        return claim.ref

    def _take(self, draft: Draft) -> str:
        order_id = uuid.uuid4().hex
        order = Order(
            id=order_id, user_id=draft.user_id, items=draft.items, marker=draft.marker or order_id, scope=draft.scope,
            correlation_id=correlation.current(), carrier=self._host.telemetry.carrier(),
        )  # fmt: skip
        with self._host.store.transaction():
            if draft.key:
                self._keys.claim(draft.scope, draft.key, _print(draft), order_id)
            self._book.add(order)
            self._publish("order.created", order)
        log.info("order %s taken: %d", order_id, order.total_minor)
        return order_id

    def _begin(self, order_id: str, at_s: float) -> None:
        self._progress[order_id] = _Progress()
        self._host.background.start(f"saga {order_id}", lambda: self._drive(order_id, at_s))

    async def _drive(self, order_id: str, at_s: float) -> None:
        order = self._book.get(order_id)
        # The saga is this service's own work: it goes on when its caller has gone.
        with (
            deadline.bound(math.inf),
            self._host.telemetry.span("saga", carrier=order.carrier, attributes={"saga.id": order_id}),
        ):
            try:
                await self._saga.run(order_id, at_s)
            except Exception as wrong:
                log.exception("the saga of order %s broke", order_id)
                if progress := self._progress.pop(order_id, None):
                    progress.tell(
                        Answer(
                            status=500,
                            body={"error": type(wrong).__name__, "detail": str(wrong), "data": {"id": order_id}},
                        )
                    )

    async def _wait(self, order_id: str, at_s: float) -> Answer:
        progress = self._progress.get(order_id)
        if progress is not None:
            left_s = at_s - self._host.clock.now()
            try:
                return await asyncio.wait_for(
                    asyncio.shield(progress.told), None if left_s == math.inf else max(left_s, 0.0)
                )
            except TimeoutError:
                pass
        order = self._book.get(order_id)
        return Answer(
            status=503,
            body={"error": "pending", "detail": "the order's outcome is not known yet", "data": order.view()},
        )

    def _answer(self, order: Order, before: Order, failure: Failure | None) -> Answer:
        if order.state is OrderState.CONFIRMED:
            return Answer(status=201, body={"data": order.view()})
        assert failure is not None
        nothing_done = before.pay is Effect.NONE and (failure.reason == "circuit_open" or before.reserve is Effect.NONE)
        if failure.reason in _TRANSIENT and nothing_done:
            return _not_now(failure, order.view())
        return Answer(
            status=402 if failure.reason == "declined" else 409, body={"error": failure.reason, "data": order.view()}
        )

    def _publish(self, type_: str, order: Order) -> None:
        if self._publishes:
            payload = {
                "orderId": order.id,
                "userId": order.user_id,
                "total_minor": order.total_minor,
                "marker": order.marker,
            }
            self._outbox.add(CHANNEL, type_, order.id, payload)


def _print(draft: Draft) -> str:
    return fingerprint({"user": draft.user_id, "items": [item.view() for item in draft.items], "marker": draft.marker})


def _not_now(failure: Failure, view: Mapping[str, Any]) -> Answer:
    body = {"error": "unavailable", "detail": failure.reason, "data": dict(view) or None}
    return Answer(status=503, body=body, retry_after_s=max(1, math.ceil(failure.retry_after_s or 0.0)))
