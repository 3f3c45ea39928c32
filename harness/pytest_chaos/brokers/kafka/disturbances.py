"""What a Kafka can be made to do: carry poison, have a group share anew, deliver records to a group again."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from pytest_chaos.brokers._poison import Poison
from pytest_chaos.brokers.base import Disturbance, LoopThread, Toll
from pytest_chaos.brokers.kafka.admin import Place
from pytest_chaos.brokers.kafka.members import JOIN_S, Group, Members
from pytest_chaos.brokers.kafka.publisher import KafkaPublisher
from pytest_chaos.errors import ChaosError, FaultError

T = TypeVar("T")
_CALL_S = 4.0
_APPLY_S = JOIN_S + 8.0
_UNDO_S = 8.0
_ELSEWHERE = {
    "unbind": "its topics have no routes; Refuse its link, or Reset or Hold 'Produce TOPIC', to keep records away",
    "fill": "it has no answer that says so: with a full disk it ends, which is Kill; a Hold of 'Produce **' on a link "
    "makes publishers wait, a Reset fails them",
}


def make(name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
    """Make what carries ``verb`` out; raise FaultError with what works instead where there is no way."""
    cluster = Cluster(name, direct)
    if verb == "poison":
        return Poison(
            name,
            lambda: KafkaPublisher(name, direct),
            params,
            check=lambda: cluster.has_topic("PoisonMessage", str(params["channel"])),
        )
    kinds: dict[str, Callable[[Cluster, Mapping[str, Any]], Disturbance]] = {
        "rebalance": Rebalanced,
        "redeliver": SetBack,
    }
    if verb not in kinds:
        msg = f"{name} is a Kafka: {_ELSEWHERE.get(verb, f'it cannot be made to {verb}')}"
        raise FaultError(msg)
    return kinds[verb](cluster, params)


class Cluster:
    """The one broker, asked from a thread of its own with connections that last one call."""

    def __init__(self, name: str, direct: str) -> None:
        try:
            import aiokafka  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to disturb a Kafka install the extra: pip install 'pytest-chaos[kafka]'"
            raise ChaosError(msg) from missing
        self._errors = (TimeoutError, OSError, aiokafka.errors.KafkaError)
        self.name = name
        self._direct = direct
        self._thread: LoopThread | None = None

    def has_topic(self, fault: str, topic: str) -> None:
        """Raise FaultError listing the topics unless there is this one."""
        known = self.ask(self._topics())
        self.close()
        if topic not in known:
            msg = f"{fault}: channel={topic!r}: {self.name} has no such topic; it has: {', '.join(known) or 'none'}"
            raise FaultError(msg)

    def with_group(
        self, fault: str, group: str, work: Callable[[Members], Coroutine[Any, Any, T]], *, timeout_s: float = _CALL_S
    ) -> T:
        """Connect, do it, disconnect; ``fault`` is named in refusals."""

        async def do() -> T:
            members = Members(self._direct, group, fault)
            try:
                await members.start()
                return await work(members)
            finally:
                await members.close()

        return self.ask(do(), timeout_s=timeout_s)

    def ask(self, work: Coroutine[Any, Any, T], *, timeout_s: float = _CALL_S) -> T:
        """Run it; what the library raises comes out as ChaosError."""
        self._thread = self._thread or LoopThread(f"disturb-{self.name}")
        try:
            return self._thread.call(work, timeout_s=timeout_s)
        except self._errors as wrong:
            msg = f"{self.name}: {str(wrong) or f'no answer within {timeout_s:g} s'}"
            raise ChaosError(msg) from wrong

    def close(self) -> None:
        """End the thread; another begins when it is needed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def _topics(self) -> list[str]:
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - an extra

        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self._direct, request_timeout_ms=int(_CALL_S * 1000))
        try:
            await admin.start()
            return sorted(topic for topic in await admin.list_topics() if not topic.startswith("__"))
        finally:
            await admin.close()


class Rebalanced:
    """A group whose members have to share its partitions anew."""

    def __init__(self, cluster: Cluster, params: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._group, self._how = str(params["group"]), str(params["how"])
        self._rounds = int(params["times"])
        self._times: list[int] = []
        self._others: frozenset[str] = frozenset()
        self._own = ""

    def apply(self) -> None:
        """Do it as often as asked, each time until the group is stable again."""
        each = self._come_and_go if self._how == "join" else self._evict_all
        for _ in range(self._rounds):
            self._cluster.with_group("ForceRebalance", self._group, each, timeout_s=_APPLY_S)

    def undo(self) -> str:
        """Have no member of ours in the group; the proof is who is in it."""
        if not self._own:
            return f"group {self._group}: no member of ours is in it"

        async def out(members: Members) -> Group:
            found = await members.look()
            if self._own in found.members:
                await members.evict(self._own)
                found = await members.look()
            return found

        found = self._cluster.with_group("ForceRebalance", self._group, out)
        if self._own in found.members:
            msg = f"group {self._group}: our member {self._own} is still in it"
            raise ChaosError(msg)
        return f"group {self._group}: {len(found.members)} members, none of ours; {found.state}"

    def toll(self) -> Toll:
        """Count the rebalances."""
        if not self._times:
            return Toll()
        done = "our member joined and left" if self._how == "join" else "every member was removed and joined again"
        proof = f"group {self._group}: {len(self._times)} rebalances, since {done}; members: {len(self._others)}"
        return Toll(hits=len(self._times), first_ns=self._times[0], last_ns=self._times[-1], proof=proof)

    def close(self) -> None:
        """Disconnect."""
        self._cluster.close()

    async def _come_and_go(self, members: Members) -> None:
        self._others = (await members.settled()).members
        await members.join((await members.look()).protocol, self._note)
        self._times.append(time.monotonic_ns())
        await members.evict(self._own)
        await members.until(lambda one: one.state == "Stable" and self._own not in one.members, "stable without us")
        self._times.append(time.monotonic_ns())

    def _note(self, member: str) -> None:
        self._own = member

    async def _evict_all(self, members: Members) -> None:
        before = (await members.settled()).members
        for member in sorted(before):
            await members.evict(member)
        found = await members.until(
            lambda one: one.state == "Stable" and bool(one.members) and not before & one.members, "joined again"
        )
        self._others = found.members
        self._times.append(time.monotonic_ns())


class SetBack:
    """A group's committed offsets, set back while it works.

    Only a member may commit, so a member that wants no partition joins, commits, and leaves: in the rebalance that
    follows everybody asks for the committed offsets anew.
    """

    def __init__(self, cluster: Cluster, params: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._topic, self._group, self._count = str(params["channel"]), str(params["group"]), int(params["count"])
        if not self._group:
            msg = f"Redeliver: group={self._group!r}: must name the group whose offsets on {self._topic} are set back"
            raise FaultError(msg)
        self._were: dict[Place, int] = {}
        self._back: dict[Place, int] = {}
        self._at_ns: int | None = None
        self._final: int | None = None
        self._own = ""

    def apply(self) -> None:
        """Set it back; raise FaultError when it has committed nothing on the topic."""
        self._cluster.with_group("Redeliver", self._group, self._set_back, timeout_s=_APPLY_S)

    def undo(self) -> str:
        """Put the offsets forward where the group has not got past them by itself."""
        if not self._back:
            return f"group {self._group}: nothing was changed"
        now = self._now()
        if self._final is None:
            self._final = self._passed(now)
        behind = self._behind(now)
        if behind:
            self._cluster.with_group(
                "Redeliver", self._group, lambda members: self._commit(members, behind), timeout_s=_UNDO_S
            )
            now = self._now()
        if still := self._behind(now):
            where = ", ".join(f"{topic}/{number}" for topic, number in still)
            msg = f"group {self._group}: it is still behind where it was on {where}"
            raise ChaosError(msg)
        how = f"put there again on {len(behind)} partitions" if behind else "by itself"
        return f"group {self._group}: it is where it was or further, {how}"

    def toll(self) -> Toll:
        """Count the records that the group has committed past once more; final with ``undo``."""
        if not self._back:
            return Toll()
        passed = self._passed(self._now()) if self._final is None else self._final
        if not passed:
            return Toll()
        proof = f"group {self._group} was set back on {self._topic} and got past {passed} records again"
        return Toll(hits=passed, first_ns=self._at_ns, last_ns=time.monotonic_ns(), proof=proof)

    def close(self) -> None:
        """Disconnect."""
        self._cluster.close()

    async def _set_back(self, members: Members) -> None:
        were = {place: offset for place, offset in (await members.committed()).items() if place[0] == self._topic}
        back = {place: max(0, offset - self._count) for place, offset in were.items() if offset > 0}
        if not back:
            msg = f"Redeliver: channel={self._topic!r}: group {self._group} has committed nothing there yet"
            raise FaultError(msg)
        self._were, self._back = {place: were[place] for place in back}, back
        self._at_ns = time.monotonic_ns()
        await self._commit(members, back)

    async def _commit(self, members: Members, offsets: dict[Place, int]) -> None:
        found = await members.until(lambda one: one.state in ("Stable", "Empty", "Dead"), "stable")
        if self._own in found.members:  # left by a call whose time was over
            await members.evict(self._own)
            found = await members.until(lambda one: one.state == "Stable" and self._own not in one.members, "stable")
        if not found.members:
            await members.commit(-1, "", offsets)
            return
        generation = await members.join(found.protocol, self._note)
        try:
            await members.commit(generation, self._own, offsets)
        finally:
            await members.evict(self._own)

    def _note(self, member: str) -> None:
        self._own = member

    def _now(self) -> dict[Place, int]:
        return self._cluster.with_group("Redeliver", self._group, Members.committed)

    def _behind(self, now: Mapping[Place, int]) -> dict[Place, int]:
        # A topic or a group that is gone has no place to be put back to.
        return {place: offset for place, offset in self._were.items() if now.get(place, offset) < offset}

    def _passed(self, now: Mapping[Place, int]) -> int:
        return sum(max(0, min(now.get(place, 0), was) - self._back[place]) for place, was in self._were.items())
