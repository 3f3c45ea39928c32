"""What is on the spool behind a flush is whole lines, in order, wherever the file was begun."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.engine.spool import read
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.spool import Spool


@given(st.lists(st.one_of(st.none(), st.text(max_size=20))))
def test_an_offset_lies_behind_everything_so_far(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("spool") / "s"
    spool, written, offset = Spool(path), [], 0
    for step in steps:
        if step is None:
            offset = spool.flush()
            assert [json.loads(line)["x"] for line in path.read_bytes()[:offset].splitlines()] == written
        else:
            spool.add({"k": "h", "x": step})
            written.append(step)
    spool.close()
    assert len(path.read_bytes().splitlines()) == len(written)


def test_a_spool_that_is_there_is_appended_to(tmp_path):
    (tmp_path / "s").write_text('{"k":"h"}\n')
    spool = Spool(tmp_path / "s")
    spool.add({"k": "h"})
    assert spool.flush() == 20
    spool.close()


@given(st.data())
def test_a_line_says_what_differs_from_nothing(data):
    record = Record(
        attempt="a1", link='a -> "b"', connection="c1", reused=True, protocol="http/1.1", connected_ns=1, started_ns=2
    )
    nothing = {name: getattr(record, name) for name in Record.__slots__}
    texts = st.text(max_size=5)
    kinds = {str: texts, int: st.integers(0, 9), bool: st.booleans(), dict: st.dictionaries(texts, texts, max_size=2)}
    kinds |= {list: st.lists(texts, max_size=2), type(None): st.none() | st.integers(0, 9)}
    for name, value in nothing.items():
        if name not in {"id", "connection", "protocol", "body_hash"}:  # wire's own: letters, digits, / and .
            setattr(record, name, data.draw(kinds[type(value)]))
    always = {"id", "link", "connection", "reused", "protocol", "connected_ns", "started_ns"}
    said = {name: getattr(record, name) for name in Record.__slots__}
    told = {name: value for name, value in said.items() if name in always or value != nothing[name]}
    assert json.loads(record.line()) == {"k": "a", **told}


def test_a_record_reads_as_the_models_attempt(tmp_path):
    record = Record(
        attempt="a1", link="a -> b", connection="c1", reused=False, protocol="grpc", connected_ns=1, started_ns=2
    )
    record.grpc_status, record.upstream_grpc_status, record.faults = 0, 0, ["f1"]
    record.request_headers = {"traceparent": "00-ü-b-01"}
    spool = Spool(tmp_path / "s")
    spool.add(record)
    end = spool.flush()
    spool.close()
    (attempt,) = read(tmp_path / "s", 0, end).attempts
    assert (attempt.grpc_status, attempt.faults, attempt.status) == (0, ("f1",), None)
    assert attempt.request_headers == record.request_headers


@pytest.mark.parametrize(("there", "stays"), [(b'{"k":"h"}\n{"k":"to', 10), (b'{"k":"to', 0), (b"x" * 200_000, 0)])
def test_a_line_that_a_killed_wire_has_torn_is_cut_off(tmp_path, there, stays):
    (tmp_path / "s").write_bytes(there)
    spool = Spool(tmp_path / "s")
    spool.add({"k": "h"})
    assert spool.flush() == stays + 10
    assert (tmp_path / "s").read_bytes() == there[:stays] + b'{"k":"h"}\n'
    spool.close()
