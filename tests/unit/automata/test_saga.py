"""Which requests and effects are one saga's."""

from __future__ import annotations

import pytest

from pytest_chaos.automata.saga import Step, mentions, sagas
from pytest_chaos.testing import HistoryBuilder

STEPS = (
    Step("reserve", "orders -> inventory", "/i/Reserve", "/i/Release"),
    Step("pay", "orders -> payments", "POST /payments", "POST /refunds", done="acquirer:POST /charges"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("charge-o-1", True), ("o-1", True), ("o-10", False), ("go-1", False), ('{"id": "o-1"}', True)],
)
def test_a_subject_is_mentioned_as_a_word_of_its_own(text: str, expected: bool) -> None:
    assert mentions(text, "o-1") is expected


def test_requests_that_name_nothing_belong_to_the_saga_of_the_call_that_caused_them() -> None:
    builder = HistoryBuilder()
    for number in (1, 2):
        op = builder.op(at=100 * number, took=80)
        builder.attempt("orders -> inventory", "/i/Reserve", op=op, at=100 * number + 5, grpc=0)
        builder.attempt(op=op, at=100 * number + 20, marker=f"o-{number}")
        builder.state("orders", "orders", f"o-{number}", state="CONFIRMED")
    first, second = sagas(builder.build(), "orders:orders", STEPS)
    assert [one.ops[0].id for one in (first, second)] == ["o1", "o2"]
    assert [action.id for step in first.steps for action in step.actions] == ["a1", "a2"]
    assert [action.id for step in second.steps for action in step.actions] == ["a3", "a4"]


def test_a_call_belongs_to_the_saga_that_its_answer_names() -> None:
    builder = HistoryBuilder()
    builder.op(response_body='{"id": "o-1"}')
    builder.op(at=200, response_body='{"id": "o-2"}')
    builder.state("orders", "orders", "o-1", state="CONFIRMED")
    (found,) = sagas(builder.build(), "orders:orders", STEPS)
    assert [op.id for op in found.ops] == ["o1"]


def test_an_effect_that_no_row_knows_is_a_saga_that_was_forgotten() -> None:
    builder = HistoryBuilder()
    builder.stub_effect(marker="o-9")
    (found,) = sagas(builder.build(), "orders:orders", STEPS)
    assert (found.id, found.row, found.steps[1].did) == ("o-9", None, 1)
