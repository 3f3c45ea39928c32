"""A clock's file: what it says, who has read it, and when nobody has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_chaos.errors import FaultError
from pytest_chaos.injectors import clock as clocks
from pytest_chaos.injectors.clock import Clock


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    made = Clock(tmp_path / "offset")
    made.write()
    return made


async def soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await asyncio.sleep(0.005)


async def rounds() -> None:
    """Let the loop look at what there is to read, several times."""
    for _ in range(5):
        await asyncio.sleep(0.005)


def test_a_read_of_the_new_time_is_told_once(clock: Clock) -> None:
    async def story() -> tuple[str, int]:
        reads: list[int] = []
        clock.step("a", 3600, reads.append)
        await rounds()
        assert reads == [], "the clock's own look does not count"
        text = clock.offset.read_text()
        await soon(lambda: reads)
        clock.offset.read_text()
        await rounds()
        clock.back("a")
        return text, len(reads)

    assert asyncio.run(story()) == ("+3600.000000\n", 1)


def test_a_reader_who_has_the_old_file_open_has_not_read_the_new_one(clock: Clock) -> None:
    async def story() -> list[int]:
        reads: list[int] = []
        with clock.offset.open() as old:
            clock.step("a", 3600, reads.append)
            assert old.read() == "+0.000000\n"
            await rounds()
        clock.back("a")
        return reads

    assert asyncio.run(story()) == []


def test_steps_add_up_and_one_look_is_a_look_at_all(clock: Clock) -> None:
    async def story() -> tuple[list[str], list[str]]:
        reads: list[str] = []
        clock.step("a", 3600, lambda _: reads.append("a"))
        clock.step("b", -60.5, lambda _: reads.append("b"))
        await rounds()
        assert reads == [], "what was replaced before anybody read it was read by nobody"
        says = [clock.offset.read_text().strip()]
        await soon(lambda: len(reads) == 2)
        says += [clock.back("a"), clock.back("a"), clock.back("b")]
        return reads, [one.split(" s,")[0] for one in says]

    reads, says = asyncio.run(story())
    assert reads == ["a", "b"]
    file = "the clock's file says "
    assert says == ["+3539.500000", f"{file}-60.500000", f"{file}-60.500000", f"{file}+0.000000"]


def test_where_reads_cannot_be_seen_nothing_is_stepped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_FLAGS", -1)  # no kernel takes these

    async def story() -> None:
        with pytest.raises(FaultError, match=r"cannot be seen here \(inotify: Invalid argument\)"):
            clock.step("a", 3600, lambda _: None)

    asyncio.run(story())
    assert clock.ahead_s == 0
    assert clock.offset.read_text() == "+0.000000\n"
