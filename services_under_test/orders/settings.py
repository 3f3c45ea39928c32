"""The numbers of the orders service; where one is not set, it follows from its siblings."""

from __future__ import annotations

from dataclasses import dataclass

from services_under_test.common.env import Env
from services_under_test.common.retry import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All times are seconds, but for ``reconnect_ms``.

    ``order_timeout_s`` bounds both how long a saga goes forward and how long its caller waits for the answer.
    """

    payments: RetryPolicy
    breaker_failures: int
    breaker_wait_s: float
    breaker_successes: int
    inventory: RetryPolicy
    reconnect_ms: int
    order_timeout_s: float
    undo_base_s: float
    undo_cap_s: float

    @classmethod
    def from_env(cls, env: Env) -> Settings:
        """Read the settings; the defaults are the numbers of a production service."""
        payments = RetryPolicy.from_env(env, "PAYMENTS")
        undo_base_s = env.seconds("COMPENSATION_BACKOFF_BASE_S", payments.backoff_base_s)
        return cls(
            payments=payments,
            breaker_failures=env.count("PAYMENTS_BREAKER_FAILURES", 5),
            breaker_wait_s=env.seconds("PAYMENTS_BREAKER_WAIT_S", 60.0),
            breaker_successes=env.count("PAYMENTS_BREAKER_SUCCESSES", 3),
            inventory=RetryPolicy(
                attempts=env.count("INVENTORY_ATTEMPTS", 4),
                backoff_base_s=env.seconds("INVENTORY_BACKOFF_BASE_S", payments.backoff_base_s),
                backoff_cap_s=env.seconds("INVENTORY_BACKOFF_CAP_S", payments.backoff_cap_s),
                attempt_timeout_s=env.seconds("INVENTORY_TIMEOUT_S", 5.0),
                total_timeout_s=env.seconds("INVENTORY_TOTAL_TIMEOUT_S", payments.total_timeout_s),
            ),
            reconnect_ms=env.count("GRPC_RECONNECT_BACKOFF_MS", 1000),
            order_timeout_s=env.seconds("ORDER_TIMEOUT_S", payments.total_timeout_s),
            undo_base_s=undo_base_s,
            undo_cap_s=env.seconds("COMPENSATION_BACKOFF_CAP_S", 10 * undo_base_s),
        )
