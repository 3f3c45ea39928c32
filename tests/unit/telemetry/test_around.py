"""Requests around the proxy, told from spans: a server span whose request was on no link."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_chaos.model.history import Bypass
from pytest_chaos.model.op import Op
from pytest_chaos.telemetry.around import bypasses
from tests.unit.telemetry.test_completeness import NODES, SEEN, WHOLE, T, attempt, span

OPS = (Op(id="o1", link="test -> orders", operation="POST /x", invoked_ns=1, trace_id=T),)


def test_requests_on_links_explain_every_server_span():
    assert bypasses(SEEN, WHOLE, NODES, OPS) == ()


def test_a_server_span_of_a_request_on_no_link_names_both_ends():
    assert bypasses(SEEN[:1], WHOLE, NODES, OPS) == (Bypass(caller="orders", callee="payments", spans=("s2",)),)
    elsewhere = [SEEN[0], attempt("orders -> inventory", "c1")]
    assert str(*bypasses(elsewhere, WHOLE, NODES, OPS)).startswith("orders reached payments around its link: 1 server")


@pytest.mark.parametrize(
    "changed",
    [
        {"nodes": [node for node in NODES if node.name != "payments"]},
        {"ops": ()},
        {"attempts": [SEEN[0], attempt("orders -> payments", "", protocol="tcp")]},
        {"spans": [one for one in WHOLE if one.span_id != "c1"]},
        {"spans": [dataclasses.replace(one, kind="consumer") if one.span_id == "s2" else one for one in WHOLE]},
        {"spans": [*WHOLE[:2], span("orders", "s2", "c1", "server")]},
    ],
    ids=["no service", "another test's trace", "unreadable", "no client span", "no request", "itself"],
)
def test_what_proves_nothing_is_not_said(changed):
    known = {"attempts": SEEN[:1], "spans": WHOLE, "nodes": NODES, "ops": OPS}
    assert bypasses(**known)
    assert bypasses(**{**known, **changed}) == ()
