"""Toxiproxy behind wire on the links that the topology names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_chaos.errors import FaultError
from pytest_chaos.injectors.base import Step
from pytest_chaos.model.fault import ByteFault
from pytest_chaos.model.plan import StackSpec


class Toxics:
    """The byte-level engine of a stack."""

    async def start(self, spec: StackSpec, progress: Callable[[str], object]) -> dict[str, str]:
        """Start the engine when a link needs it; give what cannot be had, with how to get it."""
        return {}

    async def chain(self, upstreams: Mapping[str, str]) -> dict[str, str]:
        """Give where wire has to dial for each link: the callee, or the engine's port that leads there."""
        return dict(upstreams)

    def engines(self, spec: StackSpec) -> dict[str, str]:
        """Say which engine carries byte faults out on each link."""
        return {link.name: "wire" for link in spec.links}

    def step(self, fault: ByteFault) -> Step:
        """Give the reversible step of one toxic; raise FaultError when its link has no such engine."""
        where = f"Topology(..., toxiproxy=[{fault.link!r}])"
        msg = f"{fault.toxic} on {fault.link}: this link has no Toxiproxy; name it in {where}"
        raise FaultError(msg)

    def parts(self) -> list[dict[str, Any]]:
        """Describe the engine for the journal."""
        return []
