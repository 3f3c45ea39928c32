"""The table decides by rules, counts and seed alone; what is lifted decides nothing any more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.model.fault import When, Whom, WireRule
from pytest_chaos.wire.table import NOTHING, Facts, Table, draw, matches, pattern

LINK = "orders -> payments"
NUMBERS = st.integers(1, 30)
WHENS = st.one_of(
    st.builds(When),
    st.builds(When, first=NUMBERS),
    st.builds(When, every=NUMBERS),
    st.builds(When, nth=st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)),
)
SEGMENT = st.text("abc1-._", min_size=1, max_size=5)


def rule(kind="status", *, name="r", **fields):
    params = {"status": {"code": 503}, "latency": {"ms": 100, "jitter_ms": 50}, "point": {"phase": "after_answer"}}
    return WireRule(id=name, fault=name, link=LINK, kind=kind, params=params.get(kind, {}), **fields)


def installed(*rules, seed=1):
    table = Table(seed)
    table.install("s", "t", rules)
    return table


@given(WHENS, st.integers(1, 60))
def test_exactly_the_requests_that_when_names_are_hit(when, count):
    table = installed(rule(when=when))
    hit = [bool(table.decide(LINK, Facts(operation="GET /")).request) for _ in range(count)]
    assert hit == [when.hits(number) for number in range(1, count + 1)]


@given(st.lists(st.sampled_from(["GET /a", "POST /a", "POST /b"]), max_size=40))
def test_only_matching_requests_count(operations):
    table = installed(rule(operation="POST /a", when=When(first=2)))
    hits = [operation for operation in operations if table.decide(LINK, Facts(operation=operation)).request]
    assert hits == ["POST /a"] * min(2, operations.count("POST /a"))


@given(st.integers(), st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
def test_the_same_seed_and_the_same_ops_give_the_same_delays_in_any_order(seed, ops):
    def delays(order):
        table = installed(rule("latency"), seed=seed)
        found = {}
        for op in order:
            (step,) = table.decide(LINK, Facts(op_key=op)).request
            assert 0.05 <= step.delay_s <= 0.15
            found.setdefault(op, []).append(step.delay_s)
        return found

    assert delays(ops) == delays(ops)
    assert delays(sorted(ops)) == delays(ops)


def test_another_seed_gives_other_delays():
    def delay(seed):
        return installed(rule("latency"), seed=seed).decide(LINK, Facts()).request[0].delay_s

    assert len({delay(seed) for seed in range(20)}) == 20


@given(st.text())
def test_a_draw_is_below_one_and_repeats(about):
    assert 0 <= draw(about) < 1
    assert draw(about) == draw(about)


@given(st.lists(SEGMENT, max_size=4), st.lists(SEGMENT, max_size=4))
def test_one_star_stays_within_its_segment_and_two_do_not(left, right):
    path = "/".join(left)
    inside = pattern(f"GET /{path}/*/x")
    assert inside.fullmatch(f"GET /{path}/one/x")
    assert not inside.fullmatch(f"GET /{path}/one/two/x") or "two" in path
    assert pattern(f"GET /{path}/**").fullmatch(f"GET /{path}/" + "/".join(right))
    assert not pattern("GET /a.c").fullmatch("GET /abc")


def test_headers_must_all_be_equal_whatever_the_case_of_their_names():
    wanted = rule(headers={"X-Tenant": "a", "x-b": "1"})
    assert matches(wanted, Facts(headers={"x-tenant": "a", "x-b": "1", "other": "2"}))
    assert not matches(wanted, Facts(headers={"x-tenant": "A", "x-b": "1"}))
    assert not matches(wanted, Facts(headers={"x-tenant": "a"}))


def test_a_kind_matches_only_the_protocols_that_it_can_act_on():
    assert not matches(rule("grpc_status"), Facts(protocol="http/1.1"))
    assert matches(rule("grpc_status"), Facts(protocol="grpc"))
    assert not matches(rule("status"), Facts(protocol="tcp"))
    assert matches(rule("reset"), Facts(protocol="tcp"))


def test_calls_of_brokers_take_what_can_be_done_to_a_frame():
    for protocol in ("amqp", "kafka", "resp"):
        assert not matches(rule("status"), Facts(protocol=protocol))
        assert matches(rule("answer_lost"), Facts(protocol=protocol))
        assert not matches(rule("answer_lost"), Facts(protocol=protocol, answered=False))
        assert matches(rule("reset"), Facts(protocol=protocol, answered=False))
        assert not matches(rule("reset"), Facts(protocol=protocol, named=True))
        assert matches(rule("reset", operation="**"), Facts(protocol=protocol, named=True))


def test_a_length_is_adjusted_only_where_a_head_says_one():
    cut = WireRule(id="r", fault="r", link=LINK, kind="truncate", params={"bytes": 5, "length": "adjusted"})
    kept = WireRule(id="r", fault="r", link=LINK, kind="truncate", params={"bytes": 5})
    for protocol in ("http/1.1", "h2", "grpc"):
        assert matches(cut, Facts(protocol=protocol))
    for protocol in ("tcp", "amqp", "kafka", "resp"):
        assert not matches(cut, Facts(protocol=protocol))
        assert matches(kept, Facts(protocol=protocol))


def test_an_operation_may_name_alternatives():
    either = pattern("XADD * | PUBLISH news")
    assert either.fullmatch("XADD orders")
    assert either.fullmatch("PUBLISH news")
    assert not either.fullmatch("PUBLISH weather")
    assert not either.fullmatch("PUBLISH news, XADD")
    assert pattern("GET /a|b").fullmatch("GET /a|b")


def test_steps_stand_in_their_phase_and_in_the_order_of_installation():
    table = installed(rule("point", name="a"), rule("latency", name="b"), rule("answer_lost", name="c"), rule(name="d"))
    plan = table.decide(LINK, Facts(operation="GET /"))
    assert [step.kind for step in plan.request] == ["latency", "status"]
    assert [step.kind for step in plan.response] == ["point", "answer_lost"]


def test_installing_a_schedule_again_replaces_it_and_counts_from_one():
    table = installed(rule(name="old", when=When(first=1)))
    assert table.decide(LINK, Facts()).request
    (lifted,) = table.install("s", "t", [rule(name="new", when=When(first=1))])
    assert lifted.rule.id == "old"
    assert lifted.lifted
    assert [step.active.rule.id for step in table.decide(LINK, Facts()).request] == ["new"]
    assert not table.decide(LINK, Facts()).request


def test_uninstalling_takes_exactly_what_is_named():
    table = Table(1)
    for schedule, owner in (("s1", "a"), ("s2", "a"), ("s3", "b")):
        table.install(schedule, owner, [rule(name=schedule)])
    assert [active.schedule for active in table.uninstall(schedule="s1")] == ["s1"]
    assert [active.schedule for active in table.uninstall(owner="a")] == ["s2"]
    assert table.uninstall(owner="nobody") == []
    assert [active.schedule for active in table.uninstall()] == ["s3"]
    assert table.decide(LINK, Facts()) is NOTHING
    assert not table.watched(LINK)


def test_rules_of_one_link_are_not_for_another():
    table = installed(rule())
    assert table.decide("a -> b", Facts()) is NOTHING
    assert not table.watched("a -> b")


def test_connections_are_counted_apart_from_requests():
    table = installed(rule("accept_close", when=When(nth=(2,))), rule(name="x"))
    table.decide(LINK, Facts())
    assert [len(table.decide_connection(LINK)) for _ in range(3)] == [0, 1, 0]
    assert table.refuses(LINK) == []


@given(st.integers(), st.floats(0.05, 0.95))
def test_chance_hits_about_as_often_as_it_says_and_always_the_same(seed, probability):
    def hits():
        table = installed(rule(when=When(probability=probability)), seed=seed)
        return [bool(table.decide(LINK, Facts(op_key=str(number))).request) for number in range(400)]

    assert hits() == hits()
    assert abs(sum(hits()) / 400 - probability) < 0.15


def test_counting_per_operation_is_by_operation():
    table = installed(rule(when=When(first=1, per="op")))
    hits = [bool(table.decide(LINK, Facts(op_key=op)).request) for op in "aabba"]
    assert hits == [True, False, True, False, False]


def test_a_window_neither_hits_nor_counts_outside():
    now = [0]
    table = Table(1, clock=lambda: now[0])
    now[0] = 5_000_000_000
    table.install("s", "t", [rule(when=When(first=1, after_s=1, until_s=2))])
    hits = []
    for elapsed_s in (0.5, 1.5, 1.6, 2.5):
        now[0] = 5_000_000_000 + int(elapsed_s * 1e9)
        hits.append(bool(table.decide(LINK, Facts()).request))
    assert hits == [False, True, False, False]
    assert table.active()[0].seen == 2


def test_every_decision_is_told_also_the_one_that_misses():
    log = []
    table = Table(3, log=log.append)
    table.install("s", "t", [rule("latency", when=When(every=2, probability=0.9999)), rule("accept_close", name="c")])
    for op in ("a", "b", "a"):
        table.decide(LINK, Facts(op_key=op))
    table.decide(LINK, Facts(protocol="tcp", op_key="x"))
    table.decide_connection(LINK)
    told = [(one.active.rule.id, one.op_key, one.ordinal, one.hit) for one in log]
    of_r = [("r", "a", 1, False), ("r", "b", 1, True), ("r", "a", 2, False), ("r", "x", 1, True)]
    assert told == [*of_r, ("c", "", 1, True)]
    assert [one.delay_s is not None for one in log] == [False, True, False, True, False]
    assert all(0 <= one.drawn < 1 for one in log[:4])
    assert log[4].drawn is None


def test_a_rule_forgets_the_operations_that_it_has_not_heard_of_for_long(monkeypatch):
    monkeypatch.setattr("pytest_chaos.wire.table._OPS_KEPT", 3)
    table = installed(rule())
    for op in ("a", "b", "c", "a", "d", "e"):
        table.decide(LINK, Facts(op_key=op))
    assert table.active()[0].by_op == {"a": 2, "d": 1, "e": 1}


def test_a_rule_is_for_those_that_it_means():
    table = installed(rule(whom=Whom(correlation_prefix="t1-"), when=When(first=1)))
    asked = ["t2-1", "t1-1", "t1-2", ""]
    hits = [bool(table.decide(LINK, Facts(headers={"x-correlation-id": one})).request) for one in asked]
    assert hits == [False, True, False, False]
