"""What a producer's requests have in common, and what the answers to them: read once, recognized from then on. Pure.

Up to the first partition's number they are the same bytes, but for the correlation id; behind that stand the size of
the records or the error. Nothing depends on this but speed.
"""

from __future__ import annotations

from typing import NamedTuple

from pytest_chaos.wire.kafka.api import Shape

_REQUEST_AT, _ANSWER_AT = 12, 8
"""Where what is behind the correlation id begins."""
_PARTITION = 4
_LONGEST = 1024
_REQUESTS_KEPT = 4
_WELL = b"\0\0"


class Familiar(NamedTuple):
    """What requests that begin like this are."""

    beginning: bytes
    operation: str
    answered: bool
    body_at: int
    size_at: int
    """Where the size of the first records stands."""


class Produces:
    """What one connection has shown."""

    __slots__ = ("_answer", "_requests")

    def __init__(self) -> None:
        self._requests: list[tuple[Shape, Familiar]] = []
        self._answer: tuple[Shape, bytes, int] | None = None

    def request(self, raw: bytes, about: Shape) -> Familiar | None:
        """Recognize a request."""
        for shape, known in self._requests:
            if shape is about and raw.startswith(known.beginning, _REQUEST_AT):
                return known
        return None

    def learn(self, about: Shape, raw: bytes, read: Familiar) -> None:
        """Remember what was read of a request."""
        end = read.size_at - _PARTITION
        if end <= _LONGEST:
            known = read._replace(beginning=raw[_REQUEST_AT:end])
            self._requests = [(about, known), *self._requests[: _REQUESTS_KEPT - 1]]

    def well(self, raw: bytes, about: Shape) -> bool:
        """Whether an answer is recognized as one about one partition, without an error."""
        if self._answer is None:
            return False
        shape, beginning, error_at = self._answer
        return shape is about and raw.startswith(beginning, _ANSWER_AT) and raw[error_at : error_at + 2] == _WELL

    def learn_answer(self, about: Shape, raw: bytes, error_at: int) -> None:
        """Remember where the only error of a whole answer stands."""
        end = error_at - _PARTITION
        if end <= _LONGEST:
            self._answer = about, raw[_ANSWER_AT:end], error_at
