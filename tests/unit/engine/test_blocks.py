"""A block that nobody enters is said, as soon as nobody can enter it any more."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_chaos.engine.blocks import Blocks
from pytest_chaos.errors import FaultError
from pytest_chaos.faults.answers import Status


class _Nemesis:
    def __init__(self) -> None:
        self.did: list[str] = []

    def install(self, faults: tuple[object, ...]) -> str:
        self.did.append(f"install {len(faults)}")
        return "schedule"

    def uninstall(self, schedule: str) -> None:
        self.did.append(f"uninstall {schedule}")


def _blocks() -> tuple[Blocks, _Nemesis]:
    nemesis: Any = _Nemesis()
    return Blocks(nemesis), nemesis


def test_a_block_is_in_force_from_entering_to_leaving_whatever_ends_it() -> None:
    blocks, nemesis = _blocks()
    block = blocks.make(Status("a -> b", 503), Status("a -> c", 503))
    assert nemesis.did == []
    with pytest.raises(ZeroDivisionError), block:
        nemesis.did.append(str(1 // 0))
    assert nemesis.did == ["install 2", "uninstall schedule"]
    blocks.entered(at_the_end=True)


def test_a_block_that_nobody_holds_was_forgotten() -> None:
    blocks, _ = _blocks()
    blocks.make(Status("a -> b", 503))
    with pytest.raises(FaultError, match=r"chaos\.fault\(Status on a -> b\) was never in force"):
        blocks.entered()


def test_a_block_that_is_held_may_yet_be_entered_but_not_after_the_end() -> None:
    blocks, _ = _blocks()
    held = blocks.make(Status("a -> b", 503))
    blocks.entered()
    with pytest.raises(FaultError, match="never in force"):
        blocks.entered(at_the_end=True)
    with held:
        blocks.entered(at_the_end=True)
