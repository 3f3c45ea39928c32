"""The calls of a broker's connection that wait for their answers: most of them plain, made more of where need be."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from pytest_chaos.wire.framed.call import FramedCall
from pytest_chaos.wire.framed.plain import Origin, Plain, origin
from pytest_chaos.wire.table import NOTHING, Facts, Plan

if TYPE_CHECKING:
    from pytest_chaos.wire.connection import Connection
    from pytest_chaos.wire.framed.connection import Framed
    from pytest_chaos.wire.framed.reader import Call


class OpenCalls:
    """``framed`` plays the calls; ``by_id`` has those that are open."""

    __slots__ = ("_connection", "_framed", "_link", "_origin", "_protocol", "_world", "by_id")

    def __init__(self, framed: Framed, connection: Connection, protocol: str) -> None:
        self.by_id: dict[Hashable, FramedCall | Plain] = {}
        self._framed, self._connection, self._protocol = framed, connection, protocol
        self._world, self._link = connection.world, connection.link.name
        self._origin = self._origin_of(reused=False)

    def decide(self, call: Call) -> Plan:
        """Ask the table what is to be done to a call."""
        named = call.background or call.by == "callee"
        facts = Facts(call.operation, call.headers, self._protocol, None, named, call.answered)
        return self._world.table.decide(self._link, facts)

    def plain(self, call: Call, since_ns: int, now: int, size: int) -> None:
        """Begin a call that has been handed on as it came."""
        plain = Plain(self._world.attempt_id(), self._origin, call, since_ns, now, size)
        self._opens(call)
        if call.answered:
            self.by_id[call.id] = self._world.open[plain.id] = plain
        else:
            plain.ended_ns = now
            self._world.append(plain)

    def begin(self, call: Call, since_ns: int, plan: Plan | None) -> FramedCall | None:
        """Begin a call that may be held or cut; None for one in the background that no rule acts on."""
        world, origin_ = self._world, self._origin
        if plan is None:
            plan = self.decide(call) if world.table.watched(self._link) else NOTHING
        if call.background and plan is NOTHING:
            return None
        record = world.begin(
            link=self._link,
            connection=origin_.connection,
            reused=origin_.reused,
            protocol=origin_.protocol,
            connected_ns=origin_.connected_ns,
            started_ns=since_ns,
        )
        self._opens(call)
        record.operation, record.marker, record.body_hash = call.operation, call.marker, call.body_hash
        record.request_headers = dict(call.headers)
        framed = self.by_id[call.id] = FramedCall(self._framed, call, record, plan)
        return framed

    def full(self, key: Hashable) -> FramedCall:
        """Give an open call with all that may become of it."""
        found = self.by_id[key]
        if isinstance(found, Plain):
            record = self._world.open[found.id] = found.whole()
            found = self.by_id[key] = FramedCall(self._framed, found.call, record, NOTHING)
            found.key = key
        return found

    def all(self) -> list[FramedCall]:
        """Give every open call so."""
        return [self.full(key) for key in list(self.by_id)]

    def _opens(self, call: Call) -> None:
        """Answers to an id are for the newest call that has it; a former one still has to end."""
        if not self._origin.reused:
            self._origin = self._origin_of(reused=True)
        if call.id in self.by_id:
            former = self.full(call.id)
            former.key = object()
            self.by_id[former.key] = self.by_id.pop(call.id)

    def _origin_of(self, *, reused: bool) -> Origin:
        about = self._connection
        return origin(self._link, about.id, self._protocol, about.connected_ns, reused=reused)
