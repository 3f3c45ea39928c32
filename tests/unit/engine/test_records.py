"""Spool, journal and identities: what is written is what is read, and nonsense is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_chaos.engine import journal, spool
from pytest_chaos.engine.identity import Identities
from pytest_chaos.engine.recorder import with_refused_calls
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.journal import EndRecord, UndoRecord
from pytest_chaos.model.op import Op

ATTEMPT = Attempt(
    id="a1", link="a -> b", connection="c1", reused=True, protocol="http/1.1", connected_ns=1, started_ns=2, status=200
)


def test_a_stretch_of_the_spool_gives_its_records_alone(tmp_path: Path) -> None:
    path = tmp_path / "attempts.spool"
    before = b'{"k":"h","fault":"f0","at_ns":1}\n'
    record = json.dumps({"k": "a", **to_json(ATTEMPT)}).encode() + b"\n"
    path.write_bytes(before + record + b"half a rec")
    read = spool.read(path, len(before), len(before) + len(record))
    assert read.attempts == [ATTEMPT]
    assert read.hits == []


def test_a_line_that_is_no_record_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "attempts.spool"
    path.write_bytes(b"[]\n")
    with pytest.raises(ChaosError, match="not a spool record"):
        spool.read(path, 0, 3)


def test_a_journal_comes_back_in_order_and_names_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    records = [UndoRecord(fault="f1", action="rule", at_ns=1, ok=True), EndRecord(ended="now", dirty=False)]
    for record in records:
        journal.append(path, record)
    assert list(journal.read(path)) == records
    path.write_bytes(path.read_bytes() + b'{"type":"riddle"}\n')
    with pytest.raises(ChaosError, match=r"journal.jsonl:3: not a journal record"):
        list(journal.read(path))


def test_a_journal_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ChaosError, match="cannot be read"):
        list(journal.read(tmp_path / "nowhere.jsonl"))


def test_identities_repeat_with_seed_and_test_and_differ_otherwise() -> None:
    one, same, other = Identities(1, "t"), Identities(1, "t"), Identities(2, "t")
    first = [one.next() for _ in range(3)]
    assert [same.next() for _ in range(3)] == first
    assert other.next().trace_id != first[0].trace_id
    assert len({identity.correlation_id for identity in first}) == len(first)
    assert all(identity.correlation_id.startswith(one.prefix) for identity in first)
    assert not other.next().correlation_id.startswith(one.prefix)
    assert len({identity.trace_id for identity in first} | {identity.span_id for identity in first}) == 6
    assert all(len(identity.trace_id) == 32 and len(identity.span_id) == 16 for identity in first)


def test_calls_of_a_burst_are_named_by_their_place_in_it_and_not_by_who_came_first() -> None:
    def names(order: list[int]) -> dict[int, list[str]]:
        identities = Identities(1, "t")
        identities.next()
        place = identities.branches()
        found: dict[int, list[str]] = {}
        for index in order:
            with place(index):
                found[index] = [identities.next().op_id, identities.next().op_id]
        found[-1] = [identities.next().op_id]
        return found

    assert names([0, 1, 2]) == names([2, 0, 1])
    assert names([0, 1]) == {0: ["o2.1", "o2.1.2"], 1: ["o2.2", "o2.2.2"], -1: ["o3"]}


def refusal(**fields: object) -> FaultRecord:
    known = {"id": "f1", "kind": "Refuse", "target": "test -> a", "installed_ns": 100, "lifted_ns": 200}
    return FaultRecord(**{**known, **fields})  # type: ignore[arg-type]


def call(**fields: object) -> Op:
    known = {"id": "o1", "link": "test -> a", "operation": "GET /", "invoked_ns": 110, "completed_ns": 120}
    error = "ConnectError: [Errno 111] Connection refused"
    return Op(**{**known, "error": error, **fields})  # type: ignore[arg-type]


def test_a_call_of_the_driver_that_was_refused_proves_the_refusal() -> None:
    found = with_refused_calls(refusal(), [call(), call(id="o2", completed_ns=130)])
    assert (found.hits, found.first_hit_ns, found.last_hit_ns) == (2, 120, 130)
    assert found.proof == "2 of the driver's own calls on test -> a were refused"


@pytest.mark.parametrize(
    ("fault", "op"),
    [
        ({"kind": "AcceptClose"}, {}),
        ({"target": "test -> b"}, {}),
        ({"installed_ns": 115}, {}),
        ({"lifted_ns": 119}, {}),
        ({}, {"error": "ConnectTimeout: timed out"}),
        ({}, {"error": "UNAVAILABLE: last error: Connection refused"}),
        ({}, {"completed_ns": None, "error": ""}),
    ],
)
def test_nothing_else_proves_one(fault: dict[str, object], op: dict[str, object]) -> None:
    assert with_refused_calls(refusal(**fault), [call(**op)]).hits == 0


def test_what_was_counted_otherwise_stays() -> None:
    known = refusal(hits=7, proof="seen")
    assert with_refused_calls(known, [call()]) is known
