"""Why a fault hit nothing: what was opaque, what came too late; nothing is made up where nobody can say."""

from __future__ import annotations

import pytest

from pytest_chaos.automata.unhit import why_unhit
from pytest_chaos.testing import HistoryBuilder


@pytest.mark.parametrize(
    ("operation", "at", "expected"),
    [
        ("POST /mails", 140, "POST /mails (a1) came 40 ms after the fault was lifted"),
        ("POST /**", 140, "POST /mails (a1) came 40 ms after the fault was lifted"),
        ("", 140, "came 40 ms after"),
        ("POST /bills", 140, ""),
        ("POST /mails", 90, ""),
    ],
)
def test_a_request_that_came_after_the_lift_is_named(operation: str, at: float, expected: str) -> None:
    builder = HistoryBuilder()
    fault = builder.fault("FailFirst", "email -> mailgate", lifted=100, hits=0, params={"operation": operation})
    builder.attempt("email -> mailgate", "POST /mails", at=at)
    found = why_unhit(fault, builder.build())
    assert expected in found
    assert bool(found) is bool(expected)
    assert "chaos.settle()" in found or not found


def test_a_node_fault_at_a_point_looks_at_the_points_link() -> None:
    builder = HistoryBuilder()
    fault = builder.fault(
        "KillAt", "email", lifted=100, hits=0, params={"link": "email -> mailgate", "operation": "POST /mails"}
    )
    builder.attempt("email -> mailgate", "POST /mails", at=130)
    assert "30 ms after" in why_unhit(fault, builder.build())


def test_a_fault_that_still_stands_has_missed_nothing_yet() -> None:
    builder = HistoryBuilder()
    fault = builder.fault("FailFirst", "email -> mailgate", hits=0)
    builder.attempt("email -> mailgate", "POST /mails", at=140)
    assert why_unhit(fault, builder.build()) == ""
