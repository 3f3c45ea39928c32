"""What a Redis can be made to do: carry poison, be out of memory, deliver a stream's entries to a group again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_chaos.brokers._marks import text
from pytest_chaos.brokers._poison import Poison
from pytest_chaos.brokers.base import Disturbance, Toll
from pytest_chaos.brokers.redis.publisher import RedisPublisher
from pytest_chaos.errors import ChaosError, FaultError

_ASK_S = 2.0
_ELSEWHERE = {
    "unbind": "its streams have no routes; Refuse or Reset on the publisher's link keep messages away",
    "rebalance": "its groups have no partitions; Kill a consumer, or Redeliver its entries",
}


def make(name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
    """Make what carries ``verb`` out; raise FaultError with what works instead where there is no way."""
    server = Server(name, direct)
    if verb == "poison":

        def check() -> None:
            try:
                server.has_stream("PoisonMessage", str(params["channel"]))
            finally:
                server.close()

        return Poison(name, lambda: RedisPublisher(name, f"redis://{direct}/0"), params, check=check)
    kinds: dict[str, Callable[[Server, Mapping[str, Any]], Disturbance]] = {"fill": Full, "redeliver": Again}
    if verb not in kinds:
        msg = f"{name} is a Redis: {_ELSEWHERE.get(verb, f'it cannot be made to {verb}')}"
        raise FaultError(msg)
    return kinds[verb](server, params)


class Server:
    """A connection beside all links, made on first use."""

    def __init__(self, name: str, direct: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
        except ImportError as missing:
            msg = f"{name}: to disturb a Redis install the extra: pip install 'pytest-chaos[redis]'"
            raise ChaosError(msg) from missing
        host, _, port = direct.rpartition(":")
        self.name = name
        self._error = redis.RedisError
        self._redis: Any = redis.Redis(host=host, port=int(port), socket_timeout=_ASK_S, socket_connect_timeout=_ASK_S)

    @contextlib.contextmanager
    def asking(self) -> Iterator[Any]:
        """Give the client; what it raises comes out as ChaosError."""
        try:
            yield self._redis
        except self._error as wrong:
            msg = f"{self.name}: cannot be asked: {wrong}"
            raise ChaosError(msg) from wrong

    def has_stream(self, fault: str, stream: str) -> None:
        """Raise FaultError listing the streams unless there is this one."""
        with self.asking() as redis:
            if text(redis.type(stream)) == "stream":
                return
            known = sorted(text(key) for key in redis.scan_iter(_type="stream", count=1000))
        msg = f"{fault}: channel={stream!r}: {self.name} has no such stream; it has: {', '.join(known) or 'none'}"
        raise FaultError(msg)

    def close(self) -> None:
        """Disconnect; the client connects anew when it is used again."""
        self._redis.close()


class Full:
    """``maxmemory`` of a byte and no eviction: every command that may use memory is refused with OOM."""

    def __init__(self, server: Server, params: Mapping[str, Any]) -> None:
        del params
        self._server = server
        self._before: dict[str, str] = {}
        self._refused = 0
        self._first_ns: int | None = None

    def apply(self) -> None:
        """Note the settings and the count of refusals, then leave no room."""
        with self._server.asking() as redis:
            told = {**redis.config_get("maxmemory"), **redis.config_get("maxmemory-policy")}
            self._refused = _refusals(redis)
            self._before = {text(name): text(value) for name, value in told.items()}
            self._first_ns = time.monotonic_ns()
            redis.config_set("maxmemory-policy", "noeviction")
            redis.config_set("maxmemory", 1)

    def undo(self) -> str:
        """Set the settings back; the proof is what the server says that they are."""
        if not self._before:
            return f"{self._server.name}: nothing was changed"
        with self._server.asking() as redis:
            for name, value in self._before.items():
                redis.config_set(name, value)
            found = {name: text(next(iter(redis.config_get(name).values()))) for name in self._before}
        if found != self._before:
            msg = f"{self._server.name}: its settings are {found} and were {self._before}"
            raise ChaosError(msg)
        return f"{self._server.name}: maxmemory is {found['maxmemory']} again, {found['maxmemory-policy']}"

    def toll(self) -> Toll:
        """Count the server's own OOM errors since."""
        if not self._before:
            return Toll()
        with self._server.asking() as redis:
            count = max(0, _refusals(redis) - self._refused)
        if not count:
            return Toll()
        proof = f"{self._server.name} refused {count} commands with OOM"
        return Toll(hits=count, first_ns=self._first_ns, last_ns=time.monotonic_ns(), proof=proof)

    def close(self) -> None:
        """Disconnect."""
        self._server.close()


class Again:
    """A group's last delivered id, set back: entries that it had are new to it once more."""

    def __init__(self, server: Server, params: Mapping[str, Any]) -> None:
        self._server = server
        self._stream, self._group = str(params["channel"]), str(params["group"])
        self._count = int(params["count"])
        self._was = ""
        self._entries: list[str] = []
        self._at_ns: int | None = None
        self._final: int | None = None

    def apply(self) -> None:
        """Note where the group is, then set it back by up to ``count`` entries; raise FaultError when it had none."""
        self._server.has_stream("Redeliver", self._stream)
        with self._server.asking() as redis:
            groups = {text(one["name"]): text(one["last-delivered-id"]) for one in redis.xinfo_groups(self._stream)}
            if self._group not in groups:
                known = ", ".join(sorted(groups)) or "none"
                msg = f"Redeliver: group={self._group!r}: {self._stream} has no such group; it has: {known}"
                raise FaultError(msg)
            was = groups[self._group]
            had = redis.xrevrange(self._stream, max=was, count=self._count + 1)
            ids = [text(entry) for entry, _ in reversed(had)]
            self._entries = ids[-self._count :]
            if not self._entries:
                msg = f"Redeliver: channel={self._stream!r}: {self._group} was delivered no entry yet"
                raise FaultError(msg)
            self._was, self._at_ns = was, time.monotonic_ns()
            redis.xgroup_setid(self._stream, self._group, ids[0] if len(ids) > self._count else "0-0")

    def undo(self) -> str:
        """Set the group forward again, unless it has gone on by itself."""
        if not self._was:
            return f"{self._server.name}: nothing was changed"
        with self._server.asking() as redis:
            now = self._position(redis)
            if self._final is None:
                self._final = self._passed(now)
            if _order(now) >= _order(self._was):
                return f"{self._stream}: {self._group} has gone on by itself to {now}, past {self._was}"
            redis.xgroup_setid(self._stream, self._group, self._was)
            return f"{self._stream}: {self._group} is at {self._position(redis)} again"

    def toll(self) -> Toll:
        """Count the entries that the group has got past again; final with ``undo``."""
        if not self._was:
            return Toll()
        passed = self._final
        if passed is None:
            with self._server.asking() as redis:
                passed = self._passed(self._position(redis))
        if not passed:
            return Toll()
        proof = f"{self._group} was delivered {passed} entries of {self._stream} again, from {self._entries[0]} on"
        return Toll(hits=passed, first_ns=self._at_ns, last_ns=time.monotonic_ns(), proof=proof)

    def close(self) -> None:
        """Disconnect."""
        self._server.close()

    def _passed(self, now: str) -> int:
        return sum(_order(entry) <= _order(now) for entry in self._entries)

    def _position(self, redis: Any) -> str:
        groups = redis.xinfo_groups(self._stream) if redis.exists(self._stream) else []
        found = [text(one["last-delivered-id"]) for one in groups if text(one["name"]) == self._group]
        # A stream or a group that is gone has no place to be put back to.
        return found[0] if found else self._was


def _refusals(redis: Any) -> int:
    told = redis.info("errorstats").get("errorstat_OOM")
    return int(told["count"]) if isinstance(told, dict) else 0


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
