"""Faults on answers: another status, none at all although the work was done, an end in the middle of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import MOST, Between, Count, OnRequests, catalogue, check_fields, when
from pytest_chaos.model.fault import DAY_S, Action, When

_GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_MESSAGE = "injected by pytest-chaos"
_StatusCode = Annotated[int, Between(200, 599)]
_RetryAfter = Annotated[int, Between(0, DAY_S, "s")]
_Pushback = Annotated[int, Between(-1, DAY_S * 1000, "ms (-1: do not retry)")]


def _grpc_code(fault: object, code: int | str) -> int:
    """Give the number of a gRPC status; raise FaultError for a name or number that there is not, and for OK."""
    if isinstance(code, str) and code.upper() in _GRPC_CODES[1:]:
        return _GRPC_CODES.index(code.upper())
    if isinstance(code, int) and not isinstance(code, bool) and 1 <= code < len(_GRPC_CODES):
        return code
    msg = f"{type(fault).__name__}: code={code!r}: must be 1 to 16 or one of {', '.join(_GRPC_CODES[1:])}"
    raise FaultError(msg)


def _status(
    code: int, body: object, answer_headers: dict[str, str], retry_after_s: int | None, *, forward: bool = False
) -> dict[str, Any]:
    headers = dict(answer_headers)
    if retry_after_s is not None:
        headers = {name: value for name, value in headers.items() if name.lower() != "retry-after"}
        headers["Retry-After"] = str(retry_after_s)
    params: dict[str, Any] = {"code": code, "body": body, "headers": headers, "forward": forward}
    return {name: value for name, value in params.items() if name == "code" or value not in (None, {}, False)}


def _grpc_status(code: int, message: str, pushback_ms: int | None, **more: Any) -> dict[str, Any]:
    params = {"code": code, "message": message, **more}
    return params if pushback_ms is None else {**params, "pushback_ms": pushback_ms}


@catalogue.register("Status")
@dataclass(frozen=True, slots=True)
class Status(OnRequests):
    """The caller is given this HTTP status (200 to 599) in place of the callee's.

    ``forward`` False: the callee is never asked; True: it does its work, and its answer is replaced.
    ``retry_after_s`` (0 to a day) asks the caller to wait (``Retry-After``); ``answer_headers`` are the answer's;
    ``body`` is text, or anything that JSON can hold.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"code": 503}, {"code": 503, "forward": True})

    code: _StatusCode
    body: Any = field(default=None, kw_only=True)
    answer_headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    retry_after_s: _RetryAfter | None = field(default=None, kw_only=True)
    forward: bool = field(default=False, kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        params = _status(self.code, self.body, self.answer_headers, self.retry_after_s, forward=self.forward)
        return self.rule(fault_id, "status", params)


@catalogue.register("GrpcStatus")
@dataclass(frozen=True, slots=True)
class GrpcStatus(OnRequests):
    """The caller is given this gRPC status, by name or number (1 to 16), as an answer of trailers only.

    ``forward`` False: the callee is never asked; True: it does its work, and its answer is replaced. ``pushback_ms``
    (-1 to a day) tells the client when to retry, -1 not to (``grpc-retry-pushback-ms``).
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"code": "RESOURCE_EXHAUSTED"},
        {"code": "RESOURCE_EXHAUSTED", "forward": True},
    )

    code: int | str
    message: str = field(default=_MESSAGE, kw_only=True)
    pushback_ms: _Pushback | None = field(default=None, kw_only=True)
    forward: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        _grpc_code(self, self.code)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        more = {"forward": True} if self.forward else {}
        params = _grpc_status(_grpc_code(self, self.code), self.message, self.pushback_ms, **more)
        return self.rule(fault_id, "grpc_status", params)


@catalogue.register("AbortStream")
@dataclass(frozen=True, slots=True)
class AbortStream(OnRequests):
    """A gRPC call ends with this status in mid-stream: after ``messages`` messages of the answer (or of the request).

    Those messages have passed; what is behind them never does, and the callee sees the call cancelled. ``messages`` 0
    of the answer: its headers have passed. A call with fewer messages is not hit.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"messages": 0},
        {"messages": 1},
        {"messages": 0, "of": "request"},
    )

    messages: Annotated[int, Between(0, MOST)]
    code: int | str = field(default="UNAVAILABLE", kw_only=True)
    message: str = field(default=_MESSAGE, kw_only=True)
    of: Literal["request", "response"] = field(default="response", kw_only=True)
    pushback_ms: _Pushback | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        _grpc_code(self, self.code)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        params = _grpc_status(
            _grpc_code(self, self.code), self.message, self.pushback_ms, messages=self.messages, at=self.of
        )
        return self.rule(fault_id, "grpc_abort", params)


@dataclass(frozen=True, slots=True)
class _Failing(OnRequests):
    status: _StatusCode | None = field(default=None, kw_only=True)
    grpc: int | str | None = field(default=None, kw_only=True)
    body: Any = field(default=None, kw_only=True)
    answer_headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    retry_after_s: _RetryAfter | None = field(default=None, kw_only=True)
    pushback_ms: _Pushback | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_fields(self)
        name = type(self).__name__
        if self.status is not None and self.grpc is not None:
            msg = f"{name}: status and grpc: give one of them"
            raise FaultError(msg)
        if (self.nth, self.first, self.every) != ((), None, None):
            msg = f"{name}: nth, first, every: this fault already says which requests are hit; use Status for them"
            raise FaultError(msg)
        if self.pushback_ms is not None and self.grpc is None:
            msg = f"{name}: pushback_ms={self.pushback_ms}: is for gRPC; give grpc as well, or retry_after_s"
            raise FaultError(msg)
        if self.grpc is not None:
            _grpc_code(self, self.grpc)
        self._hits()

    def _hits(self) -> When:
        """Give which requests fail: all, unless the fault says more."""
        return self._when()

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        if self.grpc is not None:
            params = _grpc_status(_grpc_code(self, self.grpc), _MESSAGE, self.pushback_ms)
            return self.rule(fault_id, "grpc_status", params, hits=self._hits())
        code = 503 if self.status is None else self.status
        params = _status(code, self.body, self.answer_headers, self.retry_after_s)
        return self.rule(fault_id, "status", params, hits=self._hits())


@catalogue.register("FailFirst")
@dataclass(frozen=True, slots=True)
class FailFirst(_Failing):
    """The first ``n`` matching requests fail with ``status`` (503 unless told) or gRPC status ``grpc``, unforwarded.

    With ``per="op"``: the first ``n`` of each logical operation, so that a client that tries once more gets through.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"n": 1}, {"n": 1, "grpc": "RESOURCE_EXHAUSTED"})

    n: Count

    def _hits(self) -> When:
        return self._when(first=self.n)


@catalogue.register("FailKth")
@dataclass(frozen=True, slots=True)
class FailKth(_Failing):
    """The ``k``-th matching request (or each of a tuple of them) fails as in :class:`FailFirst`."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"k": 2},)

    k: int | tuple[int, ...]

    def _hits(self) -> When:
        when(self, self.k, None, None)
        return self._when(nth=self.k)


@catalogue.register("AnswerLost")
@dataclass(frozen=True, slots=True)
class AnswerLost(OnRequests):
    """The callee gets the whole request and does its work; its answer never reaches the caller.

    ``how``: the connection (HTTP/2: the stream) is ``reset`` or closed (``close``) in place of the answer, or stays
    open and silent (``hang``) until the caller gives up or the fault is lifted.
    """

    how: Literal["reset", "close", "hang"] = field(default="reset", kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "answer_lost", {"how": self.how})
