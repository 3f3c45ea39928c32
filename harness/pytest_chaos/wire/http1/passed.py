"""A request that was passed on whole and that nothing happens to, as most are: no more than its record needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_chaos.wire.ends import End
from pytest_chaos.wire.http1.exchange import Http1Exchange
from pytest_chaos.wire.http1.messages import BadMessage, Body, Head, parse_response
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.request_body import whole_body
from pytest_chaos.wire.table import NOTHING
from pytest_chaos.wire.world import World

if TYPE_CHECKING:
    from pytest_chaos.wire.http1.connection import Http1


class Passed:
    """Waits for an answer that comes in one piece; whatever else comes is for the exchange that it becomes."""

    __slots__ = ("_body", "_head", "_raw", "record")

    def __init__(self, head: Head, body: Body, raw: bytes, record: Record) -> None:
        self._head, self._body, self._raw, self.record = head, body, raw, record

    def forwarded(self, identify: Mapping[str, str], at_ns: int, size: int, content: bytes) -> None:
        """The callee was given the request, of so many bytes, at a time; its body is ``content``."""
        record, head = self.record, self._head
        record.forwarded_ns = at_ns
        record.request_bytes = size
        whole_body(record, identify, content, at_ns, path=head.target, headers=head.fields)

    def answer(self, world: World, caller: End, data: bytes) -> bool:
        """Give the caller an answer that is all there; False: it is not, and nothing is taken."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return False
        try:
            answer = parse_response(data[:end])
        except BadMessage:
            return False
        if answer.length != len(data) - end or self._head.method == "HEAD":
            return False
        at_ns = world.now()
        caller.write(data)
        record = self.record
        record.answered_ns = at_ns
        record.status = record.upstream_status = answer.status
        record.response_headers = answer.answered
        record.response_bytes = len(data)
        return True

    def exchange(self, http: Http1) -> Http1Exchange:
        """Become the exchange that it would have been from the beginning."""
        exchange = Http1Exchange(http, self._head, self._raw, self._body, self.record, NOTHING)
        exchange.was_forwarded()
        return exchange
