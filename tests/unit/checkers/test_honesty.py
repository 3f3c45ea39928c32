"""Honesty: answers and effects agree, and no answer is somebody else's."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.honesty import Honesty
from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import HistoryBuilder, assert_laws

CHECKER = Honesty("mailgate")


@pytest.mark.parametrize(
    ("status", "effect", "expected"),
    [
        (201, True, "PASS"),
        (201, False, "FAIL"),
        (402, False, "PASS"),
        (402, True, "FAIL"),
        (503, True, "INCONCLUSIVE"),
        (202, False, "INCONCLUSIVE"),
    ],
)
def test_h1(status: int, effect: bool, expected: str) -> None:
    builder = HistoryBuilder()
    op = builder.op(status=status)
    if effect:
        builder.stub_effect("mailgate", attempt=builder.attempt("email -> mailgate", "POST /mails", op=op), marker="m")
    found = assert_laws(CHECKER, builder.build()).of("H1")
    assert found is not None
    assert found.outcome == expected


def test_h1_a_state_row_belongs_to_the_call_that_names_it() -> None:
    builder = HistoryBuilder()
    builder.op(status=201, response_body='{"id": "ord-1"}')
    builder.op(at=200, status=201, response_body='{"id": "ord-10"}')
    builder.state("orders", "orders", "ord-1")
    verdict = Honesty("orders:orders").check(builder.build())
    assert [one.witness for one in verdict.results if one.outcome == "FAIL"] == [("o2",)]


@pytest.mark.parametrize(("second", "expected"), [("m-2", "PASS"), ("m-1", "FAIL")])
def test_h2_an_answer_is_about_its_own_request(second: str, expected: str) -> None:
    builder = HistoryBuilder()
    builder.op(marker="m-1", response_body="m-1")
    builder.op(at=200, marker="m-2", response_body=second)
    found = assert_laws(CHECKER, builder.build()).of("H2")
    assert found is not None
    assert found.outcome == expected


def test_a_ledger_without_a_name_is_refused() -> None:
    with pytest.raises(ChaosError, match="must name"):
        Honesty("")
