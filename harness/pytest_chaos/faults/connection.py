"""Faults on connections: refused, reset, accepted and closed, slow to be made, closed early, half-open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import MOST, Between, OnRequests, bounded, catalogue, is_link, one_of
from pytest_chaos.model.fault import Action, ByteFault, WireRule


@catalogue.register("Refuse")
@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens on the link: new connections are refused, open ones are reset. Acts on the link whole.

    A refused connection leaves no trace but the kernel's RST. It is counted where wire may see packets (CAP_NET_RAW:
    root, and many CI containers) and, on the driver's own links, when a call of the driver says that it was refused.
    Elsewhere only the connections that it reset are known, and a test that depends on more is INCONCLUSIVE.
    """

    link: str

    def __post_init__(self) -> None:
        """Check the link."""
        is_link(self, self.link)

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return (WireRule(id=f"{fault_id}.1", fault=fault_id, link=self.link, kind="refuse"),)


@catalogue.register("AcceptClose")
@dataclass(frozen=True, slots=True)
class AcceptClose:
    """New connections are accepted and closed before a byte: what a dead upstream looks like behind a proxy."""

    link: str

    def __post_init__(self) -> None:
        """Check the link."""
        is_link(self, self.link)

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return (WireRule(id=f"{fault_id}.1", fault=fault_id, link=self.link, kind="accept_close"),)


@catalogue.register("SlowConnect")
@dataclass(frozen=True, slots=True)
class SlowConnect:
    """Connections are slow to be made, by ``ms`` milliseconds (1 to 600 000).

    ``at="accepted"``: each new connection is made at once and carries nothing for that long. ``at="handshake"``: no
    handshake completes until that long after the installation; a caller's kernel tries again after 1, 3, 7, ... s, so
    its ``connect`` returns up to that much later. Open connections are not touched.
    """

    link: str
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"ms": 100}, {"ms": 5000, "at": "handshake"})

    ms: Annotated[int, Between(1, 600_000, "ms")]
    at: Literal["accepted", "handshake"] = field(default="accepted", kw_only=True)

    def __post_init__(self) -> None:
        """Check link and range."""
        is_link(self, self.link)
        bounded(self, "ms", self.ms, 1, 600_000, unit="ms")
        one_of(self, "at", self.at, ("accepted", "handshake"))

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        kind = "hold_connect" if self.at == "handshake" else "slow_connect"
        return (WireRule(id=f"{fault_id}.1", fault=fault_id, link=self.link, kind=kind, params={"ms": self.ms}),)


@catalogue.register("ResetConnections")
@dataclass(frozen=True, slots=True)
class ResetConnections:
    """Connections are reset with RST at both ends, seen as ECONNRESET.

    ``which``: those that are ``"open"`` at the installation, ``"new"`` ones as soon as they are accepted, or
    ``"both"``.
    """

    link: str
    which: Literal["open", "new", "both"] = field(default="both", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        is_link(self, self.link)
        one_of(self, "which", self.which, ("open", "new", "both"))

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        params = {"which": self.which}
        return (WireRule(id=f"{fault_id}.1", fault=fault_id, link=self.link, kind="reset_connections", params=params),)


@catalogue.register("CloseAfter")
@dataclass(frozen=True, slots=True)
class CloseAfter:
    """Each connection is closed (FIN) after ``ms`` ms (1 to 600 000), ``bytes`` bytes (1 to 2 GiB) or ``requests``.

    Give one of the three. All count from the installation, for a later connection from its beginning; ``bytes`` counts
    what the callee answers, ``requests`` (1 to 1 000 000) those that have ended, whatever their protocol.
    """

    link: str
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"ms": 200}, {"bytes": 20}, {"requests": 1})

    ms: Annotated[int, Between(1, 600_000, "ms")] | None = field(default=None, kw_only=True)
    bytes: Annotated[int, Between(1, 2**31, "bytes")] | None = field(default=None, kw_only=True)
    requests: Annotated[int, Between(1, MOST)] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        is_link(self, self.link)
        given: dict[str, object] = {name: value for name, value in self._limits.items() if value is not None}
        if len(given) != 1:
            msg = f"CloseAfter: {', '.join(given) or 'nothing'}: give one of ms, bytes and requests"
            raise FaultError(msg)
        for name, value in given.items():
            high = {"ms": 600_000, "bytes": 2**31, "requests": 1_000_000}[name]
            if not isinstance(value, int):
                msg = f"CloseAfter: {name}={value!r}: must be a whole number from 1 to {high}"
                raise FaultError(msg)
            bounded(self, name, value, 1, high)

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to a byte fault or one wire rule."""
        name = f"{fault_id}.1"
        if self.requests is not None:
            kind, params = "close_after_requests", {"requests": self.requests}
            return (WireRule(id=name, fault=fault_id, link=self.link, kind=kind, params=params),)
        toxic, attributes = ("close_after", {"ms": self.ms}) if self.bytes is None else ("limit_data", self._bytes)
        return (ByteFault(id=name, fault=fault_id, link=self.link, toxic=toxic, attributes=attributes),)

    @property
    def _limits(self) -> dict[str, int | None]:
        return {"ms": self.ms, "bytes": self.bytes, "requests": self.requests}

    @property
    def _bytes(self) -> dict[str, int | None]:
        return {"bytes": self.bytes}


@catalogue.register("HalfOpen")
@dataclass(frozen=True, slots=True)
class HalfOpen:
    """On the connections that are open at the installation one peer has vanished, and the other is not told.

    ``gone`` says which: ``"callee"`` or ``"caller"``; its own socket is reset. What the other one sends gets no answer
    (``then="silence"``: no machine there) or RST (``then="reset"``: it has restarted). New connections work. Lifting
    the fault resets what it left behind. Wire carries it out on every link.
    """

    link: str
    gone: Literal["callee", "caller"] = field(default="callee", kw_only=True)
    then: Literal["silence", "reset"] = field(default="silence", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        is_link(self, self.link)
        one_of(self, "gone", self.gone, ("callee", "caller"))
        one_of(self, "then", self.then, ("silence", "reset"))

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to a byte fault on what the one that is left sends."""
        return (
            ByteFault(
                id=f"{fault_id}.1",
                fault=fault_id,
                link=self.link,
                toxic="half_open",
                stream="upstream" if self.gone == "callee" else "downstream",
                attributes={"then": self.then},
            ),
        )


@catalogue.register("Reset")
@dataclass(frozen=True, slots=True)
class Reset(OnRequests):
    """The request's connection (HTTP/2: its stream) is reset.

    ``at="request"``: before a byte was forwarded, so the callee certainly did nothing; ``at="response"``: as its
    answer begins, so the callee did its work.
    """

    at: Literal["request", "response"] = field(default="request", kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "reset", {"at": self.at})
