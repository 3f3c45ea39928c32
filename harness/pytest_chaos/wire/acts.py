"""What happens to one exchange: the plan's steps, played in order, whatever the protocol."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Literal

from pytest_chaos.wire.record import Record
from pytest_chaos.wire.replay import Copy, replay
from pytest_chaos.wire.stub import Answer, make_answer
from pytest_chaos.wire.table import NOTHING, Plan, Step
from pytest_chaos.wire.world import World

How = Literal["reset", "close"]
_NEVER_GIVEN = frozenset({"answer_lost", "reset", "status", "grpc_status"})
_EARLY = frozenset({"stall", "truncate", "header", "grpc_abort"})
"""Kinds that act on an answer's beginning and do not wait for the whole of it."""
_REPLAYS = frozenset({"deliver_twice", "deliver_late"})
_LAST = frozenset({"answer_lost", "deliver_late", "grpc_status", "reset", "status"})
_LATER = frozenset({"header", "grpc_abort", "truncate", "wrong_length", *_REPLAYS})
"""Kinds whose hit is counted where it shows that they found what they act on."""


class Exchange(ABC):
    """A request and its answer. Without steps nothing here costs more than a look at two empty tuples."""

    __slots__ = ("_task", "dropped", "ended", "gives", "keeps", "needs", "plan", "record", "world")

    def __init__(self, world: World, record: Record, plan: Plan) -> None:
        self.world, self.record, self.plan = world, record, plan
        self.ended = False
        self._task: asyncio.Task[None] | None = None
        response = plan.response
        self.gives = not (response and any(step.kind in _NEVER_GIVEN for step in response))
        """False when nothing of the callee's answer will be given to the caller, unless the rule is lifted before."""
        self.needs = _needed(response) if response else None
        """How many bytes of the answer's body the steps need, once its head is here; None: the whole answer."""
        self.keeps = plan is not NOTHING and any(step.kind in _REPLAYS for step in (*plan.request, *response))
        """Whether the request is kept to be delivered by wire itself."""
        self.dropped = False
        """Whether part of that answer has been thrown away already, so that it cannot be given any more."""

    @abstractmethod
    def go_on(self) -> None:
        """Forward the request, and all that follows of it."""

    @abstractmethod
    async def request_complete(self) -> None:
        """Take the rest of the request without forwarding it."""

    @abstractmethod
    def answer(self, answer: Answer, *, grpc_code: int | None, message: str) -> None:
        """Give the caller an answer of wire's own; with ``grpc_code``, a gRPC status and the headers as metadata."""

    @abstractmethod
    def deliver(self) -> None:
        """Give the caller what is held of the answer, and all that follows of it."""

    @abstractmethod
    def deliver_part(self, size: int, *, begin: bool) -> bool:
        """Give the caller up to ``size`` bytes more of the held answer's body; False when that was all of it."""

    @abstractmethod
    def cut(self, how: How, *, error: str) -> None:
        """End it towards the caller without the (rest of the) answer."""

    # what not every protocol can do; its rules then never match

    async def whole_request(self) -> None:
        """Take the rest of the request, however long that takes, without forwarding it."""
        await self.request_complete()

    def copy(self) -> Copy | None:
        """Give the whole request, to be delivered by wire itself; None where it was not (or could not be) kept."""
        return None

    def edit(self, step: Step, *, request: bool) -> None:
        """Change the header that the step names, before it goes on."""
        del step, request

    def abort_after(self, step: Step, *, request: bool) -> None:
        """End the call with the step's status once so many messages have passed."""
        del step, request

    def reframe(self, *, size: int | None, by: int) -> bool:
        """Cut the held answer's body to ``size`` bytes and let its head say ``by`` more; False where it has none."""
        del size, by
        return False

    @property
    def busy(self) -> bool:
        """Whether a step is being played."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Play the request's steps, then forward it."""
        if self.plan.request:
            self._play(self._before())
        else:
            self.go_on()

    def answered(self) -> None:
        """Play the answer's steps: it is complete, or as much of it is here as they need or as can be held."""
        self._play(self._after())

    def end(self, *, error: str = "", closed_by: str = "", at_ns: int | None = None) -> None:
        """End the attempt, and the steps that are being played for it."""
        if self.ended:
            return
        self.ended = True
        self.world.end(self.record, error=error, closed_by=closed_by, at_ns=at_ns)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def hit(self, step: Step) -> None:
        """Count that a step acts on this exchange."""
        rule = step.active.rule
        if rule.fault not in self.record.faults:
            self.record.faults.append(rule.fault)
        self.world.hit(step.active, link=self.record.link, attempt=self.record.id)

    def _play(self, steps: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(steps)
        self._task.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        wrong = None if task.cancelled() else task.exception()
        if wrong is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "wire: a fault could not be played", "exception": wrong}
            )
            self.cut("reset", error="reset")

    async def _before(self) -> None:
        for step in self.plan.request:
            if step.active.lifted:
                continue
            if step.kind not in _LATER:
                self.hit(step)
            match step.kind:
                case "reset":
                    self.cut("reset", error="reset")
                case "status" | "grpc_status":
                    await self.request_complete()
                    self.answer_with(step)
                case "deliver_late":
                    await self._defer(step)
                case _:
                    await self._let_by(step, request=True)
            if self.ended or _is_last(step):
                return
        self._task = None  # a stub answers within go_on, and the answer's steps must find nothing being played
        self.go_on()

    async def _after(self) -> None:
        for step in self.plan.response:
            if step.active.lifted and not self.dropped:
                continue
            if step.kind not in _LATER:
                self.hit(step)
            await self._act(step)
            if self.ended or _is_last(step):
                return
        self.deliver()

    async def _let_by(self, step: Step, *, request: bool) -> None:
        """Play what a request or an answer goes on after."""
        match step.kind:
            case "latency" | "hold":
                await self.world.pause(step, self.record.id, wait_s=step.delay_s)
            case "point":
                await self.world.point(step, self.record)
            case "header":
                self.edit(step, request=request)
            case "grpc_abort":
                self.abort_after(step, request=request)

    async def _act(self, step: Step) -> None:
        params = step.active.rule.params
        match step.kind:
            case "drip":
                await self._drip(step, params["bytes"], params["interval_ms"] / 1000)
            case "stall":
                self.deliver_part(params.get("bytes", 0), begin=True)
                await self.world.pause(step, self.record.id, wait_s=step.delay_s)
            case "deliver_twice":
                self._again(step)
            case "wrong_length":
                if self.reframe(size=None, by=params["by"]):
                    self.hit(step)
            case "truncate":
                self._truncate(step)
            case "status" | "grpc_status":
                self.answer_with(step)
            case "reset":
                self.cut("reset", error="reset")
            case "answer_lost":
                await self._lose(step, params.get("how", "reset"))
            case _:
                await self._let_by(step, request=False)

    def _truncate(self, step: Step) -> None:
        size = step.active.rule.params["bytes"]
        if step.active.rule.params.get("length") == "adjusted":
            if self.reframe(size=size, by=0):
                self.hit(step)
            return
        self.hit(step)
        self.deliver_part(size, begin=True)
        self.cut("close", error="truncated")

    async def _lose(self, step: Step, how: str) -> None:
        if how == "hang":
            await self.world.pause(step, self.record.id, wait_s=None)
        self.cut("close" if how == "close" else "reset", error="eof" if how == "close" else "reset")

    async def _drip(self, step: Step, size: int, interval_s: float) -> None:
        more = self.deliver_part(size, begin=True)
        while more and not step.active.lifted:
            await self.world.pause(step, self.record.id, wait_s=interval_s)
            more = self.deliver_part(size, begin=False)

    async def _defer(self, step: Step) -> None:
        """Keep the request back until its caller has gone, and deliver it then; a lift keeps it for good."""
        await self.whole_request()
        record, copy, how = self.record, self.copy(), step.active.rule.params.get("how", "hang")
        if copy is not None:
            self.hit(step)
            record.deferred = True
        if how == "hang":
            try:
                await self.world.pause(step, record.id, wait_s=None)
            except asyncio.CancelledError:
                if copy is not None and record.closed_by == "caller":
                    replay(self.world, step, record, copy)
                raise
            record.deferred = False
            self.cut("reset", error="reset")
            return
        self.cut("close" if how == "close" else "reset", error="eof" if how == "close" else "reset")
        if copy is not None:
            replay(self.world, step, record, copy)

    def _again(self, step: Step) -> None:
        copy = self.copy()
        if copy is not None:
            replay(self.world, step, self.record, copy, counted=False)

    def answer_with(self, step: Step) -> None:
        """Give the answer or the status that a step's parameters describe."""
        params = step.active.rule.params
        if "messages" in params or step.kind == "grpc_status":
            pushback = params.get("pushback_ms")
            metadata = {} if pushback is None else {"grpc-retry-pushback-ms": str(pushback)}
            answer = Answer(status=200, headers=metadata)
            self.answer(answer, grpc_code=params["code"], message=params.get("message", ""))
        else:
            answer = make_answer(params["code"], params.get("body"), params.get("headers", {}))
            self.answer(answer, grpc_code=None, message="")


def _is_last(step: Step) -> bool:
    """Whether nothing comes after a step: it answers, or cuts."""
    return step.kind in _LAST or (step.kind == "truncate" and step.active.rule.params.get("length") != "adjusted")


def _needed(response: tuple[Step, ...]) -> int | None:
    found = 0
    for step in response:
        params = step.active.rule.params
        if step.kind not in _EARLY or params.get("length") == "adjusted":
            return None
        found = max(found, params.get("bytes", 0))
    return found
