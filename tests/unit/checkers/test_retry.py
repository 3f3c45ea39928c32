"""Each rule of Retry: a sound history holds it, a planted violation fails it, and nothing retried decides nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_chaos.checkers.retry import Exponential, Retry
from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import HistoryBuilder, assert_laws

LINK = "orders -> payments"
POLICY = Retry(LINK, max_attempts=4, backoff=Exponential(0.2, jitter="full"), deadline_s=3.0)


def outcome(
    history: HistoryBuilder, rule: str, *, policy: Retry = POLICY, ends: float | None = None
) -> tuple[str, str]:
    result = assert_laws(policy, history.build(ends=ends)).of(rule)
    assert result is not None
    return result.outcome, result.missing or result.message


def retried(
    *, times: int = 3, gap: float = 100, fail: int = 503, last: int = 200, key: str = "k1", took: float = 10
) -> HistoryBuilder:
    """Build a call that failed ``times - 1`` times before the callee was asked, then ended in ``last``."""
    builder = HistoryBuilder()
    op = builder.op(took=times * (gap + took) + 50)
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=1, took=times * (gap + took) + 40)
    builder.fault("FailFirst", LINK, at=0)
    for number in range(times):
        final = number == times - 1
        builder.attempt(
            LINK,
            op=op,
            at=5 + number * (gap + took),
            took=took,
            status=last if final else fail,
            key=key,
            marker="ord-1",
            forwarded=final,
            faults=() if final else ("f1",),
        )
    return builder


@pytest.mark.parametrize("rule", ["R1", "R2", "R4", "R9", "R10", "R11"])
def test_a_sound_retry_holds(rule: str) -> None:
    assert outcome(retried(), rule)[0] == "PASS"


@pytest.mark.parametrize(
    ("times", "gap", "expected"),
    [(4, 1, "FAIL"), (3, 1, "INCONCLUSIVE"), (2, 1, "PASS"), (4, 20, "PASS"), (4, 100, "PASS")],
)
def test_r2_full_jitter_that_never_waits_is_no_jitter(times: int, gap: float, expected: str) -> None:
    verdict, message = outcome(retried(times=times, gap=gap), "R2")
    assert verdict == expected, message
    if expected == "FAIL":
        assert "the 3 waits were 3 ms in all, of up to 1.4 s" in message


def test_r2_of_full_jitter_leaves_out_what_a_client_library_sends_again_by_itself() -> None:
    builder = retried(times=2, gap=100)
    for number in range(6):
        op = builder.op(at=1000 + 100 * number)
        at = 1010 + 100 * number
        builder.attempt(LINK, op=op, at=at, error="reset", key=f"k{number}", reused=True, faults=("f1",))
        builder.attempt(LINK, op=op, at=at + 11, key=f"k{number}")
    assert outcome(builder, "R2")[0] == "PASS"


@pytest.mark.parametrize("rule", ["R1", "R2", "R4", "R5", "R6", "R7", "R9", "R10", "R11"])
def test_nothing_retried_decides_nothing(rule: str) -> None:
    builder = HistoryBuilder()
    builder.attempt(LINK, op=builder.op(), at=5)
    assert outcome(builder, rule)[0] == "INCONCLUSIVE"


def test_a_fault_that_hit_nothing_is_named_as_the_reason() -> None:
    builder = HistoryBuilder()
    builder.fault("AnswerLost", LINK, hits=0)
    builder.attempt(LINK, op=builder.op(), at=5)
    assert "the fault f1 (AnswerLost on orders -> payments) hit nothing" in outcome(builder, "R1")[1]


def test_r1_too_many_attempts_are_found() -> None:
    verdict, message = outcome(retried(times=5), "R1")
    assert verdict == "FAIL"
    assert "5 times" in message


def test_r1_exactly_as_many_as_declared_hold() -> None:
    assert outcome(retried(times=4), "R1")[0] == "PASS"
    assert outcome(retried(times=1, last=503), "R1", policy=Retry(LINK, max_attempts=1))[0] == "PASS"


def test_r1_does_not_count_what_a_client_library_sends_again_by_itself() -> None:
    builder = retried(times=4)
    builder.attempt(LINK, op=builder._ops[0], at=-20, took=2, error="eof", reused=True, key="k1", marker="ord-1")
    builder.attempt(LINK, op=builder._ops[0], at=-15, took=2, status=503, key="k1", marker="ord-1", forwarded=False)
    history = builder.build()
    result = POLICY.check(history).of("R1")
    assert result is not None
    assert "was sent 5 times" in result.message


def test_r1_does_not_count_what_a_resumer_sends_after_the_caller_was_answered() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=60)
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=1, took=50, status=503)
    for number in range(6):
        builder.attempt(LINK, op=op, at=5 + number * 1000, status=503, key="k1", marker="ord-1", forwarded=False)
    assert outcome(builder, "R1")[0] == "INCONCLUSIVE"
    assert outcome(builder, "R7")[0] == "INCONCLUSIVE"


def test_r1_a_restart_of_the_caller_begins_a_new_run() -> None:
    builder = retried(times=3)
    builder.node("orders", "killed", at=400)
    builder.node("orders", "started", at=500)
    for number in range(3):
        builder.attempt(
            LINK, op=builder._ops[0], at=600 + 110 * number, status=503, key="k1", marker="ord-1", forwarded=False
        )
    assert outcome(builder, "R1")[0] == "PASS"


@pytest.mark.parametrize(
    ("gap", "jitter", "expected"),
    [(150, "full", "PASS"), (900, "full", "FAIL"), (20, "equal", "FAIL"), (20, "full", "PASS")],
)
def test_r2_gaps_are_held_to_the_schedule(gap: float, jitter: str, expected: str) -> None:
    policy = Retry(LINK, backoff=Exponential(0.2, jitter=jitter))  # type: ignore[arg-type]
    assert outcome(retried(times=2, gap=gap), "R2", policy=policy)[0] == expected


@pytest.mark.parametrize(("closed_by", "expected"), [("caller", "INCONCLUSIVE"), ("callee", "FAIL")])
def test_r2_a_client_that_waits_before_it_closes_is_not_said_to_have_waited_too_little(
    closed_by: str, expected: str
) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=2000)
    builder.attempt(LINK, op=op, at=5, took=700, error="eof", closed_by=closed_by, key="k1")
    builder.attempt(LINK, op=op, at=706, key="k1")
    policy = Retry(LINK, backoff=Exponential(0.2, jitter="equal"))
    assert outcome(builder, "R2", policy=policy)[0] == expected


def test_r2_linear_growth_is_not_exponential() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=10_000)
    for at in (0, 1010, 2020, 3030):
        builder.attempt(LINK, op=op, at=at, status=503, forwarded=False)
    policy = Retry(LINK, backoff=Exponential(1.0))
    assert outcome(builder, "R2", policy=policy)[0] == "FAIL"


def test_r2_measures_from_end_to_start_so_that_a_slow_attempt_is_no_long_gap() -> None:
    assert outcome(retried(times=2, gap=150, took=900), "R2")[0] == "PASS"


def test_r4_retrying_what_must_not_be_retried_is_found() -> None:
    assert outcome(retried(times=2, fail=422), "R4")[0] == "FAIL"


def test_r4_not_retrying_a_422_holds() -> None:
    builder = HistoryBuilder()
    builder.attempt(LINK, op=builder.op(status=422), at=5, status=422)
    assert outcome(builder, "R4")[0] == "PASS"


def test_r4_knows_grpc_codes() -> None:
    for code, expected in ((14, "PASS"), (3, "FAIL")):
        builder = HistoryBuilder()
        op = builder.op()
        builder.attempt("orders -> inventory", "/shop.Inventory/Reserve", op=op, at=5, grpc=code, forwarded=False)
        builder.attempt("orders -> inventory", "/shop.Inventory/Reserve", op=op, at=100, grpc=0)
        assert outcome(builder, "R4", policy=Retry("orders -> inventory"))[0] == expected


def lost_answer(*keys: str) -> HistoryBuilder:
    builder = HistoryBuilder()
    op = builder.op(took=600)
    builder.fault("AnswerLost", LINK)
    for number, key in enumerate(keys):
        lost = number < len(keys) - 1
        builder.attempt(
            LINK,
            op=op,
            at=5 + 110 * number,
            key=key,
            error="reset" if lost else "",
            upstream=201,
            faults=("f1",) if lost else (),
        )
    return builder


@pytest.mark.parametrize(("keys", "expected"), [(("k", "k"), "PASS"), (("", ""), "FAIL"), (("k1", "k2"), "FAIL")])
def test_r5_a_resend_after_an_unknown_effect_needs_one_key(keys: tuple[str, ...], expected: str) -> None:
    assert outcome(lost_answer(*keys), "R5")[0] == expected


def test_r5_a_resend_of_what_was_never_forwarded_is_harmless() -> None:
    assert outcome(retried(key=""), "R5")[0] == "INCONCLUSIVE"


def test_r5_blames_the_client_library_for_an_instant_resend_on_a_new_connection() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    builder.attempt(LINK, op=op, at=5, error="eof", reused=True)
    builder.attempt(LINK, op=op, at=17)
    result = POLICY.check(builder.build()).of("R5")
    assert result is not None
    assert (result.outcome, result.blame) == ("FAIL", "client library")


@pytest.mark.parametrize(("gap", "expected"), [(1100, "PASS"), (100, "FAIL")])
def test_r6_retry_after_is_respected(gap: float, expected: str) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=3000)
    builder.attempt(LINK, op=op, at=0, took=10, status=429, forwarded=False, response_headers={"retry-after": "1"})
    builder.attempt(LINK, op=op, at=10 + gap)
    assert outcome(builder, "R6")[0] == expected
    assert outcome(builder, "R2")[0] == "PASS" if expected == "PASS" else True


def held(*starts: float, took: float = 1000) -> HistoryBuilder:
    builder = HistoryBuilder()
    op = builder.op(took=12_000, status=503)
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=1, took=11_000, status=503)
    builder.fault("Hold", LINK)
    for at in starts:
        builder.attempt(LINK, op=op, at=at, took=took, error="eof", closed_by="caller", key="k1", faults=("f1",))
    return builder


def test_r7_attempts_after_the_deadline_are_found() -> None:
    assert outcome(held(0, 1200, 2500, 3900), "R7")[0] == "FAIL"


def test_r7_a_last_attempt_that_outlives_the_deadline_is_found() -> None:
    assert outcome(held(0, 1200, 2500, took=1150), "R7")[0] == "FAIL"


def test_r7_a_call_that_gives_up_in_time_holds() -> None:
    assert outcome(held(0, 1100, 2200, took=800), "R7")[0] == "PASS"


def test_r7_a_quick_success_proves_nothing_about_the_deadline() -> None:
    assert outcome(retried(), "R7")[0] == "INCONCLUSIVE"


def test_r9_a_body_that_changes_between_attempts_is_found() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    builder.attempt(LINK, op=op, at=5, status=503, marker="m", body="whole", forwarded=False)
    builder.attempt(LINK, op=op, at=100, marker="m", body="")
    assert outcome(builder, "R9")[0] == "FAIL"


@pytest.mark.parametrize("build", [lambda: (5, 200, 50), lambda: (5, 200, 300)])
def test_r10_overlap_and_a_resend_after_success_are_found(build: Callable[[], tuple[float, float, float]]) -> None:
    first, took, second = build()
    builder = HistoryBuilder()
    op = builder.op(took=900)
    builder.attempt(LINK, op=op, at=first, took=took, marker="m", key="k")
    builder.attempt(LINK, op=op, at=second, took=took, marker="m", key="k")
    assert outcome(builder, "R10")[0] == "FAIL"


@pytest.mark.parametrize(("alters", "expected"), [(True, "INCONCLUSIVE"), (False, "FAIL")])
def test_r10_an_answer_that_a_fault_spoilt_is_no_success(alters: bool, expected: str) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=900)
    builder.fault("WrongLength" if alters else "Delay", LINK, at=0, alters=alters)
    builder.attempt(LINK, op=op, at=5, marker="m", key="k", faults=("f1",))
    builder.attempt(LINK, op=op, at=215, marker="m", key="k")
    assert outcome(builder, "R10")[0] == expected


def test_r10_allows_overlap_where_hedging_is_declared() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=900)
    builder.attempt(LINK, op=op, at=0, took=200, marker="m", key="k")
    builder.attempt(LINK, op=op, at=50, took=200, marker="m", key="k")
    assert outcome(builder, "R10", policy=Retry(LINK, hedging=True))[0] == "PASS"


def test_r11_giving_up_at_the_first_failure_is_found() -> None:
    assert outcome(retried(times=1, last=503), "R11")[0] == "FAIL"


def test_r11_an_open_breaker_excuses_giving_up() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=60, status=503, response_headers={"retry-after": "3"})
    builder.attempt(LINK, op=op, at=5, status=503)
    assert outcome(builder, "R11")[0] == "INCONCLUSIVE"


def test_r11_a_deadline_excuses_giving_up() -> None:
    assert outcome(held(0, 1100, 2200, took=750), "R11")[0] == "INCONCLUSIVE"


def test_r11_the_end_of_the_test_excuses_giving_up() -> None:
    assert outcome(retried(times=1, last=503), "R11", ends=100)[0] == "INCONCLUSIVE"


def test_overlap_without_any_identity_is_inconclusive_not_guessed() -> None:
    builder = HistoryBuilder()
    builder.op(at=0, took=500)
    builder.op(at=10, took=500)
    for at in (20, 30, 120, 130):
        builder.attempt(LINK, at=at, status=503)
    verdict, missing = outcome(builder, "R1")
    assert verdict == "INCONCLUSIVE"
    assert "neither marker" in missing


def test_operations_restrict_the_policy() -> None:
    builder = retried(times=6)
    assert outcome(builder, "R1", policy=Retry(LINK, operations=("POST /refunds",)))[0] == "INCONCLUSIVE"
    assert outcome(builder, "R1", policy=Retry(LINK, operations=("POST /pay*",)))[0] == "FAIL"


@pytest.mark.parametrize(
    "build", [lambda: Retry(LINK, max_attempts=0), lambda: Retry(LINK, deadline_s=0), lambda: Exponential(-1)]
)
def test_a_policy_that_is_none_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ChaosError, match=r"must be"):
        build()
