"""The driver's HTTP clients: httpx, with every call recorded as an Op and marked with the test's identities."""

from __future__ import annotations

import dataclasses
import functools
import ssl
import threading
from collections.abc import Callable
from typing import Any

import httpx

from pytest_chaos.engine.clock import now_ns
from pytest_chaos.engine.identity import CallIdentity, Identities
from pytest_chaos.model.attempt import Outcome
from pytest_chaos.model.op import Op

_KEPT_BODY_BYTES = 4096
DEFAULT_TIMEOUT_S = 30.0


class OpLog:
    """The ops of one test, in the order of their invocation; safe from threads."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._ops: dict[str, Op] = {}
        self._lock = threading.Lock()

    def invoke(
        self,
        link: str,
        operation: str,
        *,
        correlation_id: str = "",
        trace_id: str = "",
        idempotency_key: str = "",
        request_body: str = "",
        deadline_s: float | None = None,
    ) -> tuple[CallIdentity, Op]:
        """Record that a call is about to be made; an identity that the test set itself (a header) wins."""
        identity = self._identities.next()
        op = Op(
            id=identity.op_id,
            link=link,
            operation=operation,
            invoked_ns=now_ns(),
            correlation_id=correlation_id or identity.correlation_id,
            trace_id=trace_id or identity.trace_id,
            idempotency_key=idempotency_key,
            request_body=request_body,
            deadline_s=deadline_s,
        )
        with self._lock:
            self._ops[op.id] = op
        return identity, op

    def complete(self, op: Op, outcome: Outcome, **known: Any) -> None:
        """Record how a call ended."""
        done = dataclasses.replace(op, completed_ns=now_ns(), outcome=outcome, **known)
        with self._lock:
            self._ops[op.id] = done

    def all(self) -> tuple[Op, ...]:
        """List every op so far."""
        with self._lock:
            return tuple(self._ops.values())

    @property
    def open(self) -> int:
        """How many calls have not returned."""
        return sum(op.completed_ns is None for op in self.all())


class _Recorder:
    """What the sync and the async client share: how a request becomes an Op."""

    def __init__(self, link: str, log: OpLog) -> None:
        self.link = link
        self.log = log

    def begin(self, request: httpx.Request) -> Op:
        sent = request.headers
        identity, op = self.log.invoke(
            self.link,
            f"{request.method} {request.url.path}",
            correlation_id=sent.get("x-correlation-id", ""),
            trace_id=_trace_id(sent.get("traceparent", "")),
            idempotency_key=sent.get("idempotency-key", ""),
            request_body=_text(request.read) if not request.headers.get("transfer-encoding") else "",
        )
        for name, value in identity.headers().items():
            sent.setdefault(name, value)
        return op

    def answered(self, op: Op, response: httpx.Response) -> None:
        status = response.status_code
        outcome: Outcome = "ok" if status < 400 else "fail" if status < 500 else "info"
        self.log.complete(
            op,
            outcome,
            status=status,
            response_headers=dict(response.headers),
            response_body=_text(lambda: response.content),
        )

    def broke(self, op: Op, error: Exception) -> None:
        # A connection that was never made cannot have had an effect; of anything later, nobody can say.
        outcome: Outcome = "fail" if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) else "info"
        self.log.complete(op, outcome, error=f"{type(error).__name__}: {error}")


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Give what TLS needs, made once: that takes longer than most calls, and hardly any callee here speaks TLS."""
    return httpx.create_ssl_context(trust_env=False)


class Client(httpx.Client):
    """An httpx client whose every call is an Op; redirects are not followed, proxies of the environment not used."""

    def __init__(self, address: str, link: str, log: OpLog, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(base_url=f"http://{address}", timeout=timeout_s, trust_env=False, verify=_trusted())
        self._recorder = _Recorder(link, log)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, recorded from before its first byte until its body was read."""
        op = self._recorder.begin(request)
        try:
            response = super().send(request, **options)
            response.read()
        except Exception as error:
            self._recorder.broke(op, error)
            raise
        self._recorder.answered(op, response)
        return response


class AsyncClient(httpx.AsyncClient):
    """The same for async tests."""

    def __init__(self, address: str, link: str, log: OpLog, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(base_url=f"http://{address}", timeout=timeout_s, trust_env=False, verify=_trusted())
        self._recorder = _Recorder(link, log)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, recorded from before its first byte until its body was read."""
        op = self._recorder.begin(request)
        try:
            response = await super().send(request, **options)
            await response.aread()
        except Exception as error:
            self._recorder.broke(op, error)
            raise
        self._recorder.answered(op, response)
        return response


def _text(read: Callable[[], bytes]) -> str:
    try:
        return read()[:_KEPT_BODY_BYTES].decode("utf-8", "replace")
    except httpx.StreamError:
        return ""


def _trace_id(traceparent: str) -> str:
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 else ""
