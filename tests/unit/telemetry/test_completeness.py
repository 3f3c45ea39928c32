"""Which spans a test must have, judged by what wire saw."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import NodeInfo
from pytest_chaos.model.span import Span
from pytest_chaos.telemetry.completeness import missing_spans
from pytest_chaos.telemetry.protobuf import fields

T = "0af7651916cd43dd8448eb211c80319c"
NODES = [
    NodeInfo(name="test", kind="driver"),
    NodeInfo(name="orders", kind="service", instrumented=True),
    NodeInfo(name="payments", kind="service", instrumented=True),
    NodeInfo(name="legacy", kind="service", instrumented=False),
    NodeInfo(name="acquirer", kind="stub"),
]


def attempt(link: str, parent: str, *, forwarded: int | None = 5, protocol: str = "http/1.1") -> Attempt:
    headers = {"traceparent": f"00-{T}-{parent}-03"} if parent else {}
    return Attempt(
        id="a1", link=link, connection="c1", reused=False, protocol=protocol, operation="POST /x",
        connected_ns=1, started_ns=2,
        forwarded_ns=forwarded, request_headers=headers,
    )  # fmt: skip


def span(service: str, span_id: str, parent: str = "", kind: str = "internal") -> Span:
    return Span(
        trace_id=T,
        span_id=span_id,
        parent_id=parent,
        service=service,
        name="s",
        kind=kind,
        start_unix_ns=1,
        end_unix_ns=2,
    )


SEEN = [
    attempt("test -> orders.grpc", "d1"),
    attempt("orders -> payments", "c1"),
    attempt("payments -> acquirer", "c2"),
]
WHOLE = [
    span("orders", "s1", "d1", "server"), span("orders", "c1", "s1", "client"), span("payments", "s2", "c1", "server"),
    span("payments", "c2", "s2", "client"),
]  # fmt: skip


def test_a_whole_trace_misses_nothing():
    assert missing_spans(SEEN, WHOLE, NODES) == ()


@pytest.mark.parametrize("lost", range(len(WHOLE)))
def test_every_single_lost_span_is_noticed(lost):
    left = WHOLE[:lost] + WHOLE[lost + 1 :]
    missing = missing_spans(SEEN, left, NODES)
    assert missing
    assert any(WHOLE[lost].service in sentence for sentence in missing)


def test_a_request_that_never_reached_its_callee_owes_no_server_span():
    seen = [SEEN[0], attempt("orders -> payments", "c1", forwarded=None)]
    assert missing_spans(seen, WHOLE[:2], NODES) == ()


def test_a_request_without_trace_context_counts_as_missing():
    assert "no trace context" in missing_spans([attempt("orders -> acquirer", "")], WHOLE[:1], NODES)[0]


def test_services_that_send_no_spans_and_plain_connections_owe_nothing():
    seen = [
        attempt("test -> legacy", ""),
        attempt("legacy -> acquirer", ""),
        attempt("orders -> legacy", "", protocol="tcp"),
    ]
    assert missing_spans(seen, WHOLE[:1], NODES) == ()


def test_an_undeclared_service_owes_spans_as_soon_as_it_sends_some():
    nodes = [NodeInfo(name="orders", kind="service"), NodeInfo(name="payments", kind="service")]
    assert missing_spans(SEEN[:1], [span("orders", "s1", "d1", "server")], nodes) == ()
    assert "orders" in missing_spans(SEEN[:1], [span("orders", "s9")], nodes)[0]


def test_nobody_instrumented_is_said_so():
    assert missing_spans(SEEN, [], [NodeInfo(name="orders", kind="service")]) == (
        "no service of this topology sends spans",
    )


def test_an_orphan_of_another_trace_is_not_this_tests_business():
    other = dataclasses.replace(span("orders", "x", "y"), trace_id="f" * 32)
    assert missing_spans(SEEN, [*WHOLE, other], NODES) == ()
    assert missing_spans(SEEN, [*WHOLE, span("orders", "x", "y")], NODES) != ()


def test_a_long_list_is_cut_and_counted():
    missing = missing_spans([attempt("test -> orders", f"d{number}") for number in range(30)], [], NODES)
    assert len(missing) == 21
    assert missing[-1] == "and 10 more"


@pytest.mark.parametrize("bad", [b"\x0a\x05ab", b"\xff" * 11, b"\x0b", b"\x09\x01", b"\x80", b"\x02\x00"])
def test_bytes_that_are_no_message_are_refused(bad):
    with pytest.raises(ValueError, match="byte"):
        list(fields(memoryview(bad)))


def test_importing_the_room_loads_no_third_party_module():
    program = (
        "import sys\nfrom pytest_chaos.telemetry import completeness, decode, receiver\n"
        "print([name for name in ('google.protobuf', 'grpc', 'opentelemetry') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
