"""One toxic as a reversible step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_chaos.injectors.base import RULE_UNDO_S, Engine, Seen
from pytest_chaos.injectors.toxiproxy.client import ToxiproxyError
from pytest_chaos.injectors.toxiproxy.evidence import hits_in
from pytest_chaos.model.fault import ByteFault

if TYPE_CHECKING:
    from pytest_chaos.injectors.toxiproxy.engine import Toxiproxy


class ToxicStep:
    """One byte fault as a reversible step."""

    engine: Engine = "toxiproxy"
    undo_timeout_s = RULE_UNDO_S

    def __init__(self, toxiproxy: Toxiproxy, fault: ByteFault) -> None:
        self._toxiproxy = toxiproxy
        self._fault = fault
        self._applied_ns = 0
        self._lifted_ns: int | None = None
        self._bytes_before = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """The one fault that this toxic belongs to."""
        return (self._fault.fault,)

    @property
    def action(self) -> str:
        """The toxic with its attributes, the stream and the link."""
        values = ", ".join(f"{name}={value}" for name, value in self._fault.attributes.items())
        return f"toxic {self._fault.toxic}({values}) {self._fault.stream} on {self._fault.link}"

    @property
    def links(self) -> tuple[str, ...]:
        """The one link."""
        return (self._fault.link,)

    async def apply(self) -> None:
        """Add the toxic to the link's open and future connections."""
        self._bytes_before = await self._bytes()
        self._applied_ns = time.monotonic_ns()
        await self._toxiproxy.add(self._fault)

    async def undo(self) -> str:
        """Remove the toxic; the proof is the server's own list."""
        proof = await self._toxiproxy.remove(self._fault)
        self._lifted_ns = self._lifted_ns or time.monotonic_ns()
        return proof

    async def escalate(self) -> str:
        """Start the server anew without the toxic."""
        proof = await self._toxiproxy.rebuild(self._fault)
        self._lifted_ns = self._lifted_ns or time.monotonic_ns()
        return proof

    async def seen(self) -> dict[str, Seen]:
        """Tell what went through the link while the toxic was there; else the bytes of connections that ended since."""
        until = self._lifted_ns or time.monotonic_ns()
        seen = Seen()
        if self._applied_ns and self._toxiproxy.traffic is not None:
            attempts = await self._toxiproxy.traffic(self._fault.link, self._applied_ns, until)
            seen = hits_in(self._fault, attempts, self._applied_ns, until)
        if not seen.hits and self._applied_ns:
            moved = await self._bytes() - self._bytes_before
            if moved > 0:
                seen = Seen(
                    hits=1, proof=f"Toxiproxy moved {moved} bytes {self._fault.stream} on {self._fault.link} since"
                )
        return {self._fault.fault: seen}

    async def _bytes(self) -> int:
        try:
            return await self._toxiproxy.bytes(self._fault)
        except ToxiproxyError:
            return 0
