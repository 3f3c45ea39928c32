"""What is kept of a request's body while it passes: its hash, and as much of it as its marker or a stub needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pytest_chaos.model.operations import pattern
from pytest_chaos.wire.identify import find, needs_body
from pytest_chaos.wire.kinds import BODY_LIMIT
from pytest_chaos.wire.record import Record

_NO_BODY = hashlib.blake2b(digest_size=8).hexdigest()


class RequestBody:
    """Fills in a record's ``body_hash`` (BLAKE2b, 8 bytes) and ``marker``, as the link's ``identify`` says."""

    __slots__ = ("_hash", "_kept", "_marker", "_record")

    def __init__(self, record: Record, identify: Mapping[str, str], *, keep: bool) -> None:
        self._record = record
        self._hash: hashlib.blake2b | None = None
        self._marker = _marker(identify, record.operation) if identify else ""
        self._kept = bytearray() if keep or (self._marker and needs_body(self._marker)) else None

    def take(self, content: bytes) -> None:
        """Take the next bytes, without their framing."""
        if self._hash is None:
            self._hash = hashlib.blake2b(content, digest_size=8)
        else:
            self._hash.update(content)
        if self._kept is not None and len(self._kept) < BODY_LIMIT:
            self._kept += content

    def done(self, now_ns: int, *, path: str, headers: Mapping[str, str]) -> None:
        """The request is complete."""
        record = self._record
        record.sent_ns = now_ns
        record.body_hash = _NO_BODY if self._hash is None else self._hash.hexdigest()
        if self._marker:
            record.marker = find(self._marker, path=path, headers=headers, body=self.kept)

    @property
    def kept(self) -> bytes:
        """The body, up to 16 MiB, where somebody needs it."""
        return bytes(self._kept or b"")


def whole_body(
    record: Record, identify: Mapping[str, str], content: bytes, now_ns: int, *, path: str, headers: Mapping[str, str]
) -> None:
    """Fill in the same for a request that came in one piece and is not kept."""
    if identify:
        body = RequestBody(record, identify, keep=False)
        body.take(content)
        body.done(now_ns, path=path, headers=headers)
    else:
        record.sent_ns = now_ns
        record.body_hash = hashlib.blake2b(content, digest_size=8).hexdigest() if content else _NO_BODY


def _marker(identify: Mapping[str, str], operation: str) -> str:
    return next((spec for name, spec in identify.items() if pattern(name).fullmatch(operation)), "")
