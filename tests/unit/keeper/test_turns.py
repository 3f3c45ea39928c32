"""Turns of the stack: first come, first served; sharers together, others alone, a lost lease frees its turn."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper.turns import Turns


async def until_idle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Line:
    """Clients that ask one after the other; what has been granted so far."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.granted: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.numbers: dict[str, int] = {}

    async def ask(self, *names: str, owner: str = "", alone: bool = False) -> None:
        """Ask for turns: names that begin with s share."""
        for name in names:
            number = self.numbers[name] = len(self.numbers) + 1
            mode = "shared" if name.startswith("s") else "exclusive"

            async def take(name: str = name, number: int = number, mode: str = mode) -> None:
                await self.turns.take(number, owner or name, mode, timeout_s=60, alone=alone)  # type: ignore[arg-type]
                self.granted.append(name)

            self.tasks[name] = asyncio.create_task(take())
            await until_idle()

    async def share(self, name: str) -> None:
        self.turns.share(self.numbers[name])
        await until_idle()

    async def give(self, name: str) -> None:
        self.turns.give(self.numbers[name])
        await until_idle()


def test_sharers_run_together_once_the_first_has_brought_the_stack_to_its_baseline() -> None:
    async def story() -> None:
        line = Line()
        await line.ask("s1", "s2", "s3")
        assert line.granted == ["s1"]
        await line.share("s1")
        assert line.granted == ["s1", "s2", "s3"]

    asyncio.run(story())


def test_an_exclusive_one_waits_for_all_sharers_and_holds_later_ones_back() -> None:
    async def story() -> None:
        line = Line()
        await line.ask("s1", "s2")
        await line.share("s1")
        await line.ask("e1", "s3", "e2")
        await line.give("s1")
        assert line.granted == ["s1", "s2"], "one sharer is still inside"
        await line.give("s2")
        assert line.granted[2:] == ["e1"]
        await line.give("e1")
        assert line.granted[3:] == ["s3"], "in the order of asking, and at the baseline again: alone at first"
        await line.share("s3")
        assert line.granted[4:] == []
        await line.give("s3")
        assert line.granted[4:] == ["e2"]

    asyncio.run(story())


def test_one_that_has_to_restart_something_or_finds_a_dead_node_is_alone_until_it_shares() -> None:
    async def story() -> None:
        line = Line()
        await line.ask("s1")
        await line.share("s1")
        await line.ask("s2", alone=True)
        assert line.granted == ["s1"]
        await line.give("s1")
        await line.ask("s3")
        assert line.granted == ["s1", "s2"]
        await line.share("s2")
        assert line.granted[2:] == ["s3"]
        line.turns.soil()
        await line.ask("s4")
        await line.give("s2")
        assert line.granted[3:] == []
        await line.give("s3")
        assert line.granted[3:] == ["s4"]

    asyncio.run(story())


def test_two_of_one_name_never_share() -> None:
    async def story() -> None:
        line = Line()
        await line.ask("s1", "s2", owner="test_it")
        await line.share("s1")
        assert line.granted == ["s1"]
        await line.give("s1")
        assert line.granted == ["s1", "s2"]

    asyncio.run(story())


def test_a_client_that_is_gone_gives_its_turn_or_its_place_up() -> None:
    async def story() -> None:
        line = Line()
        await line.ask("e1", "e2", "s1")
        line.tasks["e2"].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await line.tasks["e2"]
        await line.give("e1")
        assert line.granted == ["e1", "s1"]

    asyncio.run(story())


def test_bad_requests_are_refused_and_waiting_has_an_end() -> None:
    async def story() -> None:
        turns = Turns()
        assert await turns.take(1, "a", "exclusive", timeout_s=1)
        with pytest.raises(KeeperError, match="a: this client holds the stack already"):
            await turns.take(1, "a", "shared", timeout_s=1)
        with pytest.raises(KeeperError, match=r"b waited 0.01 s for the stack.*a \(exclusive\)"):
            await turns.take(2, "b", "shared", timeout_s=0.01)
        with pytest.raises(KeeperError, match="does not hold the stack"):
            turns.share(2)
        turns.give(2)
        turns.give(1)
        assert await turns.take(2, "b", "shared", timeout_s=1)

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(5))
def test_nobody_starves_and_an_exclusive_one_is_never_with_another(seed: int) -> None:
    async def story() -> None:
        turns, chance, inside, done = Turns(), random.Random(seed), set(), []

        async def client(number: int) -> None:
            mode = chance.choice(("shared", "exclusive"))
            alone = await turns.take(number, f"t{number}", mode, timeout_s=10)  # type: ignore[arg-type]
            assert not (alone and inside)
            assert all(inside_mode == "shared" for _, inside_mode in inside)
            if mode == "shared" and alone:
                turns.share(number)
            inside.add((number, mode))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
                assert mode == "shared" or len(inside) == 1
            inside.discard((number, mode))
            done.append(number)
            turns.give(number)

        await asyncio.gather(*(client(number) for number in range(60)))
        assert sorted(done) == list(range(60))

    asyncio.run(story())
