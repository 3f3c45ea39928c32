"""gRPC between services.

The ids that travel as metadata, deadlines on every call, outcomes and refusals instead of status codes.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from services_under_test.common import correlation, deadline
from services_under_test.common.outcome import Effect, Outcome
from services_under_test.common.strategies import Strategies
from services_under_test.common.telemetry import Telemetry

_Self = TypeVar("_Self")
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_KEEPALIVE_MS = 10_000
_REFUSED_EFFECTS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class RpcRefused(Exception):  # noqa: N818 - a refusal is an answer
    """Ends a call with a status; ``metadata`` goes out with the trailers."""

    def __init__(self, code: grpc.StatusCode, detail: str, *metadata: tuple[str, str]) -> None:
        super().__init__(detail)
        self.code = code
        self.metadata = metadata


def channel(target: str, *, telemetry: Telemetry, reconnect_ms: int) -> grpc.aio.Channel:
    """Open a channel that re-sends nothing by itself.

    Uses no proxy, and reconnects about ``reconnect_ms`` after a failure.
    """
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", reconnect_ms),
        # Also the least time that a connect may take, hence not smaller.
        ("grpc.min_reconnect_backoff_ms", max(reconnect_ms, 1000)),
        ("grpc.max_reconnect_backoff_ms", max(reconnect_ms, 1000)),
        # A path that died without a word is noticed by a ping, not after the kernel's fifteen minutes.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 3000),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(target, options=options, interceptors=list(telemetry.rpc_client()))


def server(telemetry: Telemetry) -> grpc.aio.Server:
    """Make a server that shares its port with nobody and accepts the channel's keepalive."""
    options = [("grpc.so_reuseport", 0), ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_MS // 2)]
    return grpc.aio.server(interceptors=list(telemetry.rpc_server()), options=options)


async def call(method: Any, request: Any, *, timeout_s: float, strategies: Strategies, key: str) -> Outcome:
    """Make one attempt of a unary call; the reply is the body's ``reply``."""
    metadata = [("idempotency-key", key)]
    if correlation_id := strategies.outbound_correlation(correlation.current()):
        metadata.append((correlation.HEADER, correlation_id))
    try:
        reply = await method(request, timeout=strategies.rpc_timeout(timeout_s), metadata=metadata)
    except grpc.aio.AioRpcError as wrong:
        code = wrong.code()
        effect = Effect.NONE if code in _REFUSED_EFFECTS else Effect.UNKNOWN
        return Outcome(code=f"grpc:{code.name}", effect=effect, status=code.value[0], detail=wrong.details() or "")
    return Outcome(code="grpc:OK", effect=Effect.HAPPENED, body={"reply": reply})


_Method = Callable[[_Self, _Request, Any], Awaitable[_Reply]]


def served(method: _Method[_Self, _Request, _Reply]) -> _Method[_Self, _Request, _Reply]:
    """Bind correlation id and deadline for a servicer's method.

    Put the id on its answer, and turn RpcRefused into a status.
    """

    @functools.wraps(method)
    async def serve(self: _Self, request: _Request, context: Any) -> _Reply:
        chosen = correlation.accept(_values(context.invocation_metadata(), correlation.HEADER))
        mark = ((correlation.HEADER, chosen),)
        context.set_trailing_metadata(mark)
        with correlation.bound(chosen), deadline.bound(deadline.of_rpc(context.time_remaining())):
            try:
                reply = await method(self, request, context)
            except RpcRefused as refusal:
                await context.abort(refusal.code, str(refusal), (*mark, *refusal.metadata))
                raise
            await context.send_initial_metadata(mark)
            return reply

    return serve


def _values(metadata: Sequence[tuple[str, Any]] | None, name: str) -> list[str]:
    return [value for key, value in metadata or () if key == name and isinstance(value, str)]
