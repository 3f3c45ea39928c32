from __future__ import annotations

import dataclasses
import json

import pytest

from benchmarks.__main__ import write
from benchmarks.rows import Measured, Row, row, table
from benchmarks.stack_up import goal

HOP = row("hop", "us", [90.0, 10.0, 20.0], {"direct": [5.0, 4.0, 6.0], "absent": []})


def test_a_row_is_the_median_of_its_rounds_with_least_and_most():
    assert dataclasses.asdict(HOP) == {
        "measure": "hop",
        "unit": "us",
        "ours": 20.0,
        "peers": {"direct": 5.0},
        "spread": {"ours": [10.0, 90.0], "direct": [4.0, 6.0]},
    }


def test_a_row_without_ours_is_refused():
    with pytest.raises(ValueError, match="hop: ours was never measured"):
        row("hop", "us", [], {"direct": [1.0]})


def test_paired_rounds_give_the_ratios_between_which_they_lie():
    paired = row("hop", "us", [2.0, 9.0, 4.0], {"direct": [4.0, 3.0, 4.0]}, paired=True)
    assert paired.spread["ours/direct"] == [0.5, 3.0]
    assert table([Measured(rows=(paired,))]).splitlines()[4].endswith("1.00 (0.50 .. 3.00)")


def test_the_table_names_each_contender_once_with_its_ratio():
    lines = table([Measured(rows=(HOP,))]).splitlines()
    ours, direct = lines[3:5]
    assert lines[2] == "hop [us]"
    assert ours.split() == ["ours", "20.0", "10.0", "..", "90.0"]
    assert direct.split() == ["direct", "5.0", "4.0", "..", "6.0", "4.00"]


def test_the_table_stays_within_80_columns():
    long = Row(
        measure="much " * 30,
        unit="requests/s",
        ours=123456.7,
        peers={"a peer with a name that is long " * 2: 654321.9},
        spread={
            "ours": [100000.1, 999999.9],
            "a peer with a name that is long " * 2: [100000.1, 999999.9],
            "ours/" + "a peer with a name that is long " * 2: [10.25, 11.75],
        },
    )
    shown = table([Measured(rows=(long,), notes=("said at length " * 20,))]).splitlines()
    assert max(map(len, shown)) <= 80


def test_a_peer_of_zero_has_no_ratio():
    assert table([Measured(rows=(row("hop", "us", [1.0], {"none": [0.0]}),))]).splitlines()[4].endswith("0.0 .. 0.0")


def test_the_file_is_one_list_of_rows(tmp_path):
    path = tmp_path / "reports" / "bench.json"
    write(path, [Measured(rows=(HOP,)), Measured(rows=(HOP, HOP))])
    assert json.loads(path.read_text()) == [dataclasses.asdict(HOP)] * 3
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("ours", "verdict"), [(6.9, "met"), (7.1, "MISSED")])
def test_the_goal_is_the_slowest_broker_and_three_seconds(ours, verdict):
    said = goal(ours, {"kafka": 4.0, "redis": 0.1})
    assert "kafka alone + 3 s = 7.00 s" in said
    assert said.endswith(verdict)
