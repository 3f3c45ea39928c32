"""What a load says: requests made beforehand, answers counted. Nothing here may cost more than the proxies measured."""

from __future__ import annotations

import abc
import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

RING = 512
"""Requests of a connection that differ (each has its trace, as in every run of chaos tests); then they repeat."""


@dataclass(slots=True)
class Tally:
    """What all connections of one load have seen: nanoseconds from each request to its answer."""

    times_ns: list[int] = field(default_factory=list)
    total: int = 0
    wrong: str = ""
    over: bool = False


class Client(asyncio.Protocol, abc.ABC):
    """Keeps ``depth`` requests open, asking again as soon as it is answered."""

    def __init__(self, requests: Sequence[bytes], depth: int, tally: Tally) -> None:
        self._requests, self._depth, self._tally = requests, depth, tally
        self._sent: deque[int] = deque()
        self._next = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.begin()

    def begin(self) -> None:
        """Say what comes before the first request; then :meth:`go`."""
        self.go()

    def go(self) -> None:
        self.ready.set_result(None)
        self._ask(self._depth)

    @classmethod
    @abc.abstractmethod
    def requests(cls, connection: int) -> list[bytes]:
        """Make the requests of a connection, which are sent in turn."""

    @abc.abstractmethod
    def answers(self, data: bytes) -> int:
        """Take bytes; tell how many answers they complete."""

    def data_received(self, data: bytes) -> None:
        count = self.answers(data)
        if count:
            now, tally = time.perf_counter_ns(), self._tally
            tally.total += count
            for _ in range(count):
                tally.times_ns.append(now - self._sent.popleft())
            self._ask(count)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._tally.over:
            self.fail(f"the connection was lost: {exc}")

    def fail(self, wrong: str) -> None:
        self._tally.wrong = self._tally.wrong or wrong
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(wrong))

    def request(self) -> bytes:
        """Give the next request."""
        at = self._next
        self._next = at + 1 if at + 1 < len(self._requests) else 0
        return self._requests[at]

    def _ask(self, count: int) -> None:
        self._sent.extend([time.perf_counter_ns()] * count)
        self.transport.write(self.request() if count == 1 else b"".join([self.request() for _ in range(count)]))


def traceparent(connection: int, number: int) -> str:
    """Give a request's W3C trace context."""
    return f"00-{connection:016x}{number:016x}-{number:016x}-01"


class Bodies:
    """Counts HTTP/1.1 messages whose bodies all have one size."""

    def __init__(self, size: int) -> None:
        self._size, self._left, self._head = size, 0, b""

    def feed(self, data: bytes) -> int:
        found = 0
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                found += not self._left
                data = data[taken:]
                continue
            head = self._head + data
            end = head.find(b"\r\n\r\n")
            if end < 0:
                self._head = head
                break
            self._head, data, self._left = b"", head[end + 4 :], self._size
        return found


class Http1(Client):
    """HTTP/1.1 with keep-alive; answers carry as many bytes as requests."""

    size = 20

    def __init__(self, requests: Sequence[bytes], depth: int, tally: Tally) -> None:
        super().__init__(requests, depth, tally)
        self._bodies = Bodies(self.size)

    @classmethod
    def requests(cls, connection: int) -> list[bytes]:
        body = b"x" * cls.size
        return [
            (
                "POST /payments HTTP/1.1\r\nHost: bench\r\nUser-Agent: load\r\nAccept: */*\r\n"
                f"Idempotency-Key: {connection}-{number}\r\ntraceparent: {traceparent(connection, number)}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {cls.size}\r\n\r\n"
            ).encode()
            + body
            for number in range(RING if cls.size < 1000 else 4)
        ]

    def answers(self, data: bytes) -> int:
        return self._bodies.feed(data)


class Http1Large(Http1):
    """The same with bodies of 1 MiB both ways."""

    size = 2**20


class Http1Server(asyncio.Protocol):
    """Answers each request as soon as it is whole."""

    client: type[Http1] = Http1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        size = self.client.size
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
        self._answer = head.encode() + b"y" * size
        self._bodies = Bodies(size)

    def data_received(self, data: bytes) -> None:
        count = self._bodies.feed(data)
        if count:
            self._transport.write(self._answer * count)


class Http1LargeServer(Http1Server):
    """The same with bodies of 1 MiB."""

    client = Http1Large


class Redis(Client):
    """SET and GET in turn, one at a time."""

    _value = b"$100\r\n" + b"v" * 100 + b"\r\n"
    _in = b""

    @classmethod
    def requests(cls, connection: int) -> list[bytes]:
        found = []
        for number in range(RING // 2):
            key = b"bench:%d:%d" % (connection, number)
            found += [cls._command(b"SET", key, b"v" * 100), cls._command(b"GET", key)]
        return found

    @staticmethod
    def _command(*words: bytes) -> bytes:
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)

    def answers(self, data: bytes) -> int:
        data = self._in = self._in + data if self._in else data
        if data not in {b"+OK\r\n", self._value}:
            if not (self._value.startswith(data) or b"+OK\r\n".startswith(data)):
                self.fail(f"redis says {data[:80]!r}")
            return 0
        self._in = b""
        return 1
