"""Request and connection faults: a schedule's rules go into wire whole, and are proved gone by its own table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from pytest_chaos.errors import ChaosError, UndoError
from pytest_chaos.injectors.base import RULE_UNDO_S, Engine, Seen
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.fault import ByteFault, WireRule

# Short enough that a wire which is silent is replaced within 10 s of the first word.
_ANSWER_S = 4.0
_RESET_S = 1.0
BYTES = "bytes."
"""What wire's rules for byte faults begin with."""


_ON_CONNECTIONS = {
    "refuse": "{} connections were refused or reset",
    "accept_close": "{} connections were accepted and closed",
    "slow_connect": "{} connections were slow to be served",
    "hold_connect": "{} SYNs were dropped",
    "reset_connections": "{} connections were reset",
    "close_after_requests": "{} connections were closed",
}


class WireControl(Protocol):
    """Whatever can ask wire for an operation."""

    async def call(self, op: str, *, timeout_s: float = ..., **fields: object) -> dict[str, Any]:
        """Ask; raise FaultError when wire refuses, KeeperError when it is gone or silent."""

    async def renew(self, why: str) -> None:
        """Kill wire and start it anew with the same links on the same ports, and with no rule; raise KeeperError."""


class WireStep:
    """All wire rules of one schedule."""

    engine: Engine = "wire"
    undo_timeout_s = RULE_UNDO_S

    def __init__(self, wire: WireControl, schedule: str, owner: str, rules: tuple[WireRule, ...]) -> None:
        self._wire = wire
        self._schedule = schedule
        self._owner = owner
        self._rules = rules
        self._final: Mapping[str, Any] | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults with rules here, each once."""
        return tuple(dict.fromkeys(rule.fault for rule in self._rules))

    @property
    def action(self) -> str:
        """The rules by kind and link."""
        return "; ".join(dict.fromkeys(f"{rule.kind} on {rule.link}" for rule in self._rules))

    @property
    def links(self) -> tuple[str, ...]:
        """The links with rules here, each once."""
        return tuple(dict.fromkeys(rule.link for rule in self._rules))

    async def apply(self) -> None:
        """Install every rule or none; raise FaultError with wire's sentence about the one that it refuses."""
        await self._wire.call(
            "install", schedule=self._schedule, owner=self._owner, rules=[_told(rule) for rule in self._rules]
        )

    async def undo(self) -> str:
        """Uninstall the schedule; the proof is wire's own table of active rules."""
        answer = await self._wire.call("uninstall", schedule=self._schedule, timeout_s=_ANSWER_S)
        self._final = self._final or answer.get("hits", {})
        return await self._prove()

    async def escalate(self) -> str:
        """Lift every rule of everybody; a wire that does not even do that is replaced: no fault is the better one."""
        try:
            await self._wire.call("reset", timeout_s=_RESET_S)
            return await self._prove()
        except ChaosError as stuck:
            await self._wire.renew(f"it did not lift {self.action}: {stuck}")
        return f"{await self._prove()} (after its restart)"

    async def seen(self) -> dict[str, Seen]:
        """Add the hits of each fault's rules up."""
        hits = self._final
        if hits is None:
            hits = {row["rule"]["id"]: row for row in await self._active()}
        return {fault: self._sum(fault, hits) for fault in self.faults}

    async def _active(self) -> list[dict[str, Any]]:
        table = (await self._wire.call("rules"))["rules"]
        return [row for row in table if row.get("schedule") == self._schedule]

    async def _prove(self) -> str:
        left = await self._active()
        if left:
            msg = f"wire still lists {', '.join(row['rule']['id'] for row in left)} of schedule {self._schedule}"
            raise UndoError(msg)
        return f"wire's table lists no rule of {self._schedule}"

    def _sum(self, fault: str, hits: Mapping[str, Any]) -> Seen:
        rows = [hits[rule.id] for rule in self._rules if rule.fault == fault and rule.id in hits]
        count = sum(int(row.get("hits", 0)) for row in rows)
        firsts = [int(row["first_ns"]) for row in rows if row.get("first_ns")]
        lasts = [int(row["last_ns"]) for row in rows if row.get("last_ns")]
        return Seen(
            hits=count,
            first_ns=min(firsts, default=None),
            last_ns=max(lasts, default=None),
            proof=self._proof(fault, count, sum(int(row.get("bytes", 0)) for row in rows), hits) if count else "",
        )

    def _by_link(self, fault: str, hits: Mapping[str, Any]) -> str:
        counted: dict[str, int] = {}
        for rule in self._rules:
            if rule.fault == fault:
                counted[rule.link] = counted.get(rule.link, 0) + int(hits.get(rule.id, {}).get("hits", 0))
        return ", ".join(f"{link} {count}" for link, count in counted.items())

    def _proof(self, fault: str, count: int, size: int, hits: Mapping[str, Any]) -> str:
        kind = next(rule.kind for rule in self._rules if rule.fault == fault)
        if len({rule.link for rule in self._rules if rule.fault == fault}) > 1:
            return f"wire acted on {count} connections ({size} bytes): {self._by_link(fault, hits)}"
        if kind.startswith(BYTES):
            return f"wire's {kind.removeprefix(BYTES)} acted on {count} connections and {size} bytes"
        return _ON_CONNECTIONS.get(kind, "wire acted on {} requests").format(count)


def byte_rule(fault: ByteFault) -> WireRule:
    """Say a byte fault as the rule by which wire carries it out itself."""
    params = {**fault.attributes, "stream": fault.stream}
    return WireRule(id=fault.id, fault=fault.fault, link=fault.link, kind=f"{BYTES}{fault.toxic}", params=params)


def _told(rule: WireRule) -> dict[str, Any]:
    """Give a rule as wire knows it: which node a point is for is the keeper's business."""
    params = {name: value for name, value in rule.params.items() if name != "node_action"}
    plain: dict[str, Any] = to_json(dataclasses.replace(rule, params=params))
    return plain
