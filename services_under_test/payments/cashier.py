"""Charging and refunding at the acquirer, one order at a time, with every outcome taken for what it is.

The acquirer deduplicates by key, so an unknown charge is resolved by sending the very same charge again. That is also
how an unknown charge is refunded: first it is made certain, then it is given back; a refund of what never happened
would cost the acquirer's money.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from services_under_test.common import correlation, deadline
from services_under_test.common.http_app import Refused
from services_under_test.common.http_client import HttpClient
from services_under_test.common.idempotency import Keys
from services_under_test.common.outcome import Effect, Outcome
from services_under_test.common.store import Store
from services_under_test.payments.ledger import Charge, ChargeState, Ledger, RefundState

log = logging.getLogger(__name__)
CHARGE_SCOPE = "POST /payments"
_UNKNOWN_STATUS = 504
_AWAY_STATUS = 503


class Cashier:
    """Moves money. Every public method may raise Refused: 503 and 504 mean "ask again with the same key"."""

    def __init__(self, *, store: Store, keys: Keys, ledger: Ledger, acquirer: HttpClient, timeout_s: float) -> None:
        self._store = store
        self._keys = keys
        self._ledger = ledger
        self._acquirer = acquirer
        self._timeout_s = timeout_s
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone_with(self, order_id: str) -> AsyncIterator[None]:
        """Keep everybody else off an order's money.

        Refused with 503 when the caller's time is over before it is free.
        """
        lock = self._locks.setdefault(order_id, asyncio.Lock())
        left_s = deadline.current() - time.monotonic()
        try:
            async with asyncio.timeout(None if left_s == float("inf") else left_s):
                await lock.acquire()
        except TimeoutError:
            raise Refused(_AWAY_STATUS, "busy", "another request for this order is not done yet") from None
        try:
            yield
        finally:
            lock.release()

    async def charge(self, order_id: str) -> Charge:
        """Carry out the order's pending charge, or learn how it went; give it as it ended: CHARGED or DECLINED."""
        charge = self._ledger.charge(order_id)
        assert charge is not None
        if charge.state is not ChargeState.PENDING:
            return charge
        self._ledger.mark_sent(order_id, sent=True, now_s=time.time())
        outcome = await self._acquirer.send(
            "POST",
            "/charges",
            payload={"orderId": order_id, "amount_minor": charge.amount_minor},
            key=f"charge-{order_id}",
            timeout_s=self._timeout_s,
        )
        if not outcome.ok and not outcome.refused:
            if outcome.effect is Effect.NONE and not charge.sent:
                self._ledger.mark_sent(order_id, sent=False, now_s=time.time())
            raise _unanswered("charge", outcome)
        with self._store.transaction():
            self._ledger.end_charge(
                order_id, ChargeState.CHARGED if outcome.ok else ChargeState.DECLINED, str(outcome.body.get("id", ""))
            )
            ended = self._ledger.charge(order_id)
            assert ended is not None
            self._settle(ended)
        log.info("charge of %s for order %s: %s", ended.amount_minor, order_id, ended.state)
        return ended

    async def refund(self, order_id: str, amount_minor: int) -> RefundState:
        """Give an order's money back, if there is any to give; from then on no charge for the order is accepted."""
        done = self._ledger.refund_state(order_id)
        if done in (RefundState.REFUNDED, RefundState.EMPTY):
            return done
        charge = self._ledger.charge(order_id)
        if charge is not None and charge.state is ChargeState.PENDING and charge.sent:
            charge = await self.charge(order_id)
        if charge is None or charge.state is not ChargeState.CHARGED:
            self._fence(order_id, amount_minor, charge)
            return RefundState.EMPTY
        if amount_minor != charge.amount_minor:
            raise Refused(422, "amount", f"the charge was of {charge.amount_minor}, not {amount_minor}")
        self._put(order_id, amount_minor, RefundState.PENDING)
        outcome = await self._acquirer.send(
            "POST",
            "/refunds",
            payload={"orderId": order_id, "amount_minor": amount_minor},
            key=f"refund-{order_id}",
            timeout_s=self._timeout_s,
        )
        if not outcome.ok:
            raise _unanswered("refund", outcome)
        self._put(order_id, amount_minor, RefundState.REFUNDED)
        log.info("refunded %s of order %s", amount_minor, order_id)
        return RefundState.REFUNDED

    async def resolve(self, *, older_than_s: float) -> None:
        """Find out about every charge and refund that was left in the air for so long.

        What stays unknown is asked again later.
        """
        before_s = time.time() - older_than_s
        for charge in self._ledger.unresolved(before_s):
            await self._resolve(charge.order_id, charge.correlation_id, None)
        for order_id, amount_minor, correlation_id in self._ledger.unfinished_refunds(before_s):
            await self._resolve(order_id, correlation_id, amount_minor)

    async def _resolve(self, order_id: str, correlation_id: str, refund_minor: int | None) -> None:
        with correlation.bound(correlation_id):
            try:
                async with self.alone_with(order_id):
                    if refund_minor is None:
                        await self.charge(order_id)
                    else:
                        await self.refund(order_id, refund_minor)
            except Refused as wrong:
                log.warning("order %s is still in the air: %s", order_id, wrong)

    def _fence(self, order_id: str, amount_minor: int, charge: Charge | None) -> None:
        with self._store.transaction():
            if charge is None:
                self._ledger.begin_charge(
                    order_id, amount_minor, ChargeState.CANCELLED, correlation.current(), time.time()
                )
            elif charge.state is ChargeState.PENDING:
                self._ledger.end_charge(order_id, ChargeState.CANCELLED)
                cancelled = self._ledger.charge(order_id)
                assert cancelled is not None
                self._settle(cancelled)
            self._ledger.put_refund(order_id, amount_minor, RefundState.EMPTY, correlation.current(), time.time())

    def _put(self, order_id: str, amount_minor: int, state: RefundState) -> None:
        self._ledger.put_refund(order_id, amount_minor, state, correlation.current(), time.time())

    def _settle(self, charge: Charge) -> None:
        status, body = answer(charge)
        self._keys.settle(CHARGE_SCOPE, charge.order_id, status, body)


def answer(charge: Charge) -> tuple[int, dict[str, object]]:
    """Give status and body for a charge that has ended."""
    if charge.state is ChargeState.CHARGED:
        return 201, charge.view()
    if charge.state is ChargeState.DECLINED:
        return 402, {"error": "declined", **charge.view()}
    return 409, {
        "error": "cancelled",
        "detail": "the order's payment was given up before this request came",
        **charge.view(),
    }


def _unanswered(what: str, outcome: Outcome) -> Refused:
    status = _AWAY_STATUS if outcome.effect is Effect.NONE else _UNKNOWN_STATUS
    return Refused(
        status, "acquirer", f"the {what} got no answer from the acquirer: {outcome.code} {outcome.detail}".rstrip()
    )
