"""A storm of broken conversations on three links of a wire, whole ones in their midst, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
from pathlib import Path

from tests.conformance.wire.mutation_kit import AT_ONCE, PATIENCE_S, STREAMS, Line, rss_mib

_UNREST_S, _SPOOL_LIMIT = 0.2, 64 * 2**20

TOXICS = [
    {"kind": "bytes.latency", "params": {"latency": 1, "jitter": 1}},
    {"kind": "bytes.slicer", "params": {"average_size": 40, "size_variation": 20, "delay": 50}},
    {"kind": "bytes.bandwidth", "params": {"rate": 1000}},
    {"kind": "bytes.corrupt", "params": {"one_in": 300}},
    {"kind": "bytes.limit_data", "params": {"bytes": 2000}},
    {"kind": "bytes.slow_close", "params": {"delay": 5}},
    {"kind": "bytes.reset_peer", "params": {"timeout": 20}},
    {"kind": "bytes.timeout", "params": {"timeout": 20}},
    {"kind": "bytes.timeout", "params": {"timeout": 0}},
    {"kind": "bytes.close_after", "params": {"ms": 10}},
    {"kind": "bytes.half_open", "params": {"then": "reset"}},
    {"kind": "bytes.half_open", "params": {"then": "silence"}},
]


class Unrest:
    """Rules that come and go while connections are open; requests at points are let go; the spool is kept short."""

    def __init__(self, wire, language, over):
        self.wire, self.language, self.over, self.chance = wire, language, over, random.Random(1)
        self.hits: dict[str, int] = {}
        self._installed: dict[str, list] = {}

    def once(self):
        rules = [self._rule(f"r{at}", "a -> faulty", rule) for at, rule in enumerate(self.language.rules)]
        self._install("faulty", rules)
        bytes_, some = self.chance.sample(TOXICS, 2), self.chance.sample(rules, min(3, len(rules)))
        toxics = [
            {"id": f"t{at}", "fault": "t", "link": "a -> toxic", "kind": toxic["kind"],
             "params": {**toxic["params"], "stream": self.chance.choice(["upstream", "downstream"])}}
            for at, toxic in enumerate(bytes_)
        ]  # fmt: skip
        self._install("toxic", [*toxics, *({**rule, "link": "a -> toxic"} for rule in some)])
        for event in self.wire.events:
            self.wire.ask("release", rule=event["rule"], attempt=event["attempt"])
        self.wire.events.clear()
        if self.wire.spool.stat().st_size > _SPOOL_LIMIT:
            os.truncate(self.wire.spool, 0)

    def _install(self, schedule, rules):
        kinds = {rule["id"]: rule["kind"] for rule in self._installed.get(schedule, ())}
        for rule, what in self.wire.do("install", schedule=schedule, owner="t", rules=rules)["hits"].items():
            self.hits[kinds[rule]] = self.hits.get(kinds[rule], 0) + what["hits"]
        self._installed[schedule] = rules

    @staticmethod
    def _rule(id_, link, rule):
        return {"id": id_, "fault": "f", "link": link, "when": {"probability": 0.1}, **rule}

    async def run(self):
        while not self.over.is_set():
            self.once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), _UNREST_S)


def descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def undisturbed(line, number, over, counts):
    """Whole conversations, one after the other, until the broken ones are over; give what went wrong with one."""
    chance = random.Random(number)
    while not over.is_set():
        wrong = await line.play(chance, line.language.talk(chance, "intact"), whole=True)
        if wrong:
            return f"{line.name}: {wrong}"
        counts[line.name] = counts.get(line.name, 0) + 1
        await asyncio.sleep(0.005)
    return ""


async def storm(wire, language, streams=STREAMS):
    """Play so many broken conversations on three links (without rules, with rules, with byte faults); judge wire."""
    plain, faulty, toxic, apart = [
        await Line(wire, f"a -> {name}", language).open() for name in ("plain", "faulty", "toxic", "apart")
    ]
    pid, over, gate, memory, counts = wire.process.pid, asyncio.Event(), asyncio.Semaphore(AT_ONCE), [], {}
    baseline = descriptors(pid)
    unrest = Unrest(wire, language, over)

    async def one(number):
        async with gate:
            if number % (streams // 32 or 1) == 0:
                memory.append(rss_mib(pid))
            chance = random.Random(number)
            turns = language.broken(chance)
            line = (plain, faulty, toxic)[number % 3]
            wrong = await line.play(chance, turns)
            return f"{number} on {line.name}: {wrong}: {turns!r:.1000}" if wrong else ""

    well = [plain, apart, *([faulty] if language.spares else [])]
    beside = [asyncio.ensure_future(undisturbed(line, at, over, counts)) for at, line in enumerate(well)]
    trouble = asyncio.ensure_future(unrest.run())
    wrong = [said for said in await asyncio.gather(*(one(number) for number in range(streams))) if said]
    over.set()
    wrong += [said for said in await asyncio.gather(*beside) if said]
    await trouble
    memory.append(rss_mib(pid))
    unrest.once()
    wire.do("reset")
    for line in (plain, faulty, toxic, apart):
        line.server.close()
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while any(left := (*(wire.do("stats")[name] for name in ("connections", "open")), descriptors(pid) - baseline)):
        if asyncio.get_running_loop().time() > deadline:
            wrong.append(f"connections, attempts and descriptors that are left: {left}: {wire.do('mark')['open']}")
            break
        await asyncio.sleep(0.02)
    return Weather(wrong=wrong, counts=counts, hits=unrest.hits, grown_mib=_growth(memory))


def _growth(memory):
    """How much more is needed at least in the last quarter than at least in the second: peaks come and go."""
    quarter = len(memory) // 4
    return min(memory[-quarter:]) - min(memory[quarter : 2 * quarter])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weather:
    """What a storm did: what went ``wrong``, whole conversations by link, hits by kind of rule, growth of memory."""

    wrong: list[str]
    counts: dict[str, int]
    hits: dict[str, int]
    grown_mib: float
