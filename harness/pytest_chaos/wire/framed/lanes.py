"""One direction of a connection that is read frame by frame: what passes, and what waits behind something held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_chaos.wire.ends import End
from pytest_chaos.wire.framed.reader import Frame

if TYPE_CHECKING:
    from pytest_chaos.wire.framed.call import FramedCall

HELD_LIMIT = 1024 * 1024
"""Bytes that wait in a direction before its sender is made to wait as well."""


@dataclass(slots=True, eq=False)
class Passage:
    """A frame (or all parts of a large one) on its way: the call that it begins, or those that it answers."""

    lane: Hashable
    begins: FramedCall | None = None
    ends: tuple[FramedCall, ...] = ()
    error: str = ""
    waits: int = 0
    """How many calls' steps still hold it."""
    lost: bool = False
    """Whether it is swallowed."""
    cut: Callable[[], None] | None = None
    """Ends the connection in its place, once everything before it has passed."""
    gate: Passage | None = None
    """What follows its last part, and keeps back what is behind it: of a call that nothing answers, at a point."""
    room: int | None = None
    """With ``cut``: bytes of it that pass before."""

    def note(self, frame: Frame, now: int) -> None:
        """Record what a part of it tells as it comes."""
        begins = self.begins
        if begins is not None and not begins.ended:
            begins.record.request_bytes += len(frame.raw)
            begins.record.body_hash = frame.body_hash or begins.record.body_hash
            if not frame.more:
                begins.record.sent_ns = now
        if frame.error:
            for call in self.ends:
                if not call.ended:
                    call.record.response_headers = {"error": frame.error}


Part = tuple[Passage | None, bytes, bool]
"""A passage (None: it means nothing), bytes of it, whether they are its last."""


@dataclass(slots=True, eq=False)
class Way:
    """The frames from ``source`` to ``sink``; ``passed`` is told of each part of a passage that is written."""

    source: End
    sink: End
    passed: Callable[[Passage, bytes, bool], None]
    lanes: dict[Hashable, deque[Part]] = field(default_factory=dict)
    """What waits: only lanes in which something is held."""
    current: dict[Hashable, Passage | None] = field(default_factory=dict)
    """The passage that a lane's next part belongs to."""
    pending: int = 0
    """Bytes that the reader has taken and not given."""
    since_ns: int = 0
    """When the first of them came."""
    eof: bool = False
    """Whether FIN waits behind what is held."""
    out: list[bytes] = field(default_factory=list)
    """What has passed and is not written yet."""
    _held: int = 0

    def send(self, passage: Passage | None, raw: bytes, lane: Hashable, *, last: bool) -> None:
        """Pass a part on, or let it wait: for its own calls' steps, or behind what waits in its ``lane`` (if any)."""
        queue = None if lane is None else self.lanes.get(lane)
        if queue is None and (passage is None or not (passage.waits or passage.cut)):
            self._pass(passage, raw, last=last)
            return
        if queue is None:
            queue = self.lanes[lane] = deque()
        queue.append((passage, raw, last))
        self._held += len(raw)
        if self._held > HELD_LIMIT:
            self.source.stop("held")
        if passage is not None and passage.cut:
            self.drain(lane)

    def drain(self, lane: Hashable) -> None:
        """Pass on what need not wait any more in a lane, up to a place where the connection is cut."""
        queue = self.lanes.get(lane)
        while queue:
            passage, raw, last = queue[0]
            if passage is not None:
                if passage.cut and not passage.room:
                    self.flush()
                    passage.cut()
                    return
                if passage.waits and not passage.cut:
                    break
            queue.popleft()
            self._held -= len(raw)
            self._pass(passage, raw, last=last)
            if passage is not None and passage.cut and (last or not passage.room):
                self.flush()
                passage.cut()
                return
        if not queue:
            self.lanes.pop(lane, None)
        if self._held <= HELD_LIMIT:
            self.source.resume("held")
        self.flush()

    def _pass(self, passage: Passage | None, raw: bytes, *, last: bool) -> None:
        if passage is None:
            self.out.append(raw)
            return
        if passage.lost:
            return
        if passage.room is not None:
            raw = raw[: min(passage.room, len(raw) - last)]  # its last byte never passes: it is cut, not delayed
            passage.room -= len(raw)
            last = False
        self.out.append(raw)
        self.passed(passage, raw, last)

    def flush(self) -> None:
        """Write what passed."""
        out = self.out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.sink.write(data)

    def let_go(self) -> None:
        """Pass everything on that waits, whatever holds it."""
        for queue in self.lanes.values():
            self.out += [raw for passage, raw, _ in queue if passage is None or not passage.lost]
        self.drop()
        self.source.resume("held")
        self.flush()

    def drop(self) -> None:
        """Forget what waits."""
        self.lanes.clear()
        self.current.clear()
        self._held = 0
