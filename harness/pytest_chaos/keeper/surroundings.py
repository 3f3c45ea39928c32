"""What a node needs of its stack: a start that is resolved, and links that open and close with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pytest_chaos.model.plan import ReadySpec
from pytest_chaos.runtimes.base import NodeRun

if TYPE_CHECKING:
    from pytest_chaos.keeper.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that one start needs. ``upstreams`` maps the links into the node to where they lead (``host:port``)."""

    run: NodeRun
    ready: ReadySpec
    ready_port: str = ""
    upstreams: dict[str, str] = field(default_factory=dict)


class Surroundings(Protocol):
    """What a node needs of its stack."""

    async def launch(self, node: Node) -> Launch:
        """Resolve the node's command, environment and ports for a start now."""

    def forget_ports(self, node: Node) -> None:
        """Let the node's next start have other ports."""

    async def connect_links(self, node: Node, launch: Launch) -> None:
        """Open the links into the node, which is ready."""

    async def cut_links(self, node: Node) -> None:
        """Close the links into the node; true when this returns."""

    async def wipe_data(self, node: Node) -> None:
        """Remove the data of the node, which does not run."""
