"""An attempt that nothing is done to, as nearly all are: no more of it than its line on the spool says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from pytest_chaos.wire.record import Record

if TYPE_CHECKING:
    from pytest_chaos.wire.framed.reader import Call

_quote = json.encoder.encode_basestring_ascii


class Origin(NamedTuple):
    """What all calls of a connection have in common, but for its first one, which is not ``reused``."""

    link: str
    connection: str
    reused: bool
    protocol: str
    connected_ns: int
    text: str
    """All of it as a line of the spool says it."""


def origin(link: str, connection: str, protocol: str, connected_ns: int, *, reused: bool) -> Origin:
    """Write an origin down once for all of its calls."""
    text = (
        f'"link":{_quote(link)},"connection":"{connection}","reused":{"true" if reused else "false"},'
        f'"protocol":"{protocol}","connected_ns":{connected_ns}'
    )
    return Origin(link, connection, reused, protocol, connected_ns, text)


class Plain(Record):
    """A call that was handed on at once, as it came, and is open until its answer is.

    It is a Record for the spool and for a mark; only what is set here is there. It was sent and forwarded at one time,
    and is answered and ended at one. Where something else becomes of it, it is made :meth:`whole` first.
    """

    __slots__ = ("_origin", "call")

    def __init__(self, name: str, origin_: Origin, call: Call, since_ns: int, now: int, size: int) -> None:
        self.id, self._origin, self.call, self.protocol = name, origin_, call, origin_.protocol
        self.started_ns, self.sent_ns, self.forwarded_ns = since_ns, now, now
        self.answered_ns = self.ended_ns = None
        self.request_bytes, self.response_bytes = size, 0
        self.error = ""

    def finish(self, now: int, size: int, error: str) -> None:
        """Its answer, of so many bytes, has passed; ``error`` is what that says."""
        self.answered_ns = self.ended_ns = now
        self.response_bytes, self.error = size, error

    def line(self) -> str:
        """Give what :meth:`whole` gives, at a third of the cost."""
        call, sent, ended = self.call, f"{self.sent_ns}", f"{self.ended_ns}"
        said = f'{{"k":"a","id":"{self.id}",{self._origin.text},"started_ns":{self.started_ns}'
        if call.operation:
            said += f',"operation":{_quote(call.operation)}'
        if call.headers:
            fields = ",".join([f"{_quote(name)}:{_quote(value)}" for name, value in call.headers.items()])
            said += f',"request_headers":{{{fields}}}'
        if self.error:
            said += f',"response_headers":{{"error":{_quote(self.error)}}}'
        if call.body_hash:
            said += f',"body_hash":"{call.body_hash}"'
        said += f',"sent_ns":{sent},"forwarded_ns":{sent}'
        if self.answered_ns is not None:
            said += f',"answered_ns":{ended},"ended_ns":{ended}'
        elif self.ended_ns is not None:
            said += f',"ended_ns":{ended}'
        if self.request_bytes:
            said += f',"request_bytes":{self.request_bytes}'
        if self.response_bytes:
            said += f',"response_bytes":{self.response_bytes}'
        if call.marker:
            said += f',"marker":{_quote(call.marker)}'
        return said + "}"

    def whole(self) -> Record:
        """Give all of the attempt, to go on with."""
        origin_, call = self._origin, self.call
        record = Record(
            attempt=self.id,
            link=origin_.link,
            connection=origin_.connection,
            reused=origin_.reused,
            protocol=origin_.protocol,
            connected_ns=origin_.connected_ns,
            started_ns=self.started_ns,
        )
        record.operation, record.marker, record.body_hash = call.operation, call.marker, call.body_hash
        record.request_headers = dict(call.headers)
        record.sent_ns, record.forwarded_ns = self.sent_ns, self.forwarded_ns
        record.answered_ns, record.ended_ns = self.answered_ns, self.ended_ns
        record.request_bytes, record.response_bytes = self.request_bytes, self.response_bytes
        if self.error:
            record.response_headers = {"error": self.error}
        return record
