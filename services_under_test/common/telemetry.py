"""Tracing as the services use it; without an OTLP endpoint in the environment it does nothing and loads nothing."""

# ruff: noqa: ARG002 - the base does nothing with what it is given

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from services_under_test.common.env import Env

if TYPE_CHECKING:
    import httpx

Kind = Literal["internal", "consumer", "producer"]


class Mark:
    """A span in hand, or nothing."""

    def set(self, name: str, value: str | int) -> None:
        """Set an attribute."""

    def failed(self, reason: str) -> None:
        """Mark the span as failed."""


class Telemetry:
    """No tracing; the base of what does trace."""

    def carrier(self) -> dict[str, str]:
        """Give traceparent and baggage of the work in hand, to be stored with work that is done later."""
        return {}

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        carrier: Mapping[str, str] | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Iterator[Mark]:
        """Cover a block; ``carrier`` is the context of what caused it, which becomes its parent and is linked."""
        yield Mark()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Make no spans in a block: polls are not work."""
        yield

    def wrap_app(self, app: Any, route_of: Callable[[Mapping[str, Any]], str]) -> Any:
        """Cover an ASGI application with server spans; ``route_of`` gives a scope's route."""
        return app

    def http_client(self, client: httpx.AsyncClient, attempt: Callable[[], int]) -> None:
        """Cover a client's requests; ``attempt`` tells the number of the attempt in hand, 0 for the first."""

    def rpc_client(self) -> Sequence[Any]:
        """Give gRPC client interceptors."""
        return ()

    def rpc_server(self) -> Sequence[Any]:
        """Give gRPC server interceptors."""
        return ()

    def broker(self, library: Literal["aio_pika", "aiokafka", "redis"]) -> None:
        """Cover a broker's client library."""

    def warm_up(self) -> None:
        """Load what only the first export needs; called in a thread, after the service is ready."""

    def shut_down(self) -> None:
        """Send what is left, for at most two seconds."""


def set_up(service: str, env: Env) -> Telemetry:
    """Give tracing when ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or its ``_TRACES_`` form) is set."""
    if not (env.text("OTEL_EXPORTER_OTLP_ENDPOINT") or env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return Telemetry()
    # Read at the instrumentations' first import: without it half of the attributes have their old names.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    from services_under_test.common.otel import OpenTelemetry  # noqa: PLC0415 - loaded only when there is somewhere to send to

    return OpenTelemetry(service)
