"""What went through a Redis's streams, and how far each consumer group is."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_chaos.brokers._marks import body_text, correlation, lower, marker, text
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.message import Message

_TIMEOUT_S = 2.0
_MOST = 10_000
_FIRST = "0-0"


class RedisObserver:
    """Reads streams with XRANGE from where a window began; Redis keeps entries, so nothing has to listen meanwhile."""

    def __init__(self, name: str, direct: str, streams: tuple[str, ...], pointer: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError as missing:
            msg = f"{name}: to observe a Redis install the extra: pip install 'pytest-chaos[redis]'"
            raise ChaosError(msg) from missing
        host, _, port = direct.rpartition(":")
        self._errors = redis.RedisError
        self._redis = redis.Redis(
            host=host,
            port=int(port),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            protocol=2,
            retry=Retry(NoBackoff(), 1),  # a connection from before a restart is dead; an absent server is an answer
        )
        self._name = name
        self._declared = streams
        self._pointer = pointer
        self._since: dict[str, str] = {}
        self._held: list[Message] = []
        self._began_ns = 0

    def begin(self) -> None:
        """Start a window behind the last entry of each stream; raise ChaosError when the server does not answer."""
        with self._asking():
            self._since = {stream: self._last(stream) for stream in self._streams()}
        self._held.clear()
        self._began_ns = time.monotonic_ns()

    def messages(self) -> list[Message]:
        """List entries since ``begin``, then per group what is settled, unacked and pending."""
        with self._asking():
            found = [message for stream in self._streams() for message in self._of(stream)]
        known = {message.id for message in found}
        return [*(message for message in self._held if message.id not in known), *found]

    def backlog(self) -> dict[str, int]:
        """Count, per stream and group, entries that were not delivered or not acknowledged; -1 when nobody answers."""
        try:
            return {
                f"{stream} group {text(group['name'])}": int(group["pending"]) + self._lag(stream, group)
                for stream in self._streams()
                for group in self._groups(stream)
            }
        except self._errors:
            return dict.fromkeys(self._declared or ("streams",), -1)

    def hold(self) -> None:
        """Keep the entries of the window, which are else read at its end."""
        self._held = [message for message in self.messages() if message.event == "published"]

    def lost(self, at_ns: int) -> None:
        """Take every entry that is there for one of this window."""
        del at_ns
        self._since.clear()

    def close(self) -> None:
        """Disconnect."""
        self._redis.close()

    def _streams(self) -> list[str]:
        if self._declared:
            return list(self._declared)
        return sorted(text(key) for key in self._redis.scan_iter(_type="stream", count=1000))

    def _last(self, stream: str) -> str:
        newest: Any = self._redis.xrevrange(stream, count=1)
        return text(newest[0][0]) if newest else _FIRST

    def _of(self, stream: str) -> Iterator[Message]:
        since = self._since.get(stream, _FIRST)
        entries: Any = self._redis.xrange(stream, min=f"({since}", count=_MOST)
        published = [self._message(stream, text(entry), fields) for entry, fields in entries]
        yield from published
        for group in self._groups(stream):
            name = text(group["name"])
            delivered = _order(text(group["last-delivered-id"]))
            waiting: Any = (
                self._redis.xpending_range(stream, name, min="-", max="+", count=_MOST) if group["pending"] else []
            )
            unacked = {text(row["message_id"]) for row in waiting}
            for message in published:
                entry = message.id.rpartition(":")[2]
                event = "pending" if _order(entry) > delivered else "unacked" if entry in unacked else "settled"
                yield _ended(message, name, event)

    def _message(self, stream: str, entry: str, raw: Mapping[bytes, bytes]) -> Message:
        fields = {text(name): text(value) for name, value in raw.items()}
        known = lower(fields)
        return Message(
            id=f"{self._name}:{stream}:{entry}",
            broker=self._name,
            channel=stream,
            event="published",
            marker=self._marker(fields) or f"{stream}:{entry}",
            at_ns=self._when(entry),
            correlation_id=correlation(known, known.get("correlation_id", "")),
            traceparent=known.get("traceparent", ""),
            headers=known,
            body=body_text(json.dumps(fields).encode()),
        )

    def _marker(self, fields: Mapping[str, str]) -> str:
        own = fields.get(self._pointer.strip("/"), "")
        return own or next((found for value in fields.values() if (found := marker(value, self._pointer))), "")

    def _when(self, entry: str) -> int:
        """Turn an entry's id, the server's wall clock in ms, into monotonic ns; ids of the user's own say nothing."""
        now = time.monotonic_ns()
        told = now - (time.time_ns() - int(entry.partition("-")[0]) * 1_000_000)
        return max(told, self._began_ns) if self._began_ns - 1_000_000_000 <= told <= now else now

    def _groups(self, stream: str) -> list[Mapping[str, Any]]:
        if not self._redis.exists(stream):
            return []
        found: Any = self._redis.xinfo_groups(stream)
        return list(found)

    def _lag(self, stream: str, group: Mapping[str, Any]) -> int:
        """Give the server's own count (Redis 7), else count the entries behind the last one that was delivered."""
        told = group.get("lag")
        if told is not None:
            return int(told)
        behind: Any = self._redis.xrange(stream, min=f"({text(group['last-delivered-id'])}", count=_MOST)
        return len(behind)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._errors as wrong:
            msg = f"{self._name}: its streams cannot be read: {wrong}"
            raise ChaosError(msg) from wrong


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)


def _ended(message: Message, group: str, event: Any) -> Message:
    return Message(
        id=f"{message.id}:{event}:{group}",
        broker=message.broker,
        channel=message.channel,
        event=event,
        marker=message.marker,
        at_ns=time.monotonic_ns(),
        group=group,
        correlation_id=message.correlation_id,
    )
