"""Undoing a saga's steps: each begins in reverse order, is repeated until it succeeds, and holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """One compensation.

    ``once`` tries it and tells whether it is done; ``pause`` waits before the try after number ``n`` (0 first).
    """

    name: str
    once: Callable[[], Awaitable[bool]]
    pause: Callable[[int], Awaitable[None]]


async def undo_all(undos: Sequence[Undo]) -> None:
    """Undo in the order given, until all is undone.

    The next begins when the one before has been tried, not when it has succeeded: a refund that fails for an hour must
    not keep the stock for an hour (rules G3, G4).
    """
    async with asyncio.TaskGroup() as group:
        for undo in undos:
            tried = asyncio.Event()
            group.create_task(_until_done(undo, tried), name=f"undo {undo.name}")
            await tried.wait()


async def _until_done(undo: Undo, tried: asyncio.Event) -> None:
    number = 0
    while True:
        try:
            done = await undo.once()
        finally:
            tried.set()
        if done:
            return
        await undo.pause(number)
        number += 1
