"""What wire saw on a link between two moments: read from its spool, from the last known place before."""

from __future__ import annotations

import asyncio
import bisect
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.codec import from_json

MarkNow = Callable[[], Awaitable[dict[str, Any]]]
_MOST_PLACES = 10_000


class SpoolTraffic:
    """Remembers where in the spool each moment was, so that a look back reads little."""

    def __init__(self, spool: Path, mark: MarkNow) -> None:
        self._spool = spool
        self._mark = mark
        self._places: list[tuple[int, int]] = []

    async def mark(self) -> dict[str, Any]:
        """Ask wire for a mark and remember the place."""
        asked_ns = time.monotonic_ns()
        answer = await self._mark()
        self._places.append((asked_ns, int(answer["offset"])))
        del self._places[:-_MOST_PLACES]
        return answer

    async def between(self, link: str, from_ns: int, to_ns: int) -> list[Attempt]:
        """Give the attempts on a link that were open at some time between two moments, those still open among them."""
        answer = await self.mark()
        # What ended after a place's moment was appended behind the place.
        index = bisect.bisect_right(self._places, (from_ns, 0)) - 1
        start = self._places[index][1] if index >= 0 else 0
        rows = await asyncio.to_thread(self._read, start, int(answer["offset"]))
        found = [from_json(Attempt, row) for row in (*rows, *answer.get("open", ())) if row.get("link") == link]
        return [one for one in found if one.connected_ns <= to_ns and (one.ended_ns is None or one.ended_ns >= from_ns)]

    def _read(self, start: int, end: int) -> list[dict[str, Any]]:
        with self._spool.open("rb") as spool:
            spool.seek(start)
            lines = spool.read(end - start).splitlines()
        rows = (json.loads(line) for line in lines)
        return [row for row in rows if row.get("k") == "a"]
