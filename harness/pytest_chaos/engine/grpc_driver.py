"""The driver's gRPC channel: every unary call recorded as an Op, with the identities in its metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from pytest_chaos.engine.driver import OpLog
from pytest_chaos.model.attempt import Outcome

# Refused before any work: gRPC's own table of codes says that these are never the answer of a handler that did
# something.
_NEVER_RAN = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED})
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
)


def recording_channel(address: str, link: str, log: OpLog) -> grpc.Channel:
    """Open a channel of its own connection to a link's address."""
    return grpc.intercept_channel(grpc.insecure_channel(address, options=list(_OPTIONS)), _Recorder(link, log))


class _Recorder(grpc.UnaryUnaryClientInterceptor[Any, Any]):
    def __init__(self, link: str, log: OpLog) -> None:
        self._link = link
        self._log = log

    def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Any],
        client_call_details: Any,
        request: Any,
    ) -> Any:
        method = client_call_details.method
        operation = method.decode() if isinstance(method, bytes) else str(method)
        given = {str(name).lower(): str(value) for name, value in client_call_details.metadata or ()}
        identity, op = self._log.invoke(
            self._link,
            operation,
            correlation_id=given.get("x-correlation-id", ""),
            idempotency_key=given.get("idempotency-key", ""),
            deadline_s=client_call_details.timeout,
        )
        metadata = [*(client_call_details.metadata or ())]
        metadata += [pair for pair in identity.headers().items() if pair[0] not in given]
        details = client_call_details._replace(metadata=metadata)
        call = continuation(details, request)
        call.add_done_callback(lambda done: self._ended(op, done))
        return call

    def _ended(self, op: Any, call: Any) -> None:
        code = call.code()
        outcome: Outcome = "ok" if code is grpc.StatusCode.OK else "fail" if code in _NEVER_RAN else "info"
        trailing = {str(name): str(value) for name, value in call.trailing_metadata() or ()}
        error = "" if code is grpc.StatusCode.OK else f"{code.name}: {call.details()}"
        self._log.complete(op, outcome, grpc_status=code.value[0], response_headers=trailing, error=error)
