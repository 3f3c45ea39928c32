"""An HTTP/2 answer that is held: headers, DATA without framing, trailers; and answers that wire makes itself."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_chaos.wire.http2.grpc import UNAVAILABLE
from pytest_chaos.wire.http2.headers import Block, Header
from pytest_chaos.wire.stub import Answer

_HEAD: list[Header] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
GRPC_HEAD = Block(_HEAD)
"""What a gRPC answer begins with."""


@dataclass(slots=True)
class HeldAnswer:
    """What came of the callee's answer and was not given yet."""

    heads: list[Block] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    trailers: Block | None = None

    def take(self, size: int) -> bytes:
        """Take up to so many bytes of DATA out."""
        part = bytes(self.data[:size])
        del self.data[:size]
        return part

    def reframe(self, size: int | None, by: int, *, add: bool) -> bool:
        """Cut the DATA to ``size`` bytes; the content length (added where there is none) says ``by`` more."""
        if not self.data or not self.heads:
            return False
        if size is not None:
            del self.data[size:]
        self.heads[-1] = self.heads[-1].edited("content-length", str(max(0, len(self.data) + by)), add=add)
        return True


def status_headers(code: int, message: str, *, begun: bool, metadata: Mapping[str, str] | None = None) -> Block:
    """Give the headers of a gRPC status: trailers where the answer has ``begun``, else all that there is of it."""
    text = urllib.parse.quote(message, safe=" ,.:;'()/").encode()
    more = [(name.encode(), value.encode()) for name, value in (metadata or {}).items()]
    return Block([*([] if begun else _HEAD), (b"grpc-status", b"%d" % code), (b"grpc-message", text), *more])


def reset_headers(*, begun: bool) -> Block:
    """Give what a gRPC caller sees when the connection breaks under its call."""
    return status_headers(UNAVAILABLE, "connection reset (injected)", begun=begun)


def answer_headers(answer: Answer) -> Block:
    """Give the headers of an HTTP answer."""
    pairs = answer.headers.items()
    return Block(
        [
            (b":status", b"%d" % answer.status),
            *((name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in pairs),
        ]
    )
