"""What the keeper's own parts (wire, Toxiproxy) tell of themselves when they die, are back, or stay away."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Whoever has to know. ``part`` is the part's name, which no node can have."""

    def died(self, part: str, what: str, log: str) -> None:
        """A part is dead; it is started anew from now on. ``what`` says which and how, ``log`` its last lines."""

    def back(self, part: str, what: str) -> None:
        """It works again."""

    def broken(self, why: str) -> None:
        """It could not be started anew: the stack is of no use any more."""
