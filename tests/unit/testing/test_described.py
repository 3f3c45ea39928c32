"""The catalogue in words and examples: complete for what is there, and clear about what cannot be described."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, OnRequests, catalogue
from pytest_chaos.model.fault import Action
from pytest_chaos.testing import described
from pytest_chaos.testing.described import Field, Place

EVERYWHERE = Place(words={word: word for word in described.WORDS})


@dataclass(frozen=True, slots=True)
class Made(OnRequests):
    """Something goes wrong. More of it."""

    ms: Annotated[int, Between(1, 600_000, "ms")]
    how: Literal["a", "b"] = field(default="a", kw_only=True)
    loud: bool = field(default=False, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        return self.rule(fault_id, "status", {"code": 503})


@dataclass(frozen=True, slots=True)
class Riddle(Made):
    """Nobody can guess this."""

    answer: str = field(kw_only=True)


@pytest.mark.parametrize("name", catalogue.names())
def test_every_fault_has_examples_that_can_be_made_or_says_why_not(name: str) -> None:
    kind = catalogue.get(name)
    why = described.why_no_row(kind)
    if why:
        assert len(why) > 20
        return
    found = described.examples(kind)
    assert found
    assert len({one.label for one in found}) == len(found)
    for one in found:
        fault = one.at(EVERYWHERE)
        assert described.carriers(fault)
        assert described.protocols(fault)


@pytest.mark.parametrize("name", catalogue.names())
def test_every_fault_has_a_sentence_and_fields_in_words(name: str) -> None:
    kind = catalogue.get(name)
    assert described.sentence(kind.__doc__).endswith(".")
    for one in described.own_fields(kind):
        assert one.takes
        assert "Annotated" not in one.takes
        assert "typing" not in one.takes


def test_fields_tell_ranges_words_and_defaults() -> None:
    assert described.own_fields(Made) == [
        Field(name="link", takes="text", default=""),
        Field(name="ms", takes="1 to 600 000 ms", default=""),
        Field(name="how", takes='"a", "b"', default='"a"'),
        Field(name="loud", takes="True or False", default="False"),
        Field(name="name", takes="text or None", default="None"),
    ]
    assert {"operation", "whom", "probability"} <= {one.name for one in described.shared_fields()}


def test_examples_follow_from_the_types_one_for_each_word_and_flag() -> None:
    assert [one.label for one in described.examples(Made)] == [
        "Made(ms=100)",
        'Made(ms=100, how="b")',
        "Made(ms=100, loud=True)",
    ]
    (first, *_) = described.examples(Made)
    assert first.at(Place(link="a -> b")) == Made("a -> b", 100)


def test_a_fault_that_says_too_little_is_named_with_its_field() -> None:
    with pytest.raises(FaultError, match=r"Riddle: answer: .*examples.*no_row"):
        described.examples(Riddle)


def test_a_field_with_a_brokers_word_for_its_name_is_that_word() -> None:
    @dataclass(frozen=True, slots=True)
    class OnQueue(Made):
        """Something goes wrong with a queue."""

        queue: str = field(kw_only=True)

    (first, *_) = described.examples(OnQueue)
    assert first.label == 'OnQueue(ms=100, queue="{queue}")'


def test_words_of_a_place_are_filled_in_and_one_that_it_has_not_is_refused() -> None:
    place = Place(link="a -> b", caller="a", callee="b", words={"queue": "q"})
    value: Any = {"x": ("{caller}", ["{queue}.{callee}"]), "n": 1}
    assert place.fill(value) == {"x": ("a", ["q.b"]), "n": 1}
    with pytest.raises(FaultError, match=r"{group}.*a -> b has no such word.*queue"):
        place.fill("{group}")


def test_protocols_are_those_on_which_wire_would_hit() -> None:
    def on(name: str) -> list[str]:
        return described.protocols(described.examples(catalogue.get(name))[0].at(EVERYWHERE))

    assert on("GrpcStatus") == ["gRPC"]
    assert on("WrongLength") == ["HTTP/1.1", "HTTP/2"]
    assert on("ConfirmLost") == ["AMQP", "Kafka", "Redis"]
    assert on("Refuse") == list(described.CALLS)
    assert on("Redeliver") == ["AMQP", "Kafka", "Redis"]
    assert on("Unroutable") == ["AMQP"]
    assert on("ForceRebalance") == ["Kafka"]
    assert on("BrokerFull") == ["AMQP", "Redis"]


def test_the_list_names_every_fault_once_in_lines_of_80_columns() -> None:
    lines = described.listed(80)
    assert max(map(len, lines)) <= 80
    named = [line.split()[0] for line in lines if line[:2] == "  " and line[2:3] != " "]
    assert sorted(named) == catalogue.names()
