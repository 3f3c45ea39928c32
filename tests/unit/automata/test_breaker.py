"""The breaker's automaton, event by event: late and neutral results, and what happens when the search gives up."""

from __future__ import annotations

import pytest

from pytest_chaos.automata.breaker import Event, Lenience, Result, Spec, replay

WAIT = 1000


def spec(*, late: Lenience = "ignore", neutral: Lenience = "ignore") -> Spec:
    return Spec(failures=2, wait_ns=WAIT, successes=2, late=late, neutral=neutral)


def story(text: str) -> list[Event]:
    """Read ``time:+call`` (admitted), ``time:call=success`` and ``time:!call`` (rejected), each at one instant."""
    events: list[Event] = []
    for word in text.split():
        at, _, what = word.partition(":")
        time = int(at)
        if what.startswith("+"):
            events.append(Event(kind="admit", low=time, high=time, call=what[1:]))
        elif what.startswith("!"):
            events.append(Event(kind="reject", low=time, high=time, call=what[1:]))
        else:
            call, _, result = what.partition("=")
            outcome: dict[str, Result] = {"ok": "success", "no": "failure", "nil": "neutral"}
            events.append(Event(kind="result", low=time, high=time, call=call, result=outcome[result]))
    return events


TRIPPED = "1:+a 2:a=no 3:+b 4:b=no"


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        (f"{TRIPPED} 5:!c", True),
        (f"{TRIPPED} 5:+c", False),
        (f"{TRIPPED} 1003:+c", False),
        (f"{TRIPPED} 1004:+c", True),
        (f"{TRIPPED} 1004:!c", True),
        (f"{TRIPPED} 1005:!c", False),
        (f"{TRIPPED} 1005:+c 1006:!d", True),
        (f"{TRIPPED} 1005:+c 1006:+d", False),
        (f"{TRIPPED} 1005:+c 1006:c=no 1007:!d", True),
        (f"{TRIPPED} 1005:+c 1006:c=no 1007:+d", False),
        (f"{TRIPPED} 1005:+c 1006:c=ok 1007:+d 1008:d=ok 1009:+e 1010:+f", True),
        (f"{TRIPPED} 1005:+c 1006:c=ok 1007:+d 1008:!e", True),
        ("1:+a 2:a=no 3:+b 4:b=ok 5:+c 6:c=no 7:+d", True),
        ("1:+a 2:a=no 3:!b", False),
        ("1:!a", False),
    ],
)
def test_the_automaton(text: str, accepted: bool) -> None:
    assert (replay(spec(), story(text)).witness is None) is accepted


@pytest.mark.parametrize(("late", "accepted"), [("ignore", False), ("count", True), ("any", True)])
def test_a_late_success_closes_half_open_only_where_late_results_count(late: Lenience, accepted: bool) -> None:
    text = f"0:+old {TRIPPED} 1005:+c 1006:c=ok 1007:old=ok 1008:+d 1009:+e"
    assert (replay(spec(late=late), story(text)).witness is None) is accepted


def test_a_late_result_that_has_to_count_cannot_be_ignored() -> None:
    text = f"0:+old {TRIPPED} 1005:+c 1006:old=no 1007:!d 1008:c=ok 1009:+e"
    assert replay(spec(late="count"), story(text)).witness is not None
    assert replay(spec(late="ignore"), story(text)).witness is None


@pytest.mark.parametrize("late", ["ignore", "count", "any"])
def test_a_late_success_never_closes_an_open_breaker(late: Lenience) -> None:
    assert replay(spec(late=late), story(f"0:+old {TRIPPED} 5:old=ok 6:+c")).witness is not None


@pytest.mark.parametrize(("neutral", "accepted"), [("ignore", False), ("count", True), ("any", True)])
def test_a_neutral_outcome_resets_the_count_only_where_it_counts(neutral: Lenience, accepted: bool) -> None:
    text = "1:+a 2:a=no 3:+b 4:b=nil 5:+c 6:c=no 7:+d"
    assert (replay(spec(neutral=neutral), story(text)).witness is None) is accepted


def test_intervals_that_overlap_may_have_happened_in_either_order() -> None:
    events = [*story("1:+a 2:a=no 3:+b"), Event(kind="result", low=4, high=9, call="b", result="failure")]
    assert replay(spec(), [*events, Event(kind="admit", low=5, high=6, call="c")]).witness is None
    assert replay(spec(), [*events, Event(kind="admit", low=10, high=11, call="c")]).witness is not None


def test_too_many_hypotheses_are_said_to_be_too_many() -> None:
    many = [Event(kind="admit", low=0, high=100 + number, call=f"c{number}") for number in range(6)]
    many += [Event(kind="result", low=0, high=200 + number, call=f"c{number}", result="neutral") for number in range(6)]
    assert replay(spec(late="any", neutral="any"), many, cap=2).exhausted
