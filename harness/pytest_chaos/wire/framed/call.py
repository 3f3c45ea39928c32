"""A call of a broker's protocol and what answers it: the plan's steps, played on frames."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pytest_chaos.wire.acts import Exchange, How
from pytest_chaos.wire.framed.lanes import Passage, Way
from pytest_chaos.wire.framed.reader import Call
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.stub import Answer
from pytest_chaos.wire.table import Plan, Step

if TYPE_CHECKING:
    from pytest_chaos.wire.framed.connection import Framed


class FramedCall(Exchange):
    """``framed`` owns the connection. Where two passages are at one place, the first that cuts it is the last."""

    __slots__ = ("_framed", "answering", "asking", "call", "holds", "key")

    def __init__(self, framed: Framed, call: Call, record: Record, plan: Plan) -> None:
        super().__init__(framed.world, record, plan)
        self._framed, self.call = framed, call
        self.key = call.id
        """What it is open under: its id, unless another call has taken that."""
        self.holds: dict[Passage, Way] = {}
        """What its steps hold just now."""
        self.asking: tuple[Way, Passage] | None = None
        """Where its request is, while its steps or those before it hold it."""
        self.answering: tuple[Way, Passage] | None = None
        """Where its answer is, from its first part on."""

    def go_on(self) -> None:
        """Let the request pass."""
        self._let_go(self.asking)

    async def request_complete(self) -> None:
        """Nothing here answers in the callee's place."""

    def answer(self, answer: Answer, *, grpc_code: int | None, message: str) -> None:
        """Nothing here answers in the callee's place."""
        del answer, grpc_code, message
        self.cut("reset", error="reset")

    def deliver(self) -> None:
        """Let the answer pass."""
        self._let_go(self.answering)

    def deliver_part(self, size: int, *, begin: bool) -> bool:
        """Let so many bytes of the answer pass, once, but never all of it."""
        del begin
        if self.answering is not None:
            self.answering[1].room = size
        return False

    def cut(self, how: How, *, error: str) -> None:
        """Reset or close the connection, once everything before this has passed."""
        place = self.answering or self.asking
        if place is None:
            self._framed.cut(how, error, self)
            return
        way, passage = place
        passage.cut = passage.cut or functools.partial(self._framed.cut, how, error, self)
        self._framed.drain(way, passage.lane)

    def end(self, *, error: str = "", closed_by: str = "", at_ns: int | None = None) -> None:
        """End the attempt; what its steps still hold goes on: nobody else would ever let it."""
        if self.ended:
            return
        self._framed.forget(self.key)
        super().end(error=error, closed_by=closed_by, at_ns=at_ns)
        for place in [(way, passage) for passage, way in self.holds.items()]:
            self._let_go(place)

    async def _lose(self, step: Step, how: str) -> None:
        if how != "hang" or self._framed.in_order or self.answering is None:
            await super()._lose(step, how)
            return
        way, passage = self.answering
        passage.lost = True
        for call in passage.ends:
            call.end(error="eof", closed_by="wire")
        passage.waits = 0
        self._framed.drain(way, passage.lane)

    def _let_go(self, place: tuple[Way, Passage] | None) -> None:
        if place is None:
            return
        way, passage = place
        if self.holds.pop(passage, None) is not None:
            passage.waits -= 1
            if not self._framed.over:
                self._framed.drain(way, passage.lane)
