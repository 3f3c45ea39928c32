"""Counting is from 1, and a count that can never be reached is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import When, Whom
from pytest_chaos.model.whose import baggage, whose

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_nth_first_and_every_hit_what_they_say() -> None:
    assert [n for n in range(1, 7) if When(nth=(2, 5)).hits(n)] == [2, 5]
    assert [n for n in range(1, 7) if When(first=2).hits(n)] == [1, 2]
    assert [n for n in range(1, 7) if When(every=3).hits(n)] == [3, 6]
    assert all(When().hits(n) for n in range(1, 7))


@given(st.integers(max_value=0))
def test_a_count_below_one_is_refused(count: int) -> None:
    for name, wrong in (("nth", (count,)), ("first", count), ("every", count)):
        with pytest.raises(FaultError, match=f"{name}={count}: must be 1 or more"):
            When(**{name: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"first": "2"}, "first='2': must be 1 or more"),
        ({"nth": [1]}, r"nth=\[1\]: must be a tuple"),
        ({"probability": 0}, "probability=0: must be above 0"),
        ({"probability": True}, "probability=True"),
        ({"probability": float("nan")}, "probability=nan"),
        ({"after_s": -0.1}, "after_s=-0.1.*0 to 86400 s"),
        ({"until_s": float("inf")}, "until_s=inf"),
        ({"after_s": 3, "until_s": 1}, "until_s=1.*after_s=3"),
        ({"per": "test"}, "per='test'"),
    ],
)
def test_a_when_that_cannot_be_is_refused(kwargs: dict[str, object], says: str) -> None:
    with pytest.raises(FaultError, match=says):
        When(**kwargs)  # type: ignore[arg-type]


def test_chance_thins_out_what_the_count_leaves() -> None:
    assert [When(first=2, probability=0.5).hits(n, drawn) for n, drawn in ((1, 0.4), (1, 0.5), (3, 0.1))] == [
        True,
        False,
        False,
    ]
    assert When(probability=1).hits(9, 0.999)


def test_a_window_is_open_from_its_beginning_to_before_its_end() -> None:
    window = When(after_s=1, until_s=2)
    assert [window.within(at) for at in (0, 0.99, 1, 1.99, 2)] == [False, False, True, True, False]
    assert When().within(0)
    assert not When().timed


@pytest.mark.parametrize(
    ("whom", "hit"),
    [
        (Whom(), True),
        (Whom(trace_id=TRACE), True),
        (Whom(trace_id=TRACE[::-1]), False),
        (Whom(correlation_id="chaos-ab-7"), True),
        (Whom(correlation_id="chaos-ab-"), False),
        (Whom(correlation_prefix="chaos-ab-"), True),
        (Whom(correlation_prefix="chaos-ac-"), False),
        (Whom(baggage={"tenant": "a b"}), True),
        (Whom(baggage={"tenant": "a b", "test": "t1"}), True),
        (Whom(baggage={"tenant": "a"}), False),
        (Whom(baggage={"other": ""}), False),
        (Whom(trace_id=TRACE, correlation_prefix="x"), False),
    ],
)
def test_whom_is_read_from_the_headers(whom: Whom, hit: bool) -> None:
    headers = {
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        "x-correlation-id": "chaos-ab-7",
        "baggage": "tenant=a%20b;ttl=1 , test=t1",
    }
    assert whom.matches(headers) is hit
    assert whom.matches({}) is whom.everybody


MINE, OTHERS = "0123456789ab", "ba9876543210"


@pytest.mark.parametrize(
    ("headers", "test"),
    [
        ({"traceparent": f"00-c4a0{MINE}{'5' * 16}-00f067aa0ba902b7-01"}, MINE),
        ({"x-correlation-id": f"chaos-{MINE}-7"}, MINE),
        ({"baggage": f"tenant=a, chaos.correlation_id=chaos-{MINE}-7;ttl=1"}, MINE),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "x-correlation-id": f"chaos-{MINE}-7"}, MINE),
        ({"traceparent": f"00-c4a0{OTHERS}{'5' * 16}-00f067-01", "x-correlation-id": f"chaos-{MINE}-7"}, OTHERS),
        ({"x-correlation-id": f"chaos-{OTHERS}-7", "baggage": f"chaos.correlation_id=chaos-{MINE}-7"}, OTHERS),
        ({"x-correlation-id": "order-7", "traceparent": "00-c4a0-1-01"}, ""),
        ({}, ""),
    ],
)
def test_a_test_is_known_by_whatever_a_service_passes_on_of_its_marks(headers: dict[str, str], test: str) -> None:
    assert whose(headers) == test
    assert Whom(test=MINE).matches(headers) is (test == MINE)


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"trace_id": "abc"}, "trace_id='abc': must be 32"),
        ({"trace_id": "0" * 32}, "trace_id="),
        ({"trace_id": 5}, "trace_id=5"),
        ({"correlation_id": "a\nb"}, "correlation_id=.*printable"),
        ({"correlation_prefix": "x" * 257}, "correlation_prefix=.*256"),
        ({"baggage": {"a b": "c"}}, "baggage="),
        ({"test": "0123"}, "test='0123': must be the 12"),
        ({"test": 7}, "test=7"),
        ({"baggage": {"a": 1}}, "baggage="),
        ({"baggage": "a=b"}, "baggage="),
    ],
)
def test_a_whom_that_nobody_can_be_is_refused(kwargs: dict[str, object], says: str) -> None:
    with pytest.raises(FaultError, match=says):
        Whom(**kwargs)  # type: ignore[arg-type]


@given(st.text())
def test_whatever_stands_in_a_baggage_header_is_read(header: str) -> None:
    assert all(isinstance(part, str) for pair in baggage(header).items() for part in pair)
