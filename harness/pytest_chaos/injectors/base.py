"""The port of an injector: reversible steps. The keeper writes a step down, applies it, and undoes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Engine = Literal["wire", "toxiproxy", "runtime", "broker"]
RULE_UNDO_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a fault did so far: how often, first and last time (monotonic ns), and how that is known."""

    hits: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    proof: str = ""


class Step(Protocol):
    """One reversible thing.

    ``faults`` are the ids of the faults that it carries out; ``action`` names it in the ledger.
    """

    engine: Engine

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that this step belongs to."""

    @property
    def action(self) -> str:
        """What is done, in a few words."""

    @property
    def links(self) -> tuple[str, ...]:
        """The links that the step acts on: once it is undone, a probe goes through each of them."""

    @property
    def undo_timeout_s(self) -> float:
        """How long undo and escalation may each take, in seconds."""

    async def apply(self) -> None:
        """Do it; raise FaultError when it cannot be done as asked (then nothing of it stays)."""

    async def undo(self) -> str:
        """Take it back and give the proof that it is gone; may be called twice; raises ChaosError when it fails."""

    async def escalate(self) -> str:
        """Take it back by stronger means after ``undo`` failed; give the proof."""

    async def seen(self) -> dict[str, Seen]:
        """Say what each fault has done so far, also after the undo."""
