"""docs/faults.md says of every fault what client libraries see, and they see it again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conformance.table import page
from tests.conformance.table.observe import NOT_HIT, Cell, Key, tasks
from tests.conformance.table.stack import ROOT

AGAIN = "run `make conformance`, read what it prints, and commit docs/faults.md"
LIMIT_S = 300
WHOLE_S = 3600


@pytest.fixture(scope="module")
def text():
    return page.PAGE.read_text()


@pytest.fixture(scope="module")
def seen(text):
    return page.parse(text)


def test_the_page_is_written_from_the_catalogue_as_it_is_now(text, seen):
    assert page.render(seen) == text, AGAIN


def test_every_fault_has_its_rows_on_every_protocol_and_engine_that_it_claims(seen):
    claimed = {key for task in tasks() for key in task.names()}
    assert claimed - set(seen) == set(), AGAIN
    assert set(seen) - claimed == set(), AGAIN


def test_no_row_is_of_a_fault_that_had_nothing_to_act_on(seen):
    assert [key for key, cell in seen.items() if NOT_HIT in cell.open + cell.new] == []


def of(seen, fault):
    return {(key.example, key.client): cell for key, cell in seen.items() if key.fault == fault}


def test_refused_is_refused_for_new_connections_and_reset_for_open_ones(seen):
    found = of(seen, "Refuse")["Refuse()", "a bare socket"]
    assert found == Cell("`ConnectionResetError`", "no", "`ConnectionRefusedError`", "no")
    assert {cell.new_done for cell in of(seen, "Refuse").values()} == {"no"}


def test_reset_is_reset_for_open_connections_too(seen):
    for fault in ("ResetConnections", "ResetPeer"):
        found = seen[Key(fault, f"{fault}()", "wire", "a bare socket")]
        assert (found.open, found.new) == ("`ConnectionResetError`", "`ConnectionResetError`")
    # On plain TCP a request is a connection's first bytes, so that an open one has none to come.
    assert of(seen, "Reset")["Reset()", "a bare socket"].new == "`ConnectionResetError`"


def test_a_lost_answer_is_work_done_exactly_once_and_no_answer(seen):
    consumers = {"aio-pika consuming", "aiokafka consuming", "redis-py reading"}
    found = {who: cell for who, cell in of(seen, "AnswerLost").items() if who[1] not in consumers}
    assert len(found) >= 24
    for who, cell in found.items():
        assert (cell.open_done, cell.new_done) == ("once", "once"), who
        assert "answered" not in cell.open + cell.new, who


@pytest.mark.timeout(WHOLE_S)
def test_client_libraries_see_what_the_page_says():
    """A part of the page, the same on every run; all of it with PYTEST_CHAOS_CONFORMANCE=all."""
    whole = os.environ.get("PYTEST_CHAOS_CONFORMANCE") == "all"
    command = [sys.executable, "-m", "tests.conformance.table", "--check", *([] if whole else ["--sample"])]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=WHOLE_S if whole else LIMIT_S, check=False
    )
    if done.returncode == 3:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
