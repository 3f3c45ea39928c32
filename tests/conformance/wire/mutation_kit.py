"""Broken conversations through a running wire: whole ones are made, bytes and frames of them broken, both sides played.

A :class:`Language` makes whole conversations. Each is played on a connection of its own, whose two ends are in one
hand: what one side says is written there, what wire hands on is read at the other. Beside them whole conversations go
on, over the same links and over another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

STREAMS = int(os.environ.get("PYTEST_CHAOS_MUTATIONS", "2000"))
"""Broken conversations for each protocol; ``make soak`` asks for more."""
AT_ONCE, PATIENCE_S, FLAT_MIB = 80, 10, 16
_STEP_S = 0.003
MIB = 2**20

Turn = tuple[str, bytes]
"""Who says it (``caller`` or ``callee``), and a frame, or what stands for one."""


BROKEN = "**broken**"
SIZES = [0, 1, 7, 0xFF, 0xFFFF, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
"""Lengths that are small, large, and negative where a number has a sign."""
LARGE = 300_000
"""Bytes of what readers give on in parts (RESP, AMQP); rare, since it costs."""
FRAME_RULES = [
    {"kind": "reset", "operation": BROKEN, "when": {"probability": 0.05}},
    {"kind": "hold", "operation": BROKEN, "params": {"ms": 1}},
    {"kind": "hold", "operation": BROKEN, "params": {"ms": 1, "at": "request"}},
    {"kind": "latency", "operation": BROKEN, "params": {"ms": 1, "jitter_ms": 1}},
    {"kind": "truncate", "operation": BROKEN, "params": {"bytes": 5}, "when": {"probability": 0.06}},
    {"kind": "answer_lost", "operation": BROKEN, "params": {"how": "reset"}, "when": {"probability": 0.02}},
    {"kind": "answer_lost", "operation": BROKEN, "params": {"how": "close"}, "when": {"probability": 0.02}},
    {"kind": "answer_lost", "operation": BROKEN, "params": {"how": "hang"}, "when": {"probability": 0.05}},
    {"kind": "point", "operation": BROKEN, "params": {"phase": "before_send"}, "when": {"probability": 0.06}},
    {"kind": "point", "operation": BROKEN, "params": {"phase": "after_answer"}, "when": {"probability": 0.06}},
]


def replaced(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def said(side, *parts):
    return [(side, part) for part in parts]


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Break bytes in one to four places: flipped, dropped, doubled, inserted, cut off."""
    broken = bytearray(data)
    for _ in range(chance.randint(0, 4)):
        at, size = chance.randrange(len(broken) + 1), chance.randint(1, 12)
        match chance.randrange(5):
            case 0 if at < len(broken):
                broken[at] ^= 1 << chance.randrange(8)
            case 1:
                del broken[at : at + size]
            case 2:
                broken[at:at] = broken[at : at + size]
            case 3:
                broken[at:at] = chance.randbytes(size)
            case 4 if at > len(broken) // 2:
                del broken[at:]
    return bytes(broken)


def rss_mib(pid: int) -> float:
    """Give a process's resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Language:
    """What is spoken on a link.

    ``talk(chance, name)`` makes a whole conversation about ``name``; ``warp(chance, frame)`` breaks a frame as only one
    who knows the protocol would (lengths, channels, nesting); ``heard`` is what bytes say, where wire may say it in
    other bytes. ``rules`` are about operations that name ``broken``, unless ``spares`` is False: then they hit all.
    ``exact``: whatever is said, broken or not, comes as it is where there are no rules.
    """

    protocol: str | None
    talk: Callable[[random.Random, str], list[Turn]]
    warp: Callable[[random.Random, bytes], bytes]
    rules: list[dict[str, Any]]
    spares: bool = True
    exact: bool = True
    heard: Callable[[bytearray], object] = bytes

    def broken(self, chance: random.Random) -> list[Turn]:
        """A conversation with one side broken, or both: in its frames, in its bytes, in the order of its turns."""
        turns = self.talk(chance, "broken")
        sides = chance.choice([("caller",), ("callee",), ("caller", "callee")])
        for _ in range(chance.randint(1, 3)):
            chosen = [at for at, (side, _) in enumerate(turns) if side in sides]
            if chosen:
                self._break(chance, turns, chance.choice(chosen), chance.choice(chosen))
        return turns

    def _break(self, chance: random.Random, turns: list[Turn], at: int, other: int) -> None:
        side, data = turns[at]
        match chance.randrange(8):
            case 0 | 1:
                turns[at] = side, mutated(chance, data)
            case 2 | 3:
                turns[at] = side, self.warp(chance, data)
            case 4:
                del turns[at]
            case 5:
                turns.insert(other, (side, data))
            case 6:
                turns[at], turns[other] = turns[other], turns[at]
            case 7:
                turns[at:] = [(side, data[: chance.randrange(len(data) + 1)])]


class Side(asyncio.Protocol):
    """One end of a connection: what came, and whether that is all."""

    def __init__(self, made: Callable[[Side], object] = lambda _: None) -> None:
        self.got, self.sent = bytearray(), bytearray()
        self.over = self.lost = False
        self._made, self.changed = made, asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self._made(self)

    def data_received(self, data):
        self.got += data
        self.changed.set()

    def eof_received(self):
        self.over = True
        self.changed.set()
        return True

    def connection_lost(self, exc):
        self.over = self.lost = True
        self.changed.set()

    async def until(self, well, limit_s):
        """Wait until ``well()``; False when that has not come about in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not well():
                    self.changed.clear()
                    await self.changed.wait()
        return well()

    async def say(self, chance, data):
        """Send bytes: at once, cut up, or one by one."""
        self.sent += data
        size = len(data) if chance.random() < 0.6 else 1 if len(data) < 100 else chance.randint(1, len(data))
        for at in range(0, len(data), size or 1):
            if at:
                await asyncio.sleep(0)
            if not self.lost:
                self.transport.write(data[at : at + size])

    def end(self):
        """Say no more."""
        if not self.lost:
            with contextlib.suppress(OSError, RuntimeError):
                self.transport.write_eof()


def different(said, came):
    at = next((at for at, (one, other) in enumerate(zip(said, came, strict=False)) if one != other), len(came))
    return f"from byte {at} on {bytes(came[at : at + 60])!r} came of {bytes(said[at : at + 60])!r}"


class Line:
    """A link of wire and the callee behind it."""

    def __init__(self, wire, name, language):
        self.wire, self.name, self.language = wire, name, language
        self._accepted, self._turn, self._made = deque(), asyncio.Lock(), asyncio.Event()

    async def open(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Side(self._accept), "127.0.0.1", 0)
        address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        self.port = self.wire.link(address, name=self.name, protocol=self.language.protocol)
        return self

    async def connect(self):
        """Give both ends of a new connection through the link: one after the other, so that they belong together.

        None where a byte fault ended it before it had both.
        """
        async with self._turn:
            with contextlib.suppress(ConnectionResetError):
                _, caller = await asyncio.get_running_loop().create_connection(Side, "127.0.0.1", self.port)
                self._made = caller.changed
                await caller.until(lambda: caller.over or self._accepted, PATIENCE_S)
                if self._accepted:
                    return {"caller": caller, "callee": self._accepted.popleft()}
                caller.transport.abort()
            await asyncio.sleep(_STEP_S)  # so that no callee's end is taken for the next one's
            while self._accepted:
                self._accepted.popleft().transport.abort()
            return None

    def _accept(self, side):
        self._accepted.append(side)
        self._made.set()

    async def play(self, chance, turns, *, whole=False):
        """Play a conversation to its end; give what went wrong.

        ``whole``: what is said must arrive before the other side answers.
        """
        ends = await self.connect()
        if ends is None:
            return "" if self.name == "a -> toxic" else "not connected"
        try:
            return await self._played(chance, turns, ends["caller"], ends["callee"], whole=whole)
        finally:
            for one in ends.values():
                one.transport.abort()

    async def _played(self, chance, turns, caller, callee, *, whole):
        in_turns = chance.random() < 0.5
        for (side, data), (then, _) in itertools.pairwise([*turns, ("end", b"")]):
            me, other = (caller, callee) if side == "caller" else (callee, caller)
            size = len(other.got)
            await me.say(chance, data)
            if whole and then != side:
                if not await other.until(lambda: self._alike(me.sent, other.got), PATIENCE_S):  # noqa: B023 - awaited
                    return different(me.sent, other.got)
            elif in_turns and then != side:
                await other.until(lambda: len(other.got) > size or other.over, _STEP_S)  # noqa: B023 - awaited
        rude = not whole and chance.random() < 0.1
        for one in chance.sample([caller, callee], 2):
            one.transport.abort() if rude else one.end()
        for one in (caller, callee):
            if not await one.until(lambda: one.over, PATIENCE_S):  # noqa: B023 - awaited
                return f"{'the caller' if one is caller else 'the callee'} waits for an end"
        return "" if rude else self._judged(caller, callee, whole)

    def _judged(self, caller, callee, whole):
        for said, came in ((caller.sent, callee.got), (callee.sent, caller.got)):
            if (whole and not self._alike(said, came)) or (not whole and self.exact and said != came):
                return different(said, came)
        return ""

    def _alike(self, said, came):
        return said == came or (not self.language.exact and self.language.heard(said) == self.language.heard(came))

    @property
    def exact(self):
        """Whether broken conversations, too, must come as they are."""
        return self.language.exact and self.name == "a -> plain"
