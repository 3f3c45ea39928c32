"""A member of a consumer group that speaks the group's own protocol and wants no partition; and who else is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_chaos.brokers.kafka.admin import Place
from pytest_chaos.errors import ChaosError, FaultError

JOIN_S = 20.0
"""How long the members may take to join a rebalance: they hear of it with their heartbeats."""
_SESSION_MS = 10_000
_REQUEST_MS = 30_000
_LOOK_S = 0.05
_MEMBER_ID_REQUIRED = 79
_REBALANCING = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as its coordinator describes it: ``members`` by id."""

    state: str
    protocol: str
    kind: str
    members: frozenset[str]


class Members:
    """Asks a group's coordinator, beside all links; used from one event loop. ``fault`` is named in refusals."""

    def __init__(self, direct: str, group: str, fault: str) -> None:
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - an extra

        self.admin: Any = AIOKafkaAdminClient(bootstrap_servers=direct, request_timeout_ms=_REQUEST_MS)
        self._group = group
        self._fault = fault
        self._node = -1

    async def start(self) -> None:
        """Connect; raise FaultError listing the groups unless there is this one."""
        await self.admin.start()
        known = sorted(row[0] for row in await self.admin.list_consumer_groups())
        if self._group not in known:
            found = ", ".join(known) or "none"
            msg = f"{self._fault}: group={self._group!r}: there is no such group; there are: {found}"
            raise FaultError(msg)
        self._node = await self.admin.find_coordinator(self._group)

    async def close(self) -> None:
        """Disconnect."""
        await self.admin.close()

    async def look(self) -> Group:
        """Describe the group."""
        (answer,) = await self.admin.describe_consumer_groups([self._group])
        ((_, _, state, kind, protocol, members, *_),) = answer.groups
        return Group(state=state, kind=kind, protocol=protocol, members=frozenset(row[0] for row in members))

    async def until(self, good: Callable[[Group], bool], what: str) -> Group:
        """Look again and again until a description is good; raise ChaosError after ``JOIN_S`` seconds."""
        deadline = asyncio.get_running_loop().time() + JOIN_S
        while not good(found := await self.look()):
            if asyncio.get_running_loop().time() > deadline:
                msg = f"group {self._group} was not {what} within {JOIN_S:g} s: it is {found.state}"
                raise ChaosError(msg)
            await asyncio.sleep(_LOOK_S)
        return found

    async def settled(self) -> Group:
        """Wait until the group is stable; raise FaultError when nobody is in it."""
        found = await self.until(lambda one: one.state in ("Stable", "Empty", "Dead"), "stable")
        if not found.members:
            msg = f"{self._fault}: group={self._group!r}: it has no members (it is {found.state})"
            raise FaultError(msg)
        if found.kind != "consumer":
            msg = f"{self._fault}: group={self._group!r}: is of kind {found.kind!r}; only 'consumer' groups rebalance"
            raise FaultError(msg)
        return found

    async def evict(self, member: str) -> None:
        """Have the coordinator remove a member, as its own LeaveGroup would."""
        from aiokafka.protocol.group import LeaveGroupRequest  # noqa: PLC0415 - an extra

        _check(await self._send(LeaveGroupRequest(self._group, member)), "LeaveGroup")

    async def join(self, protocol: str, told: Callable[[str], None]) -> int:
        """Join, and take part until the group has settled with us; give its generation.

        ``told`` is given our id as soon as there is one: it has to be removed even if the others never join. Raises
        ChaosError when they do not in time.
        """
        from aiokafka.protocol.group import JoinGroupRequest, ProtocolMetadata, SyncGroupRequest  # noqa: PLC0415

        wants = ProtocolMetadata(0, [], b"").encode()
        member = ""
        while True:
            ask = JoinGroupRequest(
                self._group, _SESSION_MS, int(JOIN_S * 1000), member, None, "consumer", [(protocol, wants)]
            )
            answer = await self._send(ask)
            if answer.error_code == _MEMBER_ID_REQUIRED:
                member = answer.member_id
                told(member)
                continue
            _check(answer, "JoinGroup")
            member, generation = answer.member_id, answer.generation_id
            told(member)
            if answer.leader_id == member:
                msg = f"{self._fault}: group={self._group!r}: its members did not join the rebalance"
                raise ChaosError(msg)
            shared = await self._send(SyncGroupRequest(self._group, generation, member, None, []))
            if shared.error_code == _REBALANCING:
                continue  # somebody else joined meanwhile
            _check(shared, "SyncGroup")
            return int(generation)

    async def commit(self, generation: int, member: str, offsets: dict[Place, int]) -> None:
        """Commit as a member (-1 and the empty string: as nobody, which an empty group allows)."""
        from aiokafka.protocol.commit import OffsetCommitRequest  # noqa: PLC0415 - an extra

        topics: dict[str, list[tuple[int, int, str]]] = {}
        for (topic, partition), offset in offsets.items():
            topics.setdefault(topic, []).append((partition, offset, ""))
        answer = await self._send(OffsetCommitRequest(self._group, generation, member, -1, list(topics.items())))
        for _, partitions in answer.topics:
            for _, error in partitions:
                _refuse(error, "OffsetCommit")

    async def committed(self) -> dict[Place, int]:
        """Give the group's next offset on every partition where it has committed one."""
        found = await self.admin.list_consumer_group_offsets(self._group, self._node)
        return {(where.topic, where.partition): meta.offset for where, meta in found.items() if meta.offset >= 0}

    async def _send(self, request: Any) -> Any:
        return await self.admin._send_request(request, self._node)  # noqa: SLF001 - the library offers no such call


def _check(answer: Any, what: str) -> None:
    _refuse(answer.error_code, what)


def _refuse(code: int, what: str) -> None:
    if code:
        from aiokafka import errors  # noqa: PLC0415 - an extra

        msg = f"{what} was refused: {errors.for_code(code).__name__}"
        raise ChaosError(msg)
