"""What happens to one exchange: the plan's steps, played in order, whatever the protocol."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Literal

from pytest_chaos.wire.record import Record
from pytest_chaos.wire.stub import Answer, make_answer
from pytest_chaos.wire.table import Plan, Step
from pytest_chaos.wire.world import World

How = Literal["reset", "close"]
_NEVER_GIVEN = frozenset({"answer_lost", "reset", "status"})


class Exchange(ABC):
    """A request and its answer. Without steps nothing here costs more than a look at two empty tuples."""

    __slots__ = ("_task", "dropped", "ended", "gives", "plan", "record", "world")

    def __init__(self, world: World, record: Record, plan: Plan) -> None:
        self.world, self.record, self.plan = world, record, plan
        self.ended = False
        self._task: asyncio.Task[None] | None = None
        self.gives = not (plan.response and any(step.kind in _NEVER_GIVEN for step in plan.response))
        """False when nothing of the callee's answer will be given to the caller, unless the rule is lifted before."""
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
        """Give the caller an answer of wire's own; with ``grpc_code``, a gRPC status."""

    @abstractmethod
    def deliver(self) -> None:
        """Give the caller what is held of the answer, and all that follows of it."""

    @abstractmethod
    def deliver_part(self, size: int, *, begin: bool) -> bool:
        """Give the caller up to ``size`` bytes more of the held answer's body; False when that was all of it."""

    @abstractmethod
    def cut(self, how: How, *, error: str) -> None:
        """End it towards the caller without the (rest of the) answer."""

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
        """Play the answer's steps: it is complete, or as much of it is here as can be held."""
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
            self.hit(step)
            match step.kind:
                case "latency" | "hold":
                    await self.world.pause(step, self.record.id, wait_s=step.delay_s)
                case "point":
                    await self.world.point(step, self.record)
                case "reset":
                    self.cut("reset", error="reset")
                    return
                case "status" | "grpc_status":
                    await self.request_complete()
                    self._answer(step)
                    return
        self.go_on()

    async def _after(self) -> None:
        for step in self.plan.response:
            if step.active.lifted and not self.dropped:
                continue
            self.hit(step)
            params = step.active.rule.params
            match step.kind:
                case "hold":
                    await self.world.pause(step, self.record.id, wait_s=step.delay_s)
                case "point":
                    await self.world.point(step, self.record)
                case "status":
                    self._answer(step)
                    return
                case "reset":
                    self.cut("reset", error="reset")
                    return
                case "answer_lost":
                    await self._lose(step, params.get("how", "reset"))
                    return
                case "truncate":
                    self.deliver_part(params["bytes"], begin=True)
                    self.cut("close", error="truncated")
                    return
                case "drip":
                    await self._drip(step, params["bytes"], params["interval_ms"] / 1000)
        self.deliver()

    async def _lose(self, step: Step, how: str) -> None:
        if how == "hang":
            await self.world.pause(step, self.record.id, wait_s=None)
        self.cut("close" if how == "close" else "reset", error="eof" if how == "close" else "reset")

    async def _drip(self, step: Step, size: int, interval_s: float) -> None:
        more = self.deliver_part(size, begin=True)
        while more and not step.active.lifted:
            await self.world.pause(step, self.record.id, wait_s=interval_s)
            more = self.deliver_part(size, begin=False)

    def _answer(self, step: Step) -> None:
        params = step.active.rule.params
        if step.kind == "grpc_status":
            self.answer(Answer(status=200), grpc_code=params["code"], message=params.get("message", ""))
        else:
            answer = make_answer(params["code"], params.get("body"), params.get("headers", {}))
            self.answer(answer, grpc_code=None, message="")
