"""The ledger: written before the deed, undone newest first, bounded, proved, and dirty when nothing helped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pytest_chaos.errors import FaultError, UndoError
from pytest_chaos.injectors.base import Engine, Seen
from pytest_chaos.keeper.ledger import Ledger


class Deed:
    """A reversible thing that only writes down what is done with it."""

    engine: Engine = "wire"
    undo_timeout_s = 0.1

    def __init__(self, name: str, done: list[str], **ways: str) -> None:
        self.faults: tuple[str, ...] = (name,)
        self.action = name
        self.links: tuple[str, ...] = (f"link of {name}",)
        self._done = done
        self._ways = ways

    async def apply(self) -> None:
        await self._go("apply")

    async def undo(self) -> str:
        return await self._go("undo")

    async def escalate(self) -> str:
        return await self._go("escalate")

    async def seen(self) -> dict[str, Seen]:
        return {}

    async def _go(self, way: str) -> str:
        self._done.append(f"{way} {self.action}")
        how = self._ways.get(way, "works")
        if how == "hangs":
            await asyncio.Event().wait()
        if how == "breaks":
            raise KeyError("no such key")
        if how == "fails":
            raise FaultError("it will not") if way == "apply" else UndoError("it stays")
        return f"{way} proved"


def states(path: Path) -> list[tuple[str, str]]:
    return [(row["action"], row["state"]) for row in map(json.loads, path.read_text().splitlines())]


def test_steps_are_undone_newest_first_and_written_before_they_are_done(tmp_path: Path) -> None:
    done: list[str] = []

    async def work() -> None:
        ledger = Ledger(tmp_path / "l")
        for name in ("a", "b", "c"):
            await ledger.apply("s", "t", Deed(name, done))
        records = await ledger.undo_all(schedule="s")
        assert [(record.fault, record.ok, record.proof, record.test) for record in records] == [
            ("c", True, "undo proved", "t"),
            ("b", True, "undo proved", "t"),
            ("a", True, "undo proved", "t"),
        ]
        assert await ledger.undo_all(schedule="s") == []
        assert ledger.dirty == []

    asyncio.run(work())
    assert done == ["apply a", "apply b", "apply c", "undo c", "undo b", "undo a"]
    assert states(tmp_path / "l")[:2] == [("a", "planned"), ("a", "applied")]


def test_a_step_that_cannot_be_done_is_undone_at_once(tmp_path: Path) -> None:
    done: list[str] = []

    async def work() -> None:
        ledger = Ledger(tmp_path / "l")
        with pytest.raises(FaultError):
            await ledger.apply("s", "t", Deed("a", done, apply="fails"))

    asyncio.run(work())
    assert done == ["apply a", "undo a"]


@pytest.mark.parametrize(("how", "why"), [("hangs", "undo took longer than 0.1 s"), ("fails", "undo: it stays")])
def test_an_undo_that_fails_or_hangs_is_escalated(tmp_path: Path, how: str, why: str) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path / "l")
        await ledger.apply("s", "t", Deed("a", [], undo=how))
        (record,) = await ledger.undo_all(schedule="s")
        assert (record.ok, record.proof, record.error) == (True, "escalate proved", why)
        assert ledger.dirty == []

    asyncio.run(work())


def test_what_no_means_can_undo_is_dirty_and_the_rest_is_undone_all_the_same(tmp_path: Path) -> None:
    done: list[str] = []

    async def work() -> None:
        ledger = Ledger(tmp_path / "l")
        await ledger.apply("s", "t", Deed("a", done))
        await ledger.apply("s", "t", Deed("b", done, undo="hangs", escalate="hangs"))
        bad, good = await ledger.undo_all(schedule="s")
        assert (bad.ok, bad.proof) == (False, "")
        assert bad.error == "undo took longer than 0.1 s; escalate took longer than 0.1 s"
        assert good.ok
        assert ledger.dirty == [f"b: {bad.error}"]

    asyncio.run(work())
    assert done[-1] == "undo a"
    assert states(tmp_path / "l")[-2:] == [("b", "failed"), ("a", "undone")]


def test_whatever_breaks_in_an_undo_counts_as_its_failure(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path / "l")
        await ledger.apply("s", "t", Deed("a", [], undo="breaks", escalate="breaks"))
        (record,) = await ledger.undo_all(schedule="s")
        assert (record.ok, record.error) == (False, "undo: 'no such key'; escalate: 'no such key'")
        assert ledger.dirty == [f"a: {record.error}"]

    asyncio.run(work())


def test_an_undo_is_proved_by_a_look_through_its_links_and_escalated_without(tmp_path: Path) -> None:
    done: list[str] = []
    looks: list[str] = []

    async def probe(link: str) -> str:
        looks.append(link)
        if len(looks) == 1:
            raise UndoError(f"nothing gets through {link}")
        return f"something got through {link}"

    async def work() -> None:
        ledger = Ledger(tmp_path / "l", probe)
        await ledger.apply("s", "t", Deed("a", done))
        (record,) = await ledger.undo_all(schedule="s")
        assert record.proof == "escalate proved; something got through link of a"
        assert record.error == "undo: nothing gets through link of a"

    asyncio.run(work())
    assert done == ["apply a", "undo a", "escalate a"]


def test_only_a_fault_of_a_link_keeps_the_stack_from_being_used(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path / "l")
        for name, engine in (("node", "runtime"), ("rule", "wire")):
            deed = Deed(name, [], undo="fails", escalate="fails")
            deed.engine = engine  # type: ignore[assignment]
            await ledger.apply("s", "t", deed)
        await ledger.undo_all(schedule="s")
        assert [dirt.partition(":")[0] for dirt in ledger.dirty] == ["rule", "node"]
        assert [dirt.partition(":")[0] for dirt in ledger.stuck] == ["rule"]

    asyncio.run(work())
