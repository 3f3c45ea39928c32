"""The ledger of undos: what is to be taken back stands in it before it is done; nothing is forgotten."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_chaos.injectors.base import Step
from pytest_chaos.model.journal import UndoRecord

Probe = Callable[[str], Awaitable[str]]
"""Looks through a healed link and says what it saw; raises ChaosError when nothing gets through."""


async def no_probe(link: str) -> str:
    """Look at nothing."""
    del link
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step that may have to be undone; ``number`` is its place in the ledger."""

    number: int
    schedule: str
    owner: str
    step: Step


class Ledger:
    """Applies steps and undoes them, newest first, each bounded in time, each proved."""

    def __init__(self, path: Path, probe: Probe = no_probe) -> None:
        self._path = path
        self._probe = probe
        self._numbers = itertools.count(1)
        self._open: list[Entry] = []
        self.dirty: list[str] = []
        self.stuck: list[str] = []
        """What of ``dirty`` no restart of a node can heal: a fault of a link that may still be there."""

    async def apply(self, schedule: str, owner: str, step: Step) -> Entry:
        """Write the undo down, then do the step; a step that fails is undone at once, and its error is raised."""
        entry = Entry(number=next(self._numbers), schedule=schedule, owner=owner, step=step)
        self._open.append(entry)
        self._write(entry, "planned")
        try:
            await step.apply()
        except BaseException:
            # Whoever asked may be gone: what was begun is taken back all the same.
            await asyncio.shield(self.undo(entry))
            raise
        self._write(entry, "applied")
        return entry

    async def undo_all(self, *, schedule: str) -> list[UndoRecord]:
        """Undo a schedule's open steps in reverse order; give one record a fault and step."""
        done: list[UndoRecord] = []
        for entry in reversed([entry for entry in self._open if entry.schedule == schedule]):
            done += await self.undo(entry)
        return done

    async def undo(self, entry: Entry) -> list[UndoRecord]:
        """Undo one step: plainly, else by its stronger means, each within its time; what fails makes the run dirty."""
        if entry not in self._open:
            return []
        self._open.remove(entry)
        step = entry.step
        began = time.monotonic_ns()
        proof, errors = "", []
        for way in (step.undo, step.escalate):
            try:
                async with asyncio.timeout(step.undo_timeout_s):
                    proof = await self._proved(step, way)
                break
            except TimeoutError:
                errors.append(f"{way.__name__} took longer than {step.undo_timeout_s:g} s")
            except Exception as failed:  # noqa: BLE001 - whatever broke, the stronger means is tried, or the run is dirty
                errors.append(f"{way.__name__}: {str(failed) or repr(failed)}")
        took_ms = (time.monotonic_ns() - began) / 1e6
        if not proof:
            self.dirty.append(f"{step.action}: {'; '.join(errors)}")
            if step.engine != "runtime":
                self.stuck.append(self.dirty[-1])
        self._write(entry, "undone" if proof else "failed", "; ".join(errors))
        return [
            UndoRecord(
                fault=fault,
                action=step.action,
                at_ns=began,
                took_ms=round(took_ms, 3),
                ok=bool(proof),
                proof=proof,
                error="; ".join(errors),
                test=entry.owner,
            )
            for fault in step.faults
        ]

    async def _proved(self, step: Step, way: Callable[[], Awaitable[str]]) -> str:
        """Undo a step one way; give its own proof and that of a look through each of its links."""
        proof = await way()
        looks = await asyncio.gather(*(self._probe(link) for link in step.links))
        return "; ".join(dict.fromkeys(one for one in (proof, *looks) if one))

    def close(self) -> None:
        """Note that everything that is still open goes with the stack."""
        for entry in reversed(self._open):
            self._write(entry, "removed with the stack")
        self._open.clear()

    def _write(self, entry: Entry, state: str, error: str = "") -> None:
        line = {
            "number": entry.number,
            "schedule": entry.schedule,
            "owner": entry.owner,
            "action": entry.step.action,
            "state": state,
            "at_ns": time.monotonic_ns(),
        }
        if error:
            line["error"] = error
        with self._path.open("a") as ledger:
            ledger.write(json.dumps(line) + "\n")
