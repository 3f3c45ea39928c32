"""The names that the driver gives its calls: ids that derive from the seed, the test and the call's index alone."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pytest_chaos.model.whose import BAGGAGE_ENTRY, TRACE_MARK, correlation_prefix


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """What marks one call of the driver on every hop: correlation id and W3C trace context."""

    op_id: str
    correlation_id: str
    trace_id: str
    span_id: str

    def headers(self) -> dict[str, str]:
        """Give the headers of the first hop."""
        return {
            "x-correlation-id": self.correlation_id,
            "traceparent": f"00-{self.trace_id}-{self.span_id}-01",
            "baggage": f"{BAGGAGE_ENTRY}={self.correlation_id}",
        }


class _Branch:
    """Calls of one place in a burst: numbered by that place, not by who came first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers = itertools.count(1)


_BRANCH: ContextVar[_Branch | None] = ContextVar("branch", default=None)


class Identities:
    """Gives each call of one test its identity; the same seed, test and order give the same identities.

    Calls of a burst run in any order: there the place in the burst counts (:meth:`branches`).
    """

    def __init__(self, seed: int, test: str) -> None:
        self._root = f"{seed}/{test}"
        self.test = hashlib.blake2b(self._root.encode(), digest_size=6).hexdigest()
        """The 12 hex digits that trace ids, correlation ids and baggage of this test's calls carry, and no other's."""
        self.prefix = correlation_prefix(self.test)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def next(self) -> CallIdentity:
        """Name the next call."""
        branch = _BRANCH.get()
        with self._lock:
            if branch is None:
                number = str(next(self._numbers))
            else:
                again = next(branch.numbers)
                number = branch.name if again == 1 else f"{branch.name}.{again}"
        digest = hashlib.blake2b(f"{self._root}/{number}".encode(), digest_size=16).hexdigest()
        trace_id = f"{TRACE_MARK}{self.test}{digest[:16]}"
        return CallIdentity(f"o{number}", f"{self.prefix}{number}", trace_id, digest[16:])

    def branches(self) -> Callable[[int], AbstractContextManager[None]]:
        """Number a burst; give what names the calls of its place ``index`` (from 0), in the thread that enters it."""
        with self._lock:
            burst = next(self._numbers)

        @contextmanager
        def at(index: int) -> Iterator[None]:
            token = _BRANCH.set(_Branch(f"{burst}.{index + 1}"))
            try:
                yield
            finally:
                _BRANCH.reset(token)

        return at
