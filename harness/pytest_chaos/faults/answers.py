"""Faults on answers: another status, none at all although the work was done, half of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import OnRequests, bounded, catalogue, one_of, when
from pytest_chaos.model.fault import Action, When

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


def _grpc_code(fault: object, code: int | str) -> int:
    """Give the number of a gRPC status; raise FaultError for a name or number that there is not, and for OK."""
    if isinstance(code, str) and code.upper() in _GRPC_CODES[1:]:
        return _GRPC_CODES.index(code.upper())
    if isinstance(code, int) and not isinstance(code, bool) and 1 <= code < len(_GRPC_CODES):
        return code
    msg = f"{type(fault).__name__}: code={code!r}: must be 1 to 16 or one of {', '.join(_GRPC_CODES[1:])}"
    raise FaultError(msg)


def _status_params(code: int, body: object, answer_headers: dict[str, str], *, forward: bool) -> dict[str, Any]:
    params: dict[str, Any] = {"code": code}
    if body is not None:
        params["body"] = body
    if answer_headers:
        params["headers"] = dict(answer_headers)
    if forward:
        params["forward"] = True
    return params


@catalogue.register("Status")
@dataclass(frozen=True, slots=True)
class Status(OnRequests):
    """The caller is given this HTTP status (200 to 599) in place of the callee's.

    ``forward`` False: the callee is never asked; True: it does its work, and its answer is replaced.
    ``answer_headers`` are the answer's (for example ``{"Retry-After": "2"}``); ``body`` is text, or anything that
    JSON can hold.
    """

    code: int
    body: Any = field(default=None, kw_only=True)
    answer_headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    forward: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "code", self.code, 200, 599)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(
            fault_id, "status", _status_params(self.code, self.body, self.answer_headers, forward=self.forward)
        )


@catalogue.register("GrpcStatus")
@dataclass(frozen=True, slots=True)
class GrpcStatus(OnRequests):
    """The caller is given this gRPC status, by name or number (1 to 16); the callee is never asked."""

    code: int | str
    message: str = field(default="injected by pytest-chaos", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        _grpc_code(self, self.code)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "grpc_status", {"code": _grpc_code(self, self.code), "message": self.message})


@dataclass(frozen=True, slots=True)
class _Failing(OnRequests):
    status: int | None = field(default=None, kw_only=True)
    grpc: int | str | None = field(default=None, kw_only=True)
    body: Any = field(default=None, kw_only=True)
    answer_headers: dict[str, str] = field(default_factory=dict, kw_only=True)

    def _check_answer(self) -> None:
        if self.status is not None and self.grpc is not None:
            msg = f"{type(self).__name__}: status and grpc: give one of them"
            raise FaultError(msg)
        if (self.nth, self.first, self.every) != ((), None, None):
            msg = (
                f"{type(self).__name__}: nth, first, every: this fault already says which requests are hit; use "
                "Status for them"
            )
            raise FaultError(msg)
        bounded(self, "status", self.status, 200, 599)
        if self.grpc is not None:
            _grpc_code(self, self.grpc)

    def _fail(self, fault_id: str, hits: When) -> tuple[Action, ...]:
        if self.grpc is not None:
            return self.rule(fault_id, "grpc_status", {"code": _grpc_code(self, self.grpc)}, hits=hits)
        code = 503 if self.status is None else self.status
        return self.rule(
            fault_id, "status", _status_params(code, self.body, self.answer_headers, forward=False), hits=hits
        )


@catalogue.register("FailFirst")
@dataclass(frozen=True, slots=True)
class FailFirst(_Failing):
    """The first ``n`` matching requests fail with ``status`` (503 unless told) or gRPC status ``grpc``, unforwarded."""

    n: int

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        self._check_answer()
        bounded(self, "n", self.n, 1, 1_000_000)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self._fail(fault_id, When(first=self.n))


@catalogue.register("FailKth")
@dataclass(frozen=True, slots=True)
class FailKth(_Failing):
    """The ``k``-th matching request (or each of a tuple of them) fails as in :class:`FailFirst`."""

    k: int | tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        self._check_answer()
        when(self, self.k, None, None)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self._fail(fault_id, when(self, self.k, None, None))


@catalogue.register("AnswerLost")
@dataclass(frozen=True, slots=True)
class AnswerLost(OnRequests):
    """The callee gets the whole request and does its work; its answer never reaches the caller.

    ``how``: the connection (HTTP/2: the stream) is ``reset`` or closed (``close``) in place of the answer, or stays
    open and silent (``hang``) until the caller gives up or the fault is lifted.
    """

    how: Literal["reset", "close", "hang"] = field(default="reset", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        one_of(self, "how", self.how, ("reset", "close", "hang"))

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "answer_lost", {"how": self.how})


@catalogue.register("Truncate")
@dataclass(frozen=True, slots=True)
class Truncate(OnRequests):
    """The answer is cut off after ``bytes`` bytes of it (0 to 16 MiB), and the connection closed."""

    bytes: int

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "bytes", self.bytes, 0, 16 * 2**20)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "truncate", {"bytes": self.bytes})
