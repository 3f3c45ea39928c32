"""The laws of the saga after a crash: what an earlier process may have done is neither forgotten nor done again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services_under_test.common.env import Env
from services_under_test.common.outcome import Effect, Outcome, of_status
from services_under_test.common.runner import Host
from services_under_test.common.store import Store
from services_under_test.common.strategies import Strategies
from services_under_test.common.telemetry import Telemetry
from services_under_test.orders.book import Book, Item, Order, OrderState
from services_under_test.orders.saga import Failure, Saga
from services_under_test.orders.settings import Settings

OK = of_status(200, {})
OPEN = Outcome(code="breaker", effect=Effect.NONE, retry_after_s=0.0)
DECLINED = of_status(402, {})
GONE = Outcome(code="grpc:UNAVAILABLE", effect=Effect.UNKNOWN)


class Partners:
    """Payments and inventory by script, and the watcher."""

    def __init__(self, **outcomes: Outcome) -> None:
        self._outcomes = outcomes
        self.calls: list[str] = []
        self.end: tuple[OrderState, Failure | None] | None = None

    def _call(self, name: str) -> Outcome:
        self.calls.append(name)
        return self._outcomes.get(name, OK)

    async def charge(self, order: Order, deadline_at_s: float) -> Outcome:
        return self._call("charge")

    async def refund_once(self, order: Order, number: int) -> Outcome:
        return self._call("refund")

    async def reserve(self, order: Order, deadline_at_s: float) -> Outcome:
        return self._call("reserve")

    async def confirm(self, order: Order, deadline_at_s: float) -> Outcome:
        return self._call("confirm")

    async def release_once(self, order: Order) -> Outcome:
        return self._call("release")

    def ended(self, order_id: str, state: OrderState, failure: Failure | None) -> None:
        self.end = (state, failure)

    def stalled(self, order_id: str, retry_after_s: float) -> None:
        self.calls.append("stalled")


def resume(home: Path, effects: tuple[Effect, Effect], **outcomes: Outcome) -> tuple[list[str], OrderState]:
    env = Env({})
    host = Host(name="orders", env=env, store=Store(home / "o.db"), strategies=Strategies(), telemetry=Telemetry())
    book, partners = Book(host.store), Partners(**outcomes)
    items = (Item(product_id="book", quantity=1, price_minor=5),)
    book.add(Order(id="o", user_id="u", items=items, marker="m", scope="s", correlation_id="c", carrier={}))
    book.note("o", "reserve", effects[0])
    book.note("o", "pay", effects[1])
    saga = Saga(host, Settings.from_env(env), book, partners, partners, partners)  # type: ignore[arg-type]
    asyncio.run(saga.run("o", host.clock.now() + 5))
    assert partners.end is not None
    return partners.calls, partners.end[0]


@pytest.mark.parametrize("outcome", [OPEN, GONE, DECLINED, Outcome(code="connect", effect=Effect.NONE)])
def test_a_payment_that_an_earlier_process_may_have_made_is_refunded(tmp_path: Path, outcome: Outcome) -> None:
    calls, state = resume(tmp_path, (Effect.HAPPENED, Effect.UNKNOWN), charge=outcome)
    assert (calls, state) == (["charge", "refund", "release"], OrderState.COMPENSATED)


def test_a_payment_that_was_refused_needs_no_refund(tmp_path: Path) -> None:
    calls, _ = resume(tmp_path, (Effect.UNKNOWN, Effect.NONE), charge=DECLINED)
    assert calls == ["reserve", "charge", "release"]


def test_a_payment_is_refunded_though_the_reservation_is_what_fails_now(tmp_path: Path) -> None:
    calls, _ = resume(tmp_path, (Effect.UNKNOWN, Effect.UNKNOWN), reserve=GONE)
    assert calls == ["reserve", "refund", "release"]


def test_what_is_known_to_be_done_is_not_done_again(tmp_path: Path) -> None:
    calls, state = resume(tmp_path, (Effect.HAPPENED, Effect.HAPPENED))
    assert (calls, state) == (["confirm"], OrderState.CONFIRMED)


def test_a_first_payment_that_was_never_sent_needs_no_refund(tmp_path: Path) -> None:
    calls, _ = resume(tmp_path, (Effect.HAPPENED, Effect.NONE), charge=OPEN)
    assert calls == ["charge", "release"]
