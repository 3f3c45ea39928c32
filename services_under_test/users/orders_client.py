"""What users asks of orders: a retry inside a deadline, and one key for one intent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services_under_test.common import retry
from services_under_test.common.deadline import current
from services_under_test.common.http_client import HttpClient, attempt_number
from services_under_test.common.outcome import Effect, Outcome
from services_under_test.common.retry import RetryPolicy
from services_under_test.common.runner import Host


class OrdersClient:
    """Calls orders. A POST is only repeated because every repetition carries the key that the intent was given once."""

    def __init__(self, host: Host, client: HttpClient, policy: RetryPolicy) -> None:
        self._host = host
        self._client = client
        self._policy = policy

    async def list_orders(self, user_id: str) -> Outcome:
        """Ask for a user's orders."""
        return await self._retried("GET", f"/api/orders/user/{user_id}", None, "")

    async def place_order(self, order: Mapping[str, Any], key: str) -> Outcome:
        """Place an order under a key that stays the same however often this is tried."""
        return await self._retried("POST", "/api/orders", order, self._host.strategies.order_key(key))

    async def _retried(self, method: str, path: str, payload: Mapping[str, Any] | None, key: str) -> Outcome:
        async def attempt(number: int, left_s: float) -> Outcome:
            if left_s <= 0:
                return Outcome(code="timeout", effect=Effect.NONE, detail="no time was left")
            with attempt_number(number):
                return await self._client.send(method, path, payload=payload, key=key, timeout_s=left_s)

        return await retry.run(
            attempt,
            self._policy,
            retryable=self._host.strategies.retryable,
            deadline_at_s=self._host.strategies.deadline_at(
                min(self._host.clock.now() + self._policy.total_timeout_s, current())
            ),
            clock=self._host.clock,
            rng=self._host.rng,
        )
