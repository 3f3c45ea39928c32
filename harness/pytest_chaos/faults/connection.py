"""Faults on connections: refused, reset, accepted and closed, slow to be made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.faults import OnRequests, bounded, catalogue, is_link
from pytest_chaos.model.fault import Action, WireRule


@catalogue.register("Refuse")
@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens on the link: new connections are refused, open ones are reset. Acts on the link whole."""

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
    """New connections carry nothing for ``ms`` milliseconds (1 to 600 000) after they were made."""

    link: str
    ms: int

    def __post_init__(self) -> None:
        """Check link and range."""
        is_link(self, self.link)
        bounded(self, "ms", self.ms, 1, 600_000, unit="ms")

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return (
            WireRule(id=f"{fault_id}.1", fault=fault_id, link=self.link, kind="slow_connect", params={"ms": self.ms}),
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
