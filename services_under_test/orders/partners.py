"""The two services that a saga calls.

Payments behind a breaker inside a retry inside a deadline, inventory over gRPC.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from protos import inventory_pb2, inventory_pb2_grpc
from services_under_test.common import retry, rpc
from services_under_test.common.breaker import Breaker
from services_under_test.common.http_client import HttpClient, attempt_number
from services_under_test.common.outcome import Effect, Outcome
from services_under_test.common.retry import RetryPolicy
from services_under_test.common.runner import Host
from services_under_test.orders.book import Order


class Payments:
    """Charges and refunds by order id, so that each may be repeated.

    One breaker guards the callee as a whole: it is one process, and what keeps charges from it must keep refunds from
    it too.
    """

    def __init__(self, host: Host, client: HttpClient, policy: RetryPolicy, breaker: Breaker) -> None:
        self._host = host
        self._client = client
        self._policy = policy
        self.breaker = breaker

    async def charge(self, order: Order, deadline_at_s: float) -> Outcome:
        """Charge the order's total, trying as often as the policy allows until the deadline (monotonic seconds)."""
        now_s = self._host.clock.now()
        return await retry.run(
            lambda number, left_s: self._attempt(number, left_s, "/payments", order, f"charge-{order.id}"),
            self._policy,
            retryable=self._host.strategies.retryable,
            deadline_at_s=self._host.strategies.deadline_at(min(now_s + self._policy.total_timeout_s, deadline_at_s)),
            clock=self._host.clock,
            rng=self._host.rng,
        )

    async def refund_once(self, order: Order, number: int) -> Outcome:
        """Try to give the order's total back; ``number`` counts the tries, 0 for the first."""
        return await self._attempt(
            number, self._policy.attempt_timeout_s, "/payments/refunds", order, f"refund-{order.id}"
        )

    async def _attempt(self, number: int, timeout_s: float, path: str, order: Order, key: str) -> Outcome:
        if timeout_s <= 0:
            return Outcome(code="timeout", effect=Effect.NONE, detail="no time was left")
        permit = self.breaker.acquire()
        if permit is None:
            return Outcome(
                code="breaker",
                effect=Effect.NONE,
                retry_after_s=self.breaker.retry_after_s(),
                detail="the circuit is open",
            )
        payload = {"orderId": order.id, "amount_minor": order.total_minor}
        try:
            with attempt_number(number):
                outcome = await self._client.send("POST", path, payload=payload, key=key, timeout_s=timeout_s)
        except BaseException:
            self.breaker.neutral(permit)
            raise
        if outcome.ok:
            self.breaker.succeeded(permit)
        elif outcome.fault_of_callee:
            self.breaker.failed(permit)
        else:
            self.breaker.neutral(permit)
        return outcome


class Inventory:
    """Reserve, confirm and release by order id, each with a deadline."""

    def __init__(self, host: Host, stub: inventory_pb2_grpc.InventoryServiceStub, policy: RetryPolicy) -> None:
        self._host = host
        self._stub = stub
        self._policy = policy

    async def reserve(self, order: Order, deadline_at_s: float) -> Outcome:
        """Hold the order's items."""
        items = [inventory_pb2.Item(product_id=item.product_id, quantity=item.quantity) for item in order.items]
        request = inventory_pb2.ReserveRequest(order_id=order.id, items=items)
        return await self._retried(
            lambda left_s: self._call(self._stub.Reserve, request, left_s, f"reserve-{order.id}"), deadline_at_s
        )

    async def confirm(self, order: Order, deadline_at_s: float) -> Outcome:
        """Turn the reservation into a sale."""
        request = inventory_pb2.OrderRequest(order_id=order.id)
        return await self._retried(
            lambda left_s: self._call(self._stub.Confirm, request, left_s, f"confirm-{order.id}"), deadline_at_s
        )

    async def release_once(self, order: Order) -> Outcome:
        """Try to give back what the order holds."""
        request = inventory_pb2.OrderRequest(order_id=order.id)
        return await self._call(self._stub.Release, request, self._policy.attempt_timeout_s, f"release-{order.id}")

    async def _retried(self, attempt: Callable[[float], Awaitable[Outcome]], deadline_at_s: float) -> Outcome:
        return await retry.run(
            lambda _, left_s: attempt(left_s),
            self._policy,
            retryable=self._host.strategies.retryable,
            deadline_at_s=self._host.strategies.deadline_at(
                min(self._host.clock.now() + self._policy.total_timeout_s, deadline_at_s)
            ),
            clock=self._host.clock,
            rng=self._host.rng,
        )

    async def _call(self, method: Any, request: Any, left_s: float, key: str) -> Outcome:
        if left_s <= 0:
            return Outcome(code="timeout", effect=Effect.NONE, detail="no time was left")
        return await rpc.call(method, request, timeout_s=left_s, strategies=self._host.strategies, key=key)
