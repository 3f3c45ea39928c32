"""CircuitBreaker against directed probes: a sound breaker holds each rule, planted ones break their own."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.breaker import CircuitBreaker
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.history import History
from pytest_chaos.testing import HistoryBuilder, assert_laws
from tests.property import breakers
from tests.property.breakers import Sound

LINK = "orders -> payments"
POLICY = CircuitBreaker(LINK, failures=5, wait_s=3.0, successes=3)


class Service:
    """Answers calls one after the other, in virtual ms; a rejected call gets 503 with Retry-After."""

    def __init__(self, breaker: Sound, *, rejection: int = 503, header: bool = True, rejection_ms: float = 2) -> None:
        self.builder = HistoryBuilder()
        self.breaker = breaker
        self.now = 10.0
        self.rejection, self.header, self.rejection_ms = rejection, header, rejection_ms
        self.admitted = 0

    def call(self, status: int = 200, *, took: float = 20, late: float = 0) -> None:
        """Make one call that the dependency answers with ``status``; ``late`` advances the clock first."""
        self.now += late
        permit = self.breaker.admit(self.now / 1000)
        start = self.now
        if permit is None:
            headers = {"retry-after": "3"} if self.header else {}
            op = self.builder.op(at=start, took=self.rejection_ms + 2, status=self.rejection, response_headers=headers)
            self.builder.attempt(
                "test -> orders",
                "POST /api/orders",
                op=op,
                at=start + 0.5,
                took=self.rejection_ms,
                status=self.rejection,
                response_headers=headers,
            )
            self.now += self.rejection_ms + 5
            return
        self.admitted += 1
        op = self.builder.op(at=start, took=took + 4, status=201 if status < 400 else 500)
        self.builder.attempt(
            "test -> orders",
            "POST /api/orders",
            op=op,
            at=start + 0.5,
            took=took + 3,
            status=201 if status < 400 else 500,
        )
        self.builder.attempt(LINK, op=op, at=start + 1, took=took, status=status, forwarded=status < 400)
        self.now += took + 6
        self.breaker.result(status < 500, permit, (start + 1 + took) / 1000)

    def history(self) -> History:
        return self.builder.build(ends=self.now + 1000)


def story(breaker: Sound, **options: object) -> Service:
    """Trip it, knock, wait, fail a probe after one success, knock, wait, close it, and use it."""
    service = Service(breaker, **options)  # type: ignore[arg-type]
    service.call()
    for _ in range(7):
        service.call(503)
    service.call(late=3000)
    service.call(503)
    service.call()
    for late in (3000, 0, 0):
        service.call(late=late)
    for _ in range(3):
        service.call(503)
    service.call()
    return service


def outcome(service: Service, rule: str, policy: CircuitBreaker = POLICY) -> tuple[str, str]:
    result = assert_laws(policy, service.history()).of(rule)
    assert result is not None
    return result.outcome, result.missing or result.message


@pytest.mark.parametrize("rule", ["B1", "B2", "B3", "B5", "B6", "B7"])
def test_a_sound_breaker_holds(rule: str) -> None:
    assert outcome(story(Sound()), rule)[0] == "PASS"


@pytest.mark.parametrize("rule", ["B1", "B2", "B3", "B4", "B5", "B6", "B7"])
def test_without_failures_nothing_is_decided(rule: str) -> None:
    service = Service(Sound())
    for _ in range(5):
        service.call()
    assert outcome(service, rule)[0] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        (breakers.NeverTrips, "B1"),
        (breakers.OneTooMany, "B1"),
        (breakers.OneTooFew, "B2"),
        (breakers.EarlyWake, "B3"),
        (breakers.ClosesOnFirst, "B5"),
        (breakers.FailedProbeIgnored, "B5"),
        (breakers.StuckOpen, "B6"),
        (breakers.TheDocuments, "B5"),
    ],
)
def test_a_planted_breaker_fails_the_rule_that_names_it(planted: type[Sound], rule: str) -> None:
    service = Service(planted()) if planted is breakers.EarlyWake else story(planted())
    if planted is breakers.EarlyWake:
        for _ in range(7):
            service.call(503)
        service.call(late=1500)
    verdict = assert_laws(POLICY, service.history())
    failed = {result.rule for result in verdict.results if result.outcome == "FAIL"}
    assert failed == {rule}


class Overlapping(Service):
    """The same with results that come when they come."""

    def __init__(self, breaker: Sound) -> None:
        super().__init__(breaker)
        self.pending: list[tuple[float, bool, int]] = []

    def ask(self, at: float, took: float, status: int = 200) -> None:
        for item in sorted(self.pending):
            if item[0] <= at:
                self.breaker.result(item[1], item[2], item[0] / 1000)
                self.pending.remove(item)
        permit = self.breaker.admit(at / 1000)
        if permit is None:
            op = self.builder.op(at=at, took=4, status=503, response_headers={"retry-after": "1"})
            self.builder.attempt(
                "test -> orders",
                "POST /api/orders",
                op=op,
                at=at + 0.5,
                took=2,
                status=503,
                response_headers={"retry-after": "1"},
            )
            return
        op = self.builder.op(at=at, took=took + 4, status=201 if status < 400 else 500)
        self.builder.attempt(
            "test -> orders", "POST /api/orders", op=op, at=at + 0.5, took=took + 3, status=201 if status < 400 else 500
        )
        self.builder.attempt(LINK, op=op, at=at + 1, took=took, status=status, forwarded=status < 400)
        self.pending.append((at + 1 + took, status < 400, permit))
        self.now = max(self.now, at + took + 10)


@pytest.mark.parametrize(
    ("breaker", "expected"), [(Sound, "PASS"), (breakers.Flood, "FAIL"), (breakers.TheDocuments, "FAIL")]
)
def test_b4_a_burst_at_wake_up_lets_one_probe_through(breaker: type[Sound], expected: str) -> None:
    service = Overlapping(breaker())
    for number in range(7):
        service.ask(10 + number * 40, 20, 503)
    for number in range(20):
        service.ask(3500 + number, 500)
    verdict, message = outcome(service, "B4")
    assert verdict == expected, message


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param([3180, 3185], "INCONCLUSIVE", id="rejected just before it woke"),
        pytest.param([3195], "INCONCLUSIVE", id="begun beside the probe"),
        pytest.param([3694], "INCONCLUSIVE", id="told when the probe had ended"),
        pytest.param([3210], "PASS", id="while it was under way"),
    ],
)
def test_b4_only_a_call_that_was_surely_made_while_a_probe_was_under_way_shows_it(
    asked: list[float], expected: str
) -> None:
    service = Overlapping(Sound())
    for number in range(5):
        service.ask(10 + number * 40, 20, 503)
    for at in sorted([3195, *asked]):
        service.ask(at, 500)
    verdict, message = outcome(service, "B4")
    assert verdict == expected, message
    assert expected == "PASS" or "go on calling while the probe is held" in message


def test_b5_a_call_rejected_while_the_failing_probe_may_still_run_does_not_show_that_it_opened_again() -> None:
    service = Overlapping(breakers.FailedProbeIgnored())
    for number in range(5):
        service.ask(10 + number * 40, 20, 503)
    service.ask(3300, 100, 503)
    service.ask(3400, 100)
    verdict, message = outcome(service, "B5")
    assert verdict == "INCONCLUSIVE", message


def test_b6_good_probes_alone_do_not_show_that_it_closed() -> None:
    service = Service(Sound(needed=10_000))
    for _ in range(7):
        service.call(503)
    for late in (3000, 0, 0, 0, 0):
        service.call(late=late)
    verdict, message = outcome(service, "B6")
    assert verdict == "INCONCLUSIVE", message


def test_b6_probes_of_which_one_may_have_ended_before_the_next_do_not_show_that_it_closed() -> None:
    service = Overlapping(Sound(needed=10_000))
    for number in range(5):
        service.ask(10 + number * 40, 20, 503)
    for number in range(6):
        service.ask(3300 + number * 28, 25)
    verdict, message = outcome(service, "B6")
    assert verdict == "INCONCLUSIVE", message


def test_b6_calls_side_by_side_show_that_it_closed() -> None:
    service = Overlapping(Sound())
    for number in range(5):
        service.ask(10 + number * 40, 20, 503)
    for number in range(3):
        service.ask(3300 + number * 30, 25)
    for number in range(3):
        service.ask(3400 + number, 500)
    verdict, message = outcome(service, "B6")
    assert verdict == "PASS", message


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "PASS"), ({"rejection": 500}, "FAIL"), ({"header": False}, "FAIL"), ({"rejection_ms": 700}, "FAIL")],
)
def test_b7_a_rejection_is_fast_and_says_what_it_is(options: dict[str, object], expected: str) -> None:
    assert outcome(story(Sound(), **options), "B7")[0] == expected


def test_failures_without_a_rejection_prove_nothing_about_opening() -> None:
    service = Service(Sound())
    for _ in range(5):
        service.call(503)
    assert [outcome(service, rule)[0] for rule in ("B1", "B2", "B3")] == ["INCONCLUSIVE"] * 3


def test_a_flood_after_a_good_probe_breaks_whatever_it_may_be() -> None:
    service = Overlapping(breakers.Flood())
    for number in range(7):
        service.ask(10 + number * 40, 20, 503)
    service.ask(3500, 20)
    for number in range(10):
        service.ask(3600 + number, 500)
    failed = {one.rule for one in assert_laws(POLICY, service.history()).results if one.outcome == "FAIL"}
    assert failed == {"B4", "B5"}


def test_neutral_outcomes_do_not_trip_it() -> None:
    service = Service(Sound())
    for _ in range(8):
        service.call(422)
    assert outcome(service, "B2")[0] == "INCONCLUSIVE"


def test_b2_a_breaker_that_counts_422_is_found() -> None:
    service = Service(Sound())
    real = service.breaker.result
    service.breaker.result = lambda _ok, permit, now: real(False, permit, now)  # type: ignore[method-assign]
    for _ in range(7):
        service.call(422)
    assert outcome(service, "B2")[0] == "FAIL"


def test_a_restart_of_the_caller_forgets_the_breaker() -> None:
    service = Service(Sound())
    for _ in range(6):
        service.call(503)
    service.builder.node("orders", "killed", at=service.now)
    service.builder.node("orders", "started", at=service.now + 5)
    service.breaker = Sound()
    service.now += 10
    service.call()
    verdict = assert_laws(POLICY, service.history())
    assert not [result for result in verdict.results if result.outcome == "FAIL"]


def test_several_replicas_are_inconclusive() -> None:
    service = story(Sound())
    service.builder.info("orders", replicas=2)
    assert outcome(service, "B1")[0] == "INCONCLUSIVE"


def test_numbers_that_are_no_breaker_are_refused() -> None:
    with pytest.raises(ChaosError, match="failures=0"):
        CircuitBreaker(LINK, failures=0)


@pytest.mark.parametrize(("alters", "expected"), [(True, "PASS"), (False, "FAIL")])
def test_answers_that_a_fault_spoilt_may_open_it(alters: bool, expected: str) -> None:
    builder = HistoryBuilder()
    builder.fault("ForeignBody" if alters else "Delay", LINK, at=0, alters=alters)
    for number in range(6):
        rejected = number == 5
        told = {"retry-after": "3"} if rejected else {}
        op = builder.op(at=50 * number, took=20, status=503, response_headers=told)
        asked = 50 * number + 1
        builder.attempt(
            "test -> orders", "POST /api/orders", op=op, at=asked, took=18, status=503, response_headers=told
        )
        if not rejected:
            builder.attempt(LINK, op=op, at=50 * number + 2, faults=("f1",))
    found = assert_laws(POLICY, builder.build()).of("B2")
    assert found is not None
    assert found.outcome == expected
