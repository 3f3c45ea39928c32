"""The step of a broker's fault: counted before and after its undo, taken back by stronger means when that fails."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pytest_chaos.brokers.base import Toll
from pytest_chaos.errors import ChaosError, FaultError
from pytest_chaos.injectors.broker import BrokerStep
from pytest_chaos.keeper.ledger import Ledger
from pytest_chaos.model.fault import BrokerAction

ACTION = BrokerAction(id="f1.1", fault="f1", broker="bus", verb="redeliver", params={"channel": "q", "group": ""})


class Disturbance:
    """Does nothing to anybody, and notes it; `fails` says how often each method fails first."""

    def __init__(self, done, **fails):
        self.done = done
        self.fails = fails
        self.hits = 0
        self.threads = set()

    def apply(self):
        self._do("apply")
        self.hits = 1

    def undo(self):
        self._do("undo")
        self.hits = 2
        return "as it was"

    def toll(self):
        self._do("toll")
        return Toll(hits=self.hits, first_ns=1, last_ns=2, proof=f"{self.hits} of it")

    def close(self):
        self._do("close")

    def _do(self, what):
        self.done.append(what)
        self.threads.add(threading.current_thread())
        if self.fails.get(what, 0) > 0:
            self.fails[what] -= 1
            raise ChaosError(f"{what} failed")


class Stack:
    """The injector's view of a stack with one broker."""

    def __init__(self, disturbance, done):
        self._disturbance = disturbance
        self._done = done

    def disturbance(self, action):
        assert action is ACTION
        return self._disturbance

    async def recover(self, node):
        self._done.append(f"recover {node}")
        return "connected"

    async def rebuild(self, node):
        self._done.append(f"rebuild {node}")
        return "connected"

    def recovery_s(self, node):
        return 15.0


def play(tmp_path, **fails):
    """Apply and undo as the keeper does; give what was done, the undo's record, and what was seen."""
    done = []
    disturbance = Disturbance(done, **fails)

    async def story():
        step = BrokerStep(Stack(disturbance, done), ACTION)
        ledger = Ledger(tmp_path / "ledger")
        entry = await ledger.apply("s", "t", step)
        (record,) = await ledger.undo(entry)
        seen = (await step.seen())["f1"]
        before = list(done)
        assert await step.undo() == "as it was"
        assert done == before, "a second undo asks nobody"
        return record, seen, ledger.dirty

    record, seen, dirty = asyncio.run(story())
    assert threading.main_thread() not in disturbance.threads
    assert len(disturbance.threads) == 1
    return done, record, seen, dirty


def test_hits_are_read_before_and_after_the_undo(tmp_path):
    done, record, seen, dirty = play(tmp_path)
    assert done == ["apply", "toll", "undo", "toll", "close"]
    assert (record.ok, record.proof, record.action, dirty) == (True, "as it was", "redeliver bus q", [])
    assert (seen.hits, seen.proof) == (2, "2 of it")


def test_a_broker_that_cannot_be_counted_keeps_what_was_counted_last(tmp_path):
    _, record, seen, _ = play(tmp_path, toll=2)
    assert record.ok
    assert seen.hits == 0


def test_an_undo_that_fails_is_done_at_a_broker_that_was_made_to_run(tmp_path):
    done, record, _, dirty = play(tmp_path, undo=1)
    assert done == ["apply", "toll", "undo", "recover bus", "close", "toll", "undo", "toll", "close"]
    assert (record.ok, record.proof, record.error, dirty) == (True, "as it was", "undo: undo failed", [])


def test_then_at_one_that_was_started_anew(tmp_path):
    done, record, _, dirty = play(tmp_path, undo=2)
    assert [one for one in done if "bus" in one] == ["recover bus", "rebuild bus"]
    assert record.ok
    assert dirty == []


def test_what_cannot_be_taken_back_at_all_is_dirty(tmp_path):
    done: list[str] = []

    async def story():
        step = BrokerStep(Stack(Disturbance(done, undo=9), done), ACTION)
        ledger = Ledger(tmp_path / "ledger")
        (record,) = await ledger.undo(await ledger.apply("s", "t", step))
        return record, ledger.dirty

    record, dirty = asyncio.run(story())
    assert not record.ok
    assert len(dirty) == 1


def test_what_is_refused_is_undone_and_says_why(tmp_path):
    done: list[str] = []

    class Refusing(Disturbance):
        def apply(self):
            raise FaultError("no such queue")

    async def story():
        step = BrokerStep(Stack(Refusing(done), done), ACTION)
        with pytest.raises(FaultError, match="no such queue"):
            await Ledger(tmp_path / "ledger").apply("s", "t", step)

    asyncio.run(story())
    assert "undo" in done
