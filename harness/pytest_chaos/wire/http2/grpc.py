"""The little of gRPC that wire knows: status codes, deadlines, where a message ends. Pure."""

from __future__ import annotations

UNAVAILABLE = 14

OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""What a gRPC caller makes of an HTTP status (grpc/doc/http-grpc-status-mapping.md); anything else is UNKNOWN (2)."""

_UNITS_NS = {"H": 3600 * 10**9, "M": 60 * 10**9, "S": 10**9, "m": 10**6, "u": 10**3, "n": 1}
_NEARLY = 0.95
_HEAD = 5


def deadline_passed(timeout: str, elapsed_ns: int) -> bool:
    """Whether a call that lasted so long ended by its ``grpc-timeout``, which is a little shorter when it goes out."""
    value, unit = timeout[:-1], timeout[-1:]
    return value.isdecimal() and unit in _UNITS_NS and elapsed_ns >= int(value) * _UNITS_NS[unit] * _NEARLY


class Messages:
    """Counts the messages in one direction of a call: each has a head of five bytes, with its length in the last four.

    (grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message".)
    """

    __slots__ = ("_head", "_left", "count")

    def __init__(self) -> None:
        self.count = 0
        self._left = 0
        self._head = b""

    def feed(self, data: bytes, at: int = 0, *, limit: int = 0) -> int | None:
        """Take the bytes from ``at`` on; give where in ``data`` the ``limit``-th message ends, None before that."""
        size = len(data)
        if not self._left and not self._head and size - at - _HEAD == int.from_bytes(data[at + 1 : at + _HEAD], "big"):
            self.count += 1  # one whole message, as most calls have it
            return size if self.count == limit else None
        while at < size:
            if not self._left:
                taken = min(_HEAD - len(self._head), size - at)
                self._head += data[at : at + taken]
                at += taken
                if len(self._head) < _HEAD:
                    break
                self._left = int.from_bytes(self._head[1:], "big")
                self._head = b""
                if self._left:
                    continue
            else:
                taken = min(self._left, size - at)
                self._left -= taken
                at += taken
                if self._left:
                    break
            self.count += 1
            if self.count == limit:
                return at
        return None
