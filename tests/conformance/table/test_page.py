"""The page is written and read back without loss, and says where engines differ and where two things were seen."""

from __future__ import annotations

import random

import pytest

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import catalogue
from tests.conformance.table import __main__ as command
from tests.conformance.table import observe, page
from tests.conformance.table.observe import Cell, Key, agrees, merged, tasks

CELLS = [
    Cell("answered", "once", "answered", "once"),
    Cell("`ReadError`", "once", "answered 503", "no"),
    Cell("`A` or `B`", "no or once", "answered, another body", "twice"),
    Cell("refused: `FaultError`", "no", "refused: `FaultError`", "no"),
    Cell("received, not hit", "no", "received, not hit", "no"),
]


def made(seed):
    draw = random.Random(seed)
    return {key: draw.choice(CELLS) for task in tasks() for key in task.names()}


@pytest.mark.parametrize("seed", range(5))
def test_what_was_written_is_read_back(seed):
    seen = made(seed)
    assert page.parse(page.render(seen)) == seen


def test_every_fault_of_the_catalogue_has_its_place_and_nothing_depends_on_the_order():
    seen = made(1)
    text = page.render(seen)
    assert all(f"\n### {name}\n" in text for name in catalogue.names())
    assert page.render(dict(reversed(seen.items()))) == text


def test_engines_share_a_row_where_they_agree_and_have_rows_of_their_own_where_not():
    one, other = Cell("`A`", "no", "`A`", "no"), Cell("`B`", "no", "`B`", "no")
    keys = {engine: Key("Blackhole", "Blackhole()", engine, "httpx") for engine in ("wire", "Toxiproxy")}
    assert "\n| httpx | `A` | no |\n" in page.render(dict.fromkeys(keys.values(), one))
    text = page.render({keys["wire"]: one, keys["Toxiproxy"]: other})
    assert "\n| httpx by wire | `A` | no |\n| httpx by Toxiproxy | `B` | no |\n" in text


def test_what_differs_between_rounds_stands_side_by_side_and_either_agrees():
    key = Key("Refuse", "Refuse()", "wire", "httpx")
    first, second = Cell("`B`", "no", "`C`", "no"), Cell("`A`", "no", "`C`", "once")
    both = merged({key: first}, {key: second})[key]
    assert both == Cell("`A` or `B`", "no", "`C`", "no or once")
    assert agrees(first, both)
    assert agrees(second, both)
    assert not agrees(Cell("`A`", "twice", "`C`", "no"), both)
    assert not agrees(both, first)


def test_a_fault_without_a_row_says_why_on_the_page(monkeypatch):
    kind = catalogue.get("Refuse")
    monkeypatch.setattr(kind, "no_row", "it would take the page away.", raising=False)
    assert "*No table: it would take the page away.*" in page.render({})
    assert not [task for task in tasks() if task.example.kind is kind]


def test_a_fault_that_nobody_could_see_is_an_error_and_not_left_out(monkeypatch):
    monkeypatch.setattr(observe, "acts_on", lambda *_: False)
    with pytest.raises(FaultError, match="AbortStream: no client can see any of its examples"):
        tasks()


def test_the_sample_touches_every_fault_and_is_the_same_each_time():
    chosen = command.sample(tasks())
    assert {task.example.kind.__name__ for task in chosen} == {task.example.kind.__name__ for task in tasks()}
    assert [task.names() for task in chosen] == [task.names() for task in command.sample(tasks())]
    assert len(chosen) <= 3 * len(catalogue.names())
    pairs = {(task.example.kind.__name__, task.clients[0].name) for task in chosen}
    assert pairs >= command.ALWAYS
