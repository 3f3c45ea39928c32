"""A message that nobody can read, put into a channel by the broker's own publisher, off all links."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from pytest_chaos.brokers.base import Publisher, Toll
from pytest_chaos.errors import ChaosError, FaultError, PublishError
from pytest_chaos.model.message import POISON

UNREADABLE = b'\x00\xff{"pytest-chaos": "not UTF-8 and not JSON'
_CONFIRM_S = 5.0


class Poison:
    """Publishes ``count`` copies, each confirmed; ``check`` raises FaultError when there is no such channel."""

    def __init__(
        self,
        name: str,
        publisher: Callable[[], Publisher],
        params: Mapping[str, Any],
        *,
        check: Callable[[], None] = lambda: None,
        to: tuple[str, str] | None = None,
    ) -> None:
        self._name = name
        self._make = publisher
        self._publisher: Publisher | None = None
        self._check = check
        self._params = params
        self._to = to or (str(params["channel"]), str(params.get("key") or ""))
        self._times: list[int] = []

    def apply(self) -> None:
        """Publish; raise FaultError for what the broker refuses."""
        self._check()
        told = self._params.get("message")
        body = UNREADABLE if told is None else base64.b64decode(told)
        self._publisher = self._publisher or self._make()
        channel, key = self._to
        for number in range(int(self._params.get("count", 1))):
            headers = {
                # A name of its own in every run: services remember what they have seen.
                "message-id": f"poison-{time.time_ns():x}-{number + 1}",
                POISON: "1",
                **self._params.get("headers", {}),
            }
            try:
                self._publisher.publish(channel, body, key=key, headers=headers, timeout_s=_CONFIRM_S)
            except PublishError as wrong:
                kind = FaultError if wrong.certain else ChaosError
                raise kind(f"PoisonMessage: channel={self._params['channel']!r}: not taken: {wrong}") from wrong
            self._times.append(time.monotonic_ns())

    def undo(self) -> str:
        """Take nothing back: a message is its consumers' once it is published."""
        count = len(self._times)
        return f"{self._name}: nothing to take back: what was published ({count}) is its consumers' to settle"

    def toll(self) -> Toll:
        """Count what the broker confirmed."""
        if not self._times:
            return Toll()
        channel = " ".join(filter(None, self._to))
        proof = f"{self._name} confirmed poison on {channel}: {len(self._times)}"
        return Toll(hits=len(self._times), first_ns=self._times[0], last_ns=self._times[-1], proof=proof)

    def close(self) -> None:
        """Disconnect."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            with contextlib.suppress(OSError):
                publisher.close()
