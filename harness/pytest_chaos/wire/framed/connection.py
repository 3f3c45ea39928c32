"""A broker's protocol on a connection, read frame by frame: the bytes as they come, faults on the calls in them.

Frames pass in order. What a step holds keeps back what comes behind it in its lane: the whole direction where answers
come in the order of the calls, else what the reader says. Steps of several frames are played at once, so that of ten
pipelined calls each is late by the same time; what they decide is done in the frames' order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from pytest_chaos.wire.acts import How
from pytest_chaos.wire.connection import Connection, Handler
from pytest_chaos.wire.framed.call import FramedCall
from pytest_chaos.wire.framed.lanes import Passage, Way
from pytest_chaos.wire.framed.open_calls import OpenCalls
from pytest_chaos.wire.framed.plain import Plain
from pytest_chaos.wire.framed.reader import BadFrame, Frame, Reader, Side
from pytest_chaos.wire.table import NOTHING, Plan

_WHOLE = "whole"
"""The lane of everything, where there is only one."""
OPEN_LIMIT = 65_536
"""Calls of one connection that may wait for their answers: each costs more than a kB."""


class Framed(Handler):
    """Plays rules on the calls that ``reader`` finds; what that cannot read is left to TCP's handler."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        super().__init__(connection)
        self._reader = reader
        self.in_order = reader.in_order
        callee = connection.callee
        assert callee is not None, "a stub has no broker's protocol"
        self._caller_way = Way(connection.caller, callee, self._passed)
        self._callee_way = Way(callee, connection.caller, self._passed)
        self._calls = OpenCalls(self, connection, reader.name)
        self._left_ns: int | None = None
        self.over = False
        """Whether nothing is read or passed on any more."""

    def from_caller(self, data: bytes) -> None:
        """Pass the caller's frames on."""
        if not self.over:
            self._take(self._caller_way, self._reader.from_caller, data)

    def from_callee(self, data: bytes) -> None:
        """Pass the callee's frames on."""
        if not self.over:
            self._take(self._callee_way, self._reader.from_callee, data)

    def _take(self, way: Way, read: Callable[[bytes], list[Frame]], data: bytes) -> None:
        now = self.world.now()
        if not way.pending:
            way.since_ns = now
        left = way.pending + len(data)
        table, link, open_ = self.world.table, self.link.name, self._calls.by_id
        watched = self._reader.split_acks = table.watched(link)
        counted = watched and table.counted(link)
        try:
            frames = read(data)
        except BadFrame as wrong:
            self._give_up_reading(str(wrong))
            return
        for at, frame in enumerate(frames):
            if self.over:  # cut at a frame before this one
                break
            call = frame.begins
            if call is not None and len(open_) >= OPEN_LIMIT:
                self._give_up_reading("too many calls without an answer", way, frames[at:])
                return
            if counted or frame.more or way.lanes or way.current:
                self._frame(way, frame, now, None)
            else:
                plan = self._calls.decide(call) if watched and call is not None else NOTHING
                if plan is not NOTHING or not self._pass_on(way, frame, now):
                    self._frame(way, frame, now, plan)
            way.since_ns = now
            left -= len(frame.raw)
        way.pending = max(left, 0) if left else 0  # below 0: acknowledgements that were split are longer than what came
        way.flush()

    def _pass_on(self, way: Way, frame: Frame, now: int) -> bool:
        """Pass a frame on as nearly all are: whole, nothing before it, nothing to be done to it.

        False, and nothing has happened, where something may be to be done to what it answers. All that comes in one
        reading is handed on at one time, that of the reading: clocks are not free.
        """
        begins, answers, open_, world = frame.begins, frame.answers, self._calls.by_id, self.world
        call = None if begins is None or begins.background else begins
        for id_ in answers:
            found = open_.get(id_)
            if call is not None or (found is not None and not isinstance(found, Plain)):
                return False
        raw = frame.raw
        way.out.append(raw)
        if call is not None:
            self._calls.plain(call, way.since_ns, now, len(raw))
        for id_ in answers:
            ended = open_.pop(id_, None)
            if isinstance(ended, Plain):
                ended.finish(now, len(raw), frame.error)
                del world.open[ended.id]
                world.append(ended)
        return True

    def _frame(self, way: Way, frame: Frame, now: int, plan: Plan | None) -> None:
        lane = _WHOLE if self.in_order else frame.lane
        part = lane in way.current
        passage = way.current.get(lane) if part else None
        playing: list[FramedCall] = []
        if not part:
            passage = self._passage(way, frame, lane, playing, plan)
        if passage is not None:
            passage.note(frame, now)
        if frame.more:
            way.current[lane] = passage
        elif part:
            del way.current[lane]
        way.send(passage, frame.raw, lane if passage is None else passage.lane, last=not frame.more)
        if passage is not None and passage.gate is not None and not frame.more:
            way.send(passage.gate, b"", passage.lane, last=True)
        for call in playing:
            if passage is not None and passage.begins is call:
                call.start()
            else:
                call.answered()

    def _passage(
        self, way: Way, frame: Frame, lane: Hashable, playing: list[FramedCall], plan: Plan | None
    ) -> Passage | None:
        calls = self._calls
        begins = None if frame.begins is None else calls.begin(frame.begins, way.since_ns, plan)
        ends = tuple(calls.full(id_) for id_ in frame.answers if id_ in calls.by_id) if frame.answers else ()
        if begins is None and not ends:
            return None
        passage = Passage(lane, begins, ends)
        if lane is None:
            passage.lane = passage
        if begins is not None:
            begins.asking = (way, passage)
            if begins.plan.request:
                playing.append(begins)
            if begins.plan.response and not begins.call.answered:
                passage.gate = Passage(passage.lane, ends=(begins,), waits=1)
                begins.answering = (way, passage.gate)
                begins.holds[passage.gate] = way
        for call in ends:
            call.answering = (way, passage)
            if call.plan.response:
                playing.append(call)
        passage.waits = len(playing)
        for call in playing:
            call.holds[passage] = way
        return passage

    def _passed(self, passage: Passage, raw: bytes, last: bool) -> None:  # noqa: FBT001 - called by position
        """Record that a part was handed on."""
        now = self.world.now()
        begins = passage.begins
        if begins is not None and not begins.ended:
            begins.record.forwarded_ns = begins.record.forwarded_ns or now
            if last:
                begins.asking = None
                if passage.gate is not None:
                    begins.answered()
                elif not begins.call.answered:
                    begins.end()
        for call in passage.ends:
            if not call.ended:
                if call.call.answered:
                    call.record.answered_ns = call.record.answered_ns or now
                    call.record.response_bytes += len(raw)
                if last:
                    call.end()

    def forget(self, key: Hashable) -> None:
        """Close a call: it has ended."""
        self._calls.by_id.pop(key, None)

    def cut(self, how: How, error: str, call: FramedCall) -> None:
        """End the connection for a call's sake; what else is open on it ends as well."""
        self.over = True  # what the call holds goes nowhere any more
        call.end(error=error, closed_by="wire")
        self._end_all(error if error != "truncated" else "eof", "wire")
        if how == "reset":
            self.connection.reset_both()
        else:
            self.connection.close()

    # how the ends end

    def caller_eof(self) -> None:
        """Half a connection is passed on; while wire itself holds something, FIN is the caller giving up."""
        self._rest("caller")
        if self.over:
            return
        if self._caller_way.lanes or self._callee_way.lanes:
            self._end_all("eof", "caller")
            self.connection.close()
            return
        self._left_ns = self.world.now()
        super().caller_eof()

    def callee_eof(self) -> None:
        """The end of the hope for answers that are not here; FIN comes behind those that are."""
        self._rest("callee")
        if self.over:
            return
        for call in [call for call in self._calls.all() if call.asking is None and call.answering is None]:
            self._end_one(call, "eof", "callee")
        if self._callee_way.lanes:
            self._callee_way.eof = True
        else:
            super().callee_eof()

    def drain(self, way: Way, lane: Hashable) -> None:
        """Pass on what need not wait any more, and the FIN that waited behind it."""
        way.drain(lane)
        if self._callee_way.eof and not self._callee_way.lanes and not self.over:
            self._callee_way.eof = False
            super().callee_eof()

    def lost(self, *, caller: bool, reset: bool) -> None:
        """End what is open; the other end sees the same."""
        self._end_all("reset" if reset else "eof", "caller" if caller else "callee")
        super().lost(caller=caller, reset=reset)

    def undialled(self, error: str) -> None:
        """End what is open: the callee is not there, and certainly got nothing."""
        now = self.world.now()
        if not self._calls.by_id:
            record = self.world.begin(
                link=self.link.name,
                connection=self.connection.id,
                reused=False,
                protocol="tcp",
                connected_ns=self.connection.connected_ns,
                started_ns=self._caller_way.since_ns or now,
            )
            self.world.end(record, error=error, closed_by="callee")
        for call in self._calls.all():
            call.record.forwarded_ns = None
        self._end_all(error, "callee")

    def shut(self, fault: str) -> None:
        """End what is open: wire closes the link."""
        if fault:
            for call in self._calls.all():
                call.record.faults.append(fault)
        self._end_all("reset", "wire")

    def _end_all(self, error: str, closed_by: str) -> None:
        self.over = True
        for call in self._calls.all():
            self._end_one(call, error, closed_by)
        self._caller_way.drop()
        self._callee_way.drop()

    def _end_one(self, call: FramedCall, error: str, closed_by: str) -> None:
        if self._left_ns is not None and closed_by != "wire":
            call.end(error="eof", closed_by="caller", at_ns=self._left_ns)
        else:
            call.end(error=error, closed_by=closed_by)

    def _rest(self, side: Side) -> None:
        """Pass on what will never be a frame."""
        way = self._caller_way if side == "caller" else self._callee_way
        left = self._reader.unread(side)
        if left and not self.over:
            way.send(None, left, _WHOLE if self.in_order else None, last=True)
            way.flush()

    def _give_up_reading(self, reason: str, way: Way | None = None, frames: Sequence[Frame] = ()) -> None:
        """Relay what is left as it is, ``frames`` of ``way`` first; what was held goes on, what is open ends unread."""
        from pytest_chaos.wire.tcp import Tcp  # noqa: PLC0415 - siblings; only here does one need the other

        caller, callee = self._reader.unread("caller"), self._reader.unread("callee")
        read = b"".join([frame.raw for frame in frames])
        if way is self._caller_way:
            caller = read + caller
        else:
            callee = read + callee
        self._caller_way.let_go()
        self._callee_way.let_go()
        self.link.saw_opaque(reason)
        if self.over:  # a byte fault has ended the connection at what was let go
            return
        self._end_all("opaque", "wire")
        handler = self.connection.handler = Tcp(self.connection, opaque=reason)
        if caller:
            handler.from_caller(caller)
        if callee:
            handler.from_callee(callee)
        if self._callee_way.eof:
            handler.callee_eof()
