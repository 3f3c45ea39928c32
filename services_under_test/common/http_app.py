"""The HTTP side of every service: health, ledgers, correlation id and deadline of each request, errors as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from services_under_test.common import correlation, deadline

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
Handler = Callable[[Request], Awaitable[JSONResponse]]
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]
_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """Ends a request with a 4xx or 5xx answer; ``more`` are further fields of its body."""

    def __init__(
        self, status: int, error: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(detail or error)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"error": error, "detail": detail, **more}


class _Ids:
    """Binds correlation id and deadline for a request, and puts the id on its answer, whatever the answer is."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        chosen = correlation.accept(_values(scope, correlation.HEADER))

        async def send_with_id(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), (correlation.HEADER.encode(), chosen.encode())],
                }
            await send(message)

        with correlation.bound(chosen), deadline.bound(deadline.accept(_values(scope, deadline.HEADER))):
            await self._app(scope, receive, send_with_id)


def build(
    routes: Sequence[Route], *, effects: Callable[[], Rows], lifespan: Lifespan
) -> tuple[Any, Callable[[Mapping[str, Any]], str]]:
    """Make the application, and the function that tells a request's route."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ledgers(_: Request) -> JSONResponse:
        return JSONResponse(effects())

    known = [*routes, Route("/health", health), Route("/effects", ledgers)]
    app = Starlette(
        routes=known,
        lifespan=lifespan,
        exception_handlers={Refused: _refused, HTTPException: _http_error, Exception: _broken},
    )

    def route_of(scope: Mapping[str, Any]) -> str:
        return next((route.path for route in known if route.matches(dict(scope))[0] is Match.FULL), "")

    return _Ids(app), route_of


async def json_object(request: Request) -> dict[str, Any]:
    """Read the request's body, which must be a JSON object; Refused with 400 otherwise."""
    try:
        payload = json.loads(await request.body())
    except ValueError as wrong:
        raise Refused(400, "bad_request", f"the body is not JSON: {wrong}") from None
    if not isinstance(payload, dict):
        raise Refused(400, "bad_request", "the body must be a JSON object")
    return payload


def text_field(payload: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """Give a text field; Refused with 400 when it is absent without a default, empty, or no text."""
    value = payload.get(name, default)
    if not isinstance(value, str) or (not value and default is None):
        raise Refused(400, "bad_request", f"{name}: expected a text that is not empty, got {value!r}")
    return value


def whole_field(payload: Mapping[str, Any], name: str, *, least: int) -> int:
    """Give a field that is a whole number; Refused with 400 otherwise."""
    value = payload.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Refused(400, "bad_request", f"{name}: expected a whole number of at least {least}, got {value!r}")
    return value


def idempotency_key(request: Request) -> str:
    """Give the request's Idempotency-Key, or the empty string.

    Refused with 400 when there are several or it is too long.
    """
    values = request.headers.getlist("idempotency-key")
    if len(values) > 1 or any(len(value) > 255 for value in values):
        raise Refused(400, "bad_request", "Idempotency-Key: expected one, of at most 255 characters")
    return values[0] if values else ""


def _values(scope: _Scope, name: str) -> list[str]:
    wanted = name.encode()
    return [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]


async def _refused(_: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, Refused)
    return JSONResponse(wrong.body, status_code=wrong.status, headers=wrong.headers)


async def _http_error(_: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, HTTPException)
    return JSONResponse({"error": "http", "detail": wrong.detail}, status_code=wrong.status_code, headers=wrong.headers)


async def _broken(request: Request, wrong: Exception) -> JSONResponse:
    log.error("%s %s broke: %s", request.method, request.url.path, wrong)
    return JSONResponse({"error": "internal", "detail": type(wrong).__name__}, status_code=500)
