from __future__ import annotations

from pytest_chaos.cli.table import parts_table
from pytest_chaos.parts import Part


def rows(**fields):
    return parts_table(
        [Part(**{"name": "kafka", "found": None, "version": None, "how_to_get": "fetch it", **fields})]
    ).splitlines()[2:]


def test_a_missing_part_shows_how_to_get_it():
    assert rows() == ["kafka       missing        fetch it"]


def test_a_long_path_stays_in_one_piece():
    path = "/a" * 35
    assert rows(found=path, version="4.1") == ["kafka       4.1", path.rjust(80)]


def test_long_advice_is_wrapped_below_itself():
    shown = rows(how_to_get="install this and then that, " * 4)
    assert len(shown) > 1
    assert all(len(row) <= 80 for row in shown)
    assert all(row.startswith(" " * 25) for row in shown[1:])
