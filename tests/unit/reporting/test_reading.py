"""Reading a journal: what cannot be read is said, never passed over in silence."""

from __future__ import annotations

import pytest

from fixtures.histories import build
from fixtures.histories.failing import retry_case
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.journal import UndoRecord
from pytest_chaos.reporting.reading import read_run


def written(tmp_path, name="mixed"):
    return build.write(tmp_path / "journal.jsonl", build.journals()[name])


def test_every_record_of_a_journal_is_read(tmp_path):
    run = read_run(written(tmp_path))
    assert len(run.cases) == 7
    assert run.counts == {"failed": 2, "passed": 3, "inconclusive": 1, "error": 1}
    assert run.duration_s == pytest.approx(93.4)
    assert run.notes == ()
    assert not run.dirty


def test_a_line_that_was_cut_off_becomes_a_note_and_the_rest_is_read(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    run = read_run(path)
    assert len(run.cases) == 7
    assert any("cut off" in note for note in run.notes)
    assert any("no end record" in note for note in run.notes)


def test_a_record_of_a_kind_that_is_not_known_is_passed_over(tmp_path):
    path = written(tmp_path, "passed")
    path.write_text('{"type": "weather", "rain": 1}\n' + path.read_text())
    assert len(read_run(path).cases) == 3


@pytest.mark.parametrize("content", ["", "{}\n", '{"type": "end", "ended": "x"}\n', "not json\n", "[1]\n"])
def test_a_file_that_is_no_journal_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "journal.jsonl"
    path.write_text(content)
    with pytest.raises(ChaosError, match="no run record"):
        read_run(path)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ChaosError, match=r"nowhere\.jsonl"):
        read_run(tmp_path / "nowhere.jsonl")


def test_one_undo_that_failed_makes_the_run_dirty(tmp_path):
    assert read_run(written(tmp_path, "hostile")).dirty


def test_an_undo_belongs_to_the_fault_of_its_own_test(tmp_path):
    run = read_run(written(tmp_path))
    retry, passed = run.cases[0], run.cases[1]
    (undo,) = run.undos_of(retry, retry.history.faults[0])
    assert undo.test == retry.nodeid
    assert undo not in run.undos_of(passed, passed.history.faults[0])


@pytest.mark.parametrize(("at_ms", "found"), [(691, 1), (1, 0), (61_000, 0)])
def test_an_undo_without_a_test_is_told_by_its_time(tmp_path, at_ms, found):
    case = retry_case()
    undo = UndoRecord(fault="f1", action="lift", at_ns=build_ns(at_ms), ok=True)
    run = read_run(build.write(tmp_path / "journal.jsonl", [build.run_record("r"), undo, case]))
    assert len(run.undos_of(case, case.history.faults[0])) == found


def build_ns(ms):
    return retry_case().history.started_ns + int(ms * 1e6)
