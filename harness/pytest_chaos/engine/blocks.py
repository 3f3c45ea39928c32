"""The blocks that ``chaos.fault(...)`` gives: in force from entering to leaving, missed where nobody enters them."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pytest_chaos.errors import FaultError

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_chaos.engine.nemesis import Nemesis
    from pytest_chaos.model.fault import Fault, Schedule


class Block(AbstractContextManager[None]):
    """Faults that are installed together on entering, and lifted on leaving, which proves the undo."""

    def __init__(self, nemesis: Nemesis, faults: tuple[Fault, ...], waiting: dict[int, Waiting]) -> None:
        self._nemesis = nemesis
        self._faults = faults
        self._waiting = waiting
        self._in_force: list[Schedule] = []

    def __enter__(self) -> None:
        """Install the faults, all or none."""
        self._waiting.pop(id(self._faults), None)
        self._in_force.append(self._nemesis.install(self._faults))

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None, /
    ) -> None:
        """Lift them."""
        self._nemesis.uninstall(self._in_force.pop())


Waiting = tuple["weakref.ref[Block]", "tuple[Fault, ...]"]


class Blocks:
    """The blocks of one test, and which of them were never entered."""

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._waiting: dict[int, Waiting] = {}

    def make(self, *faults: Fault) -> Block:
        """Give a block of these faults."""
        block = Block(self._nemesis, faults, self._waiting)
        self._waiting[id(faults)] = (weakref.ref(block), faults)
        return block

    def entered(self, *, at_the_end: bool = False) -> None:
        """Raise FaultError for a block that nobody can enter any more: nobody holds it, or the test is at its end."""
        for block, faults in self._waiting.values():
            if at_the_end or block() is None:
                named = ", ".join(f"{type(fault).__name__} on {getattr(fault, 'target', '?')}" for fault in faults)
                msg = (
                    f"chaos.fault({named}) was never in force: write `with chaos.fault(...):` around what it is to hit"
                )
                raise FaultError(msg)
