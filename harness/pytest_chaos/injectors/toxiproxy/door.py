"""The front door: a test works on the server by another client. Its undo stands in the ledger before it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_chaos.injectors.base import RULE_UNDO_S, Engine, Seen

if TYPE_CHECKING:
    from pytest_chaos.injectors.toxiproxy.engine import Toxiproxy


class DoorStep:
    """Lets somebody else change proxies and toxics; undone by having every proxy as it was, enabled, and no toxic."""

    engine: Engine = "toxiproxy"
    undo_timeout_s = RULE_UNDO_S

    def __init__(self, toxiproxy: Toxiproxy, fault: str) -> None:
        self._toxiproxy = toxiproxy
        self._fault = fault

    @property
    def faults(self) -> tuple[str, ...]:
        """The id under which the undo is journalled."""
        return (self._fault,)

    @property
    def action(self) -> str:
        """What may have been done."""
        return "proxies and toxics changed through toxiproxy-python"

    @property
    def links(self) -> tuple[str, ...]:
        """Every link that has a proxy."""
        return self._toxiproxy.links

    async def apply(self) -> None:
        """Do nothing: whoever comes through the door does."""

    async def undo(self) -> str:
        """Reset: enable all proxies, remove all toxics and foreign proxies; the proof is the server's own list."""
        return await self._toxiproxy.reset()

    async def escalate(self) -> str:
        """Start the server anew with every proxy as it was."""
        await self._toxiproxy.renew()
        return f"{await self._toxiproxy.prove_reset()} (after its restart)"

    async def seen(self) -> dict[str, Seen]:
        """Say nothing: what another client's toxics hit is not known."""
        return {}
