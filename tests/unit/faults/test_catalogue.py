"""What every fault promises: it compiles, ids derive from the fault's, refusals name field, value, range."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from pytest_chaos.errors import ChaosError, FaultError
from pytest_chaos.faults import catalogue
from pytest_chaos.injectors.wire import byte_rule
from pytest_chaos.model.fault import ByteFault, Fault, NodeAction, When, Whom, WireRule
from pytest_chaos.testing.strategies import LINKS, NODES, faults
from pytest_chaos.wire import kinds

LINK = "orders -> payments"


def make(name: str, *args: Any, **kwargs: Any) -> Fault:
    kind: Any = catalogue.get(name)
    fault: Fault = kind(*args, **kwargs)
    return fault


@pytest.mark.parametrize("name", catalogue.names())
@settings(max_examples=20)
@given(data=st.data())
def test_actions_carry_the_fault_id_and_have_ids_of_their_own(name: str, data: st.DataObject) -> None:
    fault = data.draw(faults(name))
    actions = fault.actions("f7")
    assert actions
    assert {action.fault for action in actions} == {"f7"}
    assert len({action.id for action in actions}) == len(actions)
    assert all(action.id.startswith("f7.") for action in actions)
    named = re.split(r", | \| ", fault.target)
    assert set(named) <= {*LINKS, *NODES, "rest", "all nodes"}
    assert fault.actions("f7") == actions


@pytest.mark.parametrize("name", catalogue.names())
@settings(max_examples=10)
@given(data=st.data())
def test_a_fault_is_a_value_and_a_target_that_is_none_is_refused_by_name(name: str, data: st.DataObject) -> None:
    fault: Any = data.draw(faults(name))
    assert dataclasses.is_dataclass(fault)
    given_ = {field.name: getattr(fault, field.name) for field in dataclasses.fields(fault)}
    assert type(fault)(**given_) == fault
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(fault, dataclasses.fields(fault)[0].name, "x")
    for field, bad in (("link", "orders->payments"), ("node", "a -> b"), ("broker", "a -> b")):
        if field in given_:
            with pytest.raises(FaultError, match=f"{name}.*{field}="):
                type(fault)(**{**given_, field: bad})


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "says"),
    [
        ("Status", (LINK, 99), {}, "code=99.*200 to 599"),
        ("Status", (LINK, 503), {"nth": 0}, "nth=0.*1 to"),
        ("Status", (LINK, 503), {"nth": 1, "first": 2}, "nth and first"),
        ("GrpcStatus", (LINK, "BUSY"), {}, "code='BUSY'.*UNAVAILABLE"),
        ("GrpcStatus", (LINK, 0), {}, "code=0"),
        ("FailFirst", (LINK, 0), {}, "n=0"),
        ("FailFirst", (LINK, 1), {"status": 503, "grpc": 14}, "give one"),
        ("FailFirst", (LINK, 1), {"nth": 3}, "already says"),
        ("FailKth", (LINK, 0), {}, "nth=0"),
        ("AnswerLost", (LINK,), {"how": "burn"}, "how='burn'"),
        ("AnswerLost", (LINK,), {"probability": 0}, "AnswerLost: probability=0: must be above 0"),
        ("AnswerLost", (LINK,), {"probability": 1.5}, "probability=1.5.*0 to 1"),
        ("AnswerLost", (LINK,), {"after_s": -1}, "after_s=-1.*0 to 86400"),
        ("AnswerLost", (LINK,), {"after_s": 2, "until_s": 2}, "until_s=2.*after_s=2"),
        ("AnswerLost", (LINK,), {"per": "test"}, "per='test'.*'op'"),
        ("AnswerLost", (LINK,), {"whom": "me"}, "whom='me'.*Whom"),
        ("AnswerLost", (LINK,), {"operation": 5}, "operation=5: must be a string"),
        ("AnswerLost", (LINK,), {"headers": {"a": 1}}, "headers=.*strings"),
        ("Status", (LINK, 503), {"forward": "yes"}, "forward='yes'.*True or False"),
        ("Status", (LINK, 503), {"retry_after_s": -1}, "retry_after_s=-1.*0 to 86400 s"),
        ("Status", (LINK, 503.5), {}, "code=503.5.*whole number"),
        ("GrpcStatus", (LINK, 14), {"pushback_ms": -2}, "pushback_ms=-2.*-1 to"),
        ("FailFirst", (LINK, 1), {"pushback_ms": 5}, "pushback_ms=5.*grpc"),
        ("AbortStream", (LINK, -1), {}, "messages=-1.*0 to"),
        ("AbortStream", (LINK, 1), {"code": "OK"}, "code='OK'"),
        ("WrongLength", (LINK,), {"by": 0}, "by=0"),
        ("Truncate", (LINK, 5), {"length": "right"}, "length='right'.*'adjusted'"),
        ("DropHeader", (LINK, "Content-Length"), {}, "name='Content-Length'.*WrongLength"),
        ("DropHeader", (LINK, "a b"), {}, "name='a b'"),
        ("RewriteHeader", (LINK, "x"), {"value": "a\r\nb: c"}, "value=.*one line"),
        ("ForeignBody", (LINK,), {"content_type": "\n"}, "content_type="),
        ("DeliverTwice", (LINK,), {"ms": -1}, "ms=-1.*0 to"),
        ("DeliverLate", (LINK,), {"how": "never"}, "how='never'"),
        ("Stall", (LINK,), {"for_s": 0}, "for_s=0"),
        ("Hold", (LINK,), {"for_s": 0}, "for_s=0"),
        ("ConfirmLost", (LINK,), {"how": "burn"}, "how='burn'"),
        ("HoldDelivery", (LINK,), {"for_s": 0}, "for_s=0"),
        ("DelayFetch", (LINK, 0), {}, "ms=0"),
        ("DelayFetch", (LINK, 5), {"jitter_ms": 6}, "jitter_ms=6"),
        ("DropConnectionAt", (LINK, ""), {}, "operation=''.*must name a call"),
        ("DropConnectionAt", (LINK, "ack **"), {"at": "noon"}, "at='noon'"),
        ("Delay", (LINK, 5), {"jitter_ms": 6}, "jitter_ms=6"),
        ("Latency", (LINK, -1), {}, "ms=-1"),
        ("Latency", (LINK, 1.5), {}, "whole number"),
        ("Latency", (LINK, 5), {"stream": "sideways"}, "stream='sideways'"),
        ("Latency", (LINK, 5), {"distribution": "pareto"}, "distribution='pareto'"),
        ("Latency", (LINK, "p50 20"), {}, "ms='p50 20'.*p99 2 s"),
        ("Latency", (LINK, "p50 20 ms, p99 2 ms"), {}, "percentiles that rise"),
        ("Latency", (LINK, "p0 20 ms"), {}, "percentiles that rise"),
        ("Latency", (LINK, "p50 20 ms, p50 30 ms"), {}, "percentiles that rise"),
        ("Latency", (LINK, "p99 700 s"), {}, "up to 600 s"),
        ("Latency", (LINK, "p99 1 s"), {"jitter_ms": 5}, "jitter_ms=5"),
        ("Blackhole", (LINK,), {"stream": "sideways"}, "stream='sideways'.*'both'"),
        ("CloseAfter", (LINK,), {}, "give one of ms, bytes and requests"),
        ("CloseAfter", (LINK,), {"ms": 5, "bytes": 5}, "ms, bytes: give one"),
        ("CloseAfter", (LINK,), {"requests": 0}, "requests=0.*1 to 1000000"),
        ("CloseAfter", (LINK,), {"bytes": 1.5}, "bytes=1.5.*whole number"),
        ("HalfOpen", (LINK,), {"gone": "me"}, "gone='me'.*'caller'"),
        ("HalfOpen", (LINK,), {"then": "eof"}, "then='eof'"),
        ("ResetConnections", (LINK,), {"which": "old"}, "which='old'.*'both'"),
        ("SlowConnect", (LINK, 5), {"at": "dns"}, "at='dns'.*'handshake'"),
        ("Corrupt", (LINK,), {}, "give one"),
        ("Corrupt", (LINK,), {"at": 0}, "at=0"),
        ("Bandwidth", (LINK, 0), {}, "Blackhole"),
        ("Slicer", (LINK, 0), {}, "average=0"),
        ("Slicer", (LINK, 5), {"variation": 5}, "variation=5"),
        ("ResetPeer", (LINK,), {"after_ms": 8000}, "after_ms=8000.*4000"),
        ("Kill", ("orders",), {"restart_after_s": -1}, "restart_after_s=-1"),
        ("ClockStep", ("orders", 0), {}, "by_s=0.*no step"),
        ("ClockStep", ("orders", 1e9), {}, "by_s=1000000000.0.*-315360000 to 315360000 s"),
        ("SlowStart", ("orders", 0), {}, "by_s=0: .*0.001 to 120 s"),
        ("SlowStart", ("orders", 121), {}, "by_s=121"),
        ("CrashLoop", ("orders",), {"times": 0}, "times=0.*1 to 100"),
        ("CrashLoop", ("orders",), {"after_s": -1}, "after_s=-1.*0 to 600 s"),
        ("CrashLoop", ("orders",), {"restart_after_s": 601}, "restart_after_s=601"),
        ("Partition", (), {}, "groups=.*2 or more groups"),
        ("Partition", (["orders"],), {}, "groups=.*2 or more groups"),
        ("Partition", (["orders"], []), {}, "at least one node"),
        ("Partition", ("orders", ["bus"]), {}, "groups='orders'.*list of nodes"),
        ("Partition", (["orders"], ["bus", "orders"]), {}, "orders: a node can be in one group only"),
        ("Partition", (["orders -> bus"], ["bus"]), {}, "node='orders -> bus'"),
        ("Partition", (["a"], ["b"]), {"how": "burn"}, "how='burn'.*'drop'"),
        ("Partition", (["a", "b", "c"],), {"shape": "ring"}, "4 or more nodes"),
        ("Partition", (["a", "b", "c", "d"],), {"shape": "ring", "one_way": True}, "one_way"),
        ("Partition", (["a"], ["b"]), {"shape": "rest"}, "rest takes one group"),
        ("Partition", (), {"shape": "rest"}, "1 or more nodes"),
        ("KillAt", ("orders", LINK), {"phase": "later"}, "phase='later'"),
        ("KillAt", ("orders", "payments"), {}, "link='payments'"),
    ],
)
def test_a_value_out_of_range_is_refused_with_field_value_and_range(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], says: str
) -> None:
    with pytest.raises(FaultError, match=says):
        make(name, *args, **kwargs)


def test_percentiles_and_both_directions_are_compiled() -> None:
    (curve,) = make("Latency", LINK, "p50 20 ms, p99.9 2 s").actions("f1")
    assert isinstance(curve, ByteFault)
    assert curve.attributes == {"distribution": "percentiles", "percentiles": {"50": 20, "99.9": 2000}}
    both = make("Blackhole", LINK, stream="both").actions("f1")
    assert [one.stream for one in both if isinstance(one, ByteFault)] == ["upstream", "downstream"]


def test_percentiles_are_drawn_as_well_as_numbers() -> None:
    drawn = find(faults("Latency"), lambda fault: isinstance(getattr(fault, "ms", None), str))
    assert "p50" in str(drawn)


@pytest.mark.parametrize("name", catalogue.names())
@settings(max_examples=20)
@given(data=st.data())
def test_what_a_fault_compiles_to_is_what_wire_carries_out(name: str, data: st.DataObject) -> None:
    for action in data.draw(faults(name)).actions("f1"):
        if isinstance(action, ByteFault):
            kinds.check(byte_rule(action), links=LINKS)
        elif isinstance(action, WireRule):
            kinds.check(action, links=LINKS)


def test_fail_first_and_fail_kth_say_which_requests_are_hit() -> None:
    (first,) = make("FailFirst", LINK, 3, grpc="unavailable").actions("f1")
    (kth,) = make("FailKth", LINK, (2, 4), status=500).actions("f1")
    assert isinstance(first, WireRule)
    assert isinstance(kth, WireRule)
    assert (first.kind, first.params["code"], first.when) == ("grpc_status", 14, When(first=3))
    assert (kth.kind, kth.params["code"], kth.when) == ("status", 500, When(nth=(2, 4)))


def test_kill_at_ties_its_point_to_its_action() -> None:
    rule, action = make("KillAt", "orders", LINK, operation="POST /payments", restart_after_s=1).actions("f1")
    assert isinstance(rule, WireRule)
    assert isinstance(action, NodeAction)
    assert rule.kind == "point"
    assert rule.params == {"phase": "after_answer", "node_action": action.id}
    assert action.at_point == rule.id
    assert rule.when == When(nth=(1,))


def test_header_names_are_matched_in_lower_case() -> None:
    (rule,) = make("Status", LINK, 503, headers={"X-Tenant": "A"}).actions("f1")
    assert isinstance(rule, WireRule)
    assert rule.headers == {"x-tenant": "A"}


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ChaosError, match="AnswerLost"):
        catalogue.get("AnswersLost")


def test_aim_and_chance_reach_the_rule() -> None:
    whom = Whom(correlation_prefix="chaos-t1-")
    kwargs = {"first": 3, "per": "op", "probability": 0.5, "after_s": 1, "until_s": 2, "whom": whom}
    (rule,) = make("AnswerLost", LINK, **kwargs).actions("f1")
    assert isinstance(rule, WireRule)
    assert rule.when == When(first=3, per="op", probability=0.5, after_s=1, until_s=2)
    assert rule.whom == whom
    (failing,) = make("FailFirst", LINK, 2, per="op", probability=0.5, whom=whom).actions("f1")
    assert isinstance(failing, WireRule)
    assert failing.when == When(first=2, per="op", probability=0.5)
    assert failing.whom == whom


def test_a_status_says_when_to_come_back() -> None:
    (status,) = make("Status", LINK, 503, retry_after_s=2, answer_headers={"retry-after": "9", "x": "y"}).actions("f")
    (grpc,) = make("GrpcStatus", LINK, 14, pushback_ms=250).actions("f")
    assert isinstance(status, WireRule)
    assert isinstance(grpc, WireRule)
    assert status.params["headers"] == {"x": "y", "Retry-After": "2"}
    assert grpc.params["pushback_ms"] == 250
