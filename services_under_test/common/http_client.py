"""HTTP calls between services.

A time-out over the whole attempt, the ids that travel, and an outcome instead of exceptions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from services_under_test.common import correlation, deadline
from services_under_test.common.outcome import Effect, Outcome, of_status
from services_under_test.common.strategies import Strategies
from services_under_test.common.telemetry import Telemetry


def _load_httpx() -> Any:
    """Import httpx without its command line, whose rich terminal output costs a third of a service's start."""
    hidden = "httpx._main" not in sys.modules and "httpx" not in sys.modules
    if hidden:
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
    import httpx  # noqa: PLC0415

    if hidden:
        del sys.modules["httpx._main"]
    return httpx


httpx = _load_httpx()

# Shorter than the servers' 75 s, so that an idle connection is never used in the moment in which its server closes it.
_IDLE_S = 20.0
_attempt: ContextVar[int] = ContextVar("attempt", default=0)


@contextmanager
def attempt_number(number: int) -> Iterator[None]:
    """Tell the client's span which attempt of an operation it is, 0 for the first."""
    token = _attempt.set(number)
    try:
        yield
    finally:
        _attempt.reset(token)


class HttpClient:
    """Calls one callee. Proxies of the environment are not used.

    Connections are kept alive; nothing is ever re-sent by itself.
    """

    def __init__(self, base_url: str, *, strategies: Strategies, telemetry: Telemetry) -> None:
        self._strategies = strategies
        self._client = httpx.AsyncClient(
            base_url=base_url,
            trust_env=False,
            timeout=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=_IDLE_S),
        )
        telemetry.http_client(self._client, _attempt.get)

    async def send(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float | None,
        payload: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Outcome:
        """Make one attempt of at most ``timeout_s`` seconds, from connecting to the last byte of the answer."""
        left_s = deadline.current() - time.monotonic()
        within_s = left_s if timeout_s is None else min(timeout_s, left_s)
        if within_s <= 0:
            return Outcome(code="timeout", effect=Effect.NONE, detail="no time was left")
        bounded = None if within_s == float("inf") else within_s
        try:
            async with asyncio.timeout(bounded):
                answer = await self._client.request(
                    method,
                    path,
                    content=None if payload is None else json.dumps(payload),
                    headers=self._headers(bounded, key),
                )
        except TimeoutError:
            return Outcome(code="timeout", effect=Effect.UNKNOWN, detail=f"no answer within {within_s:.3f} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as wrong:
            return Outcome(code="connect", effect=Effect.NONE, detail=str(wrong))
        except httpx.RequestError as wrong:
            return Outcome(code="broken", effect=Effect.UNKNOWN, detail=f"{type(wrong).__name__} {wrong}")
        return _judge(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _headers(self, timeout_s: float | None, key: str) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if correlation_id := self._strategies.outbound_correlation(correlation.current()):
            headers[correlation.HEADER] = correlation_id
        if timeout_s is not None:
            headers[deadline.HEADER] = str(max(1, int(timeout_s * 1000)))
        if key:
            headers["idempotency-key"] = key
        return headers


def _judge(answer: Any) -> Outcome:
    try:
        body = json.loads(answer.content) if answer.content else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        if answer.is_success:
            return Outcome(
                code="garbled",
                effect=Effect.UNKNOWN,
                status=answer.status_code,
                detail="the answer is not a JSON object",
            )
        body = {}
    return of_status(answer.status_code, body, retry_after_s=_retry_after_s(answer.headers.get("retry-after")))


def _retry_after_s(value: str | None) -> float | None:
    """Read Retry-After: seconds, or an HTTP date; anything else is as if it were absent."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
