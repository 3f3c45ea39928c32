"""traces.jaeger.json: the shape that Jaeger's UI opens by itself."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fixtures.histories import build
from fixtures.histories.failing import retry_case
from pytest_chaos.model.span import SpanEvent, SpanLink
from pytest_chaos.reporting.jaeger import CHAOS, clock_offset_ns, render, traces
from pytest_chaos.reporting.reading import read_run


def trace(history=None):
    (found,) = traces(history or retry_case().history, "t", "r")
    return found


def tags(span):
    return {tag["key"]: tag["value"] for tag in span["tags"]}


@pytest.mark.parametrize("name", sorted(build.journals()))
def test_the_file_has_the_shape_that_the_ui_reads(tmp_path, name):
    document = json.loads(render(read_run(build.write(tmp_path / "j", build.journals()[name]))))
    for one in document["data"]:
        for span in one["spans"]:
            assert span["traceID"] == one["traceID"]
            assert span["processID"] in one["processes"]
            assert isinstance(span["startTime"], int)
            assert span["duration"] >= 0
            assert {ref["refType"] for ref in span["references"]} <= {"CHILD_OF", "FOLLOWS_FROM"}
            assert {tag["type"] for tag in span["tags"]} <= {"string", "bool", "int64", "float64"}
            assert "span.kind" in tags(span)


def test_times_are_microseconds_and_a_parent_is_a_reference():
    root, client, *_ = trace()["spans"]
    assert root["startTime"] == 1_795_482_602_006_000
    assert root["duration"] == 670_000
    assert root["references"] == []
    assert client["references"] == [{"refType": "CHILD_OF", "traceID": root["traceID"], "spanID": root["spanID"]}]


def test_a_fault_window_is_a_span_of_its_own_service_that_says_it_is_synthetic():
    found = trace()
    (window,) = [span for span in found["spans"] if span["processID"] == CHAOS]
    assert found["processes"][CHAOS]["serviceName"] == "chaos"
    assert tags(window)["chaos.synthetic"] is True
    assert tags(window)["chaos.target"] == "orders -> payments"
    assert window["duration"] == 687_900
    assert window["references"][0]["spanID"] == found["spans"][0]["spanID"]


def test_a_fault_of_another_time_is_not_in_the_trace():
    history = retry_case().history
    late = dataclasses.replace(history.faults[0], installed_ns=history.started_ns + 10**12, lifted_ns=None)
    moved = dataclasses.replace(history, faults=(late,), ended_ns=history.started_ns + 2 * 10**12)
    assert CHAOS not in trace(moved)["processes"]


def test_a_span_that_arrived_twice_is_there_once():
    history = retry_case().history
    twice = dataclasses.replace(history, spans=(*history.spans, history.spans[0]))
    assert len(trace(twice)["spans"]) == len(trace()["spans"])


def test_errors_events_and_links_are_what_the_ui_marks():
    history = retry_case().history
    span = dataclasses.replace(
        history.spans[1],
        status="error",
        status_message="boom",
        events=(SpanEvent(name="exception", at_unix_ns=5_000, attributes={"n": 1}),),
        links=(SpanLink(trace_id="aa", span_id="bb"),),
    )
    shown = trace(dataclasses.replace(history, spans=(history.spans[0], span)))["spans"][1]
    assert tags(shown)["error"] is True
    assert tags(shown)["otel.status_code"] == "ERROR"
    assert shown["logs"][0]["timestamp"] == 5
    assert {"refType": "FOLLOWS_FROM", "traceID": "aa", "spanID": "bb"} in shown["references"]


def test_the_clocks_are_matched_by_the_span_that_came_soonest():
    spans = retry_case().history.spans
    slow = dataclasses.replace(spans[0], received_ns=spans[0].received_ns + 10**9)
    assert clock_offset_ns((slow, *spans[1:])) == clock_offset_ns(spans[1:])
    assert clock_offset_ns(()) is None
