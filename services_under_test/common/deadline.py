"""How long the caller still waits, as a point on the monotonic clock; ``inf`` when nobody said."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "x-request-timeout-ms"
# A callee stops a little before its caller does, so that its own answer, not the caller's time-out, is what arrives.
_SHARE = 0.9

_current: ContextVar[float] = ContextVar("deadline_at_s", default=math.inf)


def current() -> float:
    """Give the monotonic time in seconds at which the caller in hand stops waiting."""
    return _current.get()


def accept(values: Sequence[str]) -> float:
    """Turn the header's milliseconds into a point in time; anything but one positive number is as if it were absent."""
    if len(values) != 1 or not values[0].isascii() or not values[0].isdigit():
        return math.inf
    return time.monotonic() + int(values[0]) / 1000 * _SHARE


def of_rpc(remaining_s: float | None) -> float:
    """Turn what gRPC says is left into a point in time."""
    return math.inf if remaining_s is None or remaining_s > 1e8 else time.monotonic() + remaining_s * _SHARE


@contextmanager
def bound(at_s: float) -> Iterator[None]:
    """Make a deadline the current one for a block; ``inf`` for work that no longer belongs to a caller."""
    token = _current.set(at_s)
    try:
        yield
    finally:
        _current.reset(token)
