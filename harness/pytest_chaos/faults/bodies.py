"""Faults in answers' bodies and headers: cut short, of another length than said, of another make, a header changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, OnRequests, catalogue
from pytest_chaos.model.fault import Action

_LARGEST = 16 * 2**20
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"})
_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in to continue</h1></body></html>"
Bytes = Annotated[int, Between(0, _LARGEST)]


@catalogue.register("Truncate")
@dataclass(frozen=True, slots=True)
class Truncate(OnRequests):
    """The answer's body is cut off after ``bytes`` bytes (0 to 16 MiB).

    ``length="kept"``: the head still promises all of it, and the connection is closed; ``"adjusted"``: the head says
    what comes, so that only a reader of the body can tell that the rest is missing.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"bytes": 10}, {"bytes": 10, "length": "adjusted"})

    bytes: Bytes
    length: Literal["kept", "adjusted"] = field(default="kept", kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "truncate", {"bytes": self.bytes, "length": self.length})


@catalogue.register("WrongLength")
@dataclass(frozen=True, slots=True)
class WrongLength(OnRequests):
    """The answer's head says a ``Content-Length`` that is wrong by ``by`` bytes (-16 MiB to 16 MiB, not 0).

    More than there is: the connection is closed behind the body, and the caller has too little. Less: the caller
    takes what is said, and the rest stands in its way. Not for gRPC, which has lengths of its own.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"by": 10}, {"by": -10})

    by: Annotated[int, Between(-_LARGEST, _LARGEST, "bytes, and not 0")] = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        if not self.by:
            msg = f"WrongLength: by={self.by}: must not be 0, which is the right length"
            raise FaultError(msg)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "wrong_length", {"by": self.by})


@catalogue.register("ForeignBody")
@dataclass(frozen=True, slots=True)
class ForeignBody(OnRequests):
    """The caller is given a page of somebody else with status 200, as a captive portal or a proxy's sign-in gives it.

    ``forward`` False: the callee is never asked; True: it does its work, and its answer is replaced.
    """

    body: str = field(default=_PAGE, kw_only=True)
    content_type: str = field(default="text/html; charset=utf-8", kw_only=True)
    forward: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        _one_line(self, "content_type", self.content_type)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        params = {"code": 200, "body": self.body, "headers": {"Content-Type": self.content_type}}
        return self.rule(fault_id, "status", {**params, "forward": True} if self.forward else params)


@dataclass(frozen=True, slots=True)
class _OnHeader(OnRequests):
    name: str
    at: Literal["request", "response"] = field(default="request", kw_only=True)

    def __post_init__(self) -> None:
        OnRequests.__post_init__(self)
        if not _TOKEN.fullmatch(self.name) or self.name.lower() in _FRAMING:
            msg = (
                f"{type(self).__name__}: name={self.name!r}: must be a header's name, and none that frames the message "
                f"({', '.join(sorted(_FRAMING))}: use Truncate or WrongLength)"
            )
            raise FaultError(msg)


@catalogue.register("DropHeader")
@dataclass(frozen=True, slots=True)
class DropHeader(_OnHeader):
    """The header ``name`` of the request (or, ``at="response"``, of the answer) is left out on the way.

    A request without the header is not hit.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"name": "x-from"}, {"name": "x-work", "at": "response"})

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "header", {"name": self.name.lower(), "value": None, "at": self.at})


@catalogue.register("RewriteHeader")
@dataclass(frozen=True, slots=True)
class RewriteHeader(_OnHeader):
    """The header ``name`` of the request (or, ``at="response"``, of the answer) says ``value``; added where missing."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "x-from", "value": "nobody"},
        {"name": "x-work", "value": "none", "at": "response"},
    )

    value: str = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnHeader.__post_init__(self)
        _one_line(self, "value", self.value)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "header", {"name": self.name.lower(), "value": self.value, "at": self.at})


def _one_line(fault: object, name: str, value: str) -> None:
    if not value.isascii() or not value.isprintable():
        msg = f"{type(fault).__name__}: {name}={value!r:.80}: must be one line of printable ASCII"
        raise FaultError(msg)
