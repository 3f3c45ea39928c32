"""The correlation id.

Taken from the caller when it can be trusted, else made once, and carried by everything that the request causes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "x-correlation-id"
MAX_LENGTH = 128

_current: ContextVar[str] = ContextVar("correlation_id", default="")


def new() -> str:
    """Make an id that nobody else has."""
    return uuid.uuid4().hex


def current() -> str:
    """Give the id of the work in hand; empty outside of any."""
    return _current.get()


def accept(values: Sequence[str]) -> str:
    """Give the caller's id when there is exactly one, of 1 to 128 visible ASCII characters; else a new one.

    A value that is not trusted is replaced, never cut or escaped: what is forwarded must not be the caller's to forge.
    """
    if len(values) == 1 and 0 < len(values[0]) <= MAX_LENGTH and all("!" <= letter <= "~" for letter in values[0]):
        return values[0]
    return new()


@contextmanager
def bound(correlation_id: str) -> Iterator[str]:
    """Make an id the current one for a block; an empty one is replaced by a new one."""
    chosen = correlation_id or new()
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)
