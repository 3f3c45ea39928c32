"""What every fault promises: it compiles, ids derive from the fault's, refusals name field, value, range."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pytest_chaos.errors import ChaosError, FaultError
from pytest_chaos.faults import catalogue
from pytest_chaos.model.fault import Fault, NodeAction, When, WireRule

LINK = "orders -> payments"

EXAMPLES: dict[str, tuple[Any, ...]] = {
    "AcceptClose": (LINK,),
    "AnswerLost": (LINK,),
    "Bandwidth": (LINK, 10),
    "Blackhole": (LINK,),
    "ConfirmLost": (LINK,),
    "Delay": (LINK, 5),
    "DelayFetch": (LINK, 5),
    "Drip": (LINK,),
    "DropConnectionAt": (LINK, "publish **"),
    "FailFirst": (LINK, 2),
    "FailKth": (LINK, (2, 4)),
    "GrpcStatus": (LINK, "UNAVAILABLE"),
    "Hold": (LINK,),
    "HoldDelivery": (LINK,),
    "Kill": ("orders",),
    "KillAt": ("orders", LINK),
    "Latency": (LINK, 5),
    "LimitData": (LINK, 5),
    "Pause": ("orders",),
    "Refuse": (LINK,),
    "Reset": (LINK,),
    "ResetPeer": (LINK,),
    "Restart": ("orders",),
    "Slicer": (LINK, 5),
    "SlowClose": (LINK, 5),
    "SlowConnect": (LINK, 5),
    "Status": (LINK, 503),
    "Stop": ("orders",),
    "Truncate": (LINK, 5),
}


def make(name: str, *args: Any, **kwargs: Any) -> Fault:
    kind: Any = catalogue.get(name)
    fault: Fault = kind(*args, **kwargs)
    return fault


def test_every_fault_of_the_catalogue_has_an_example_here() -> None:
    assert set(catalogue.names()) == set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_actions_carry_the_fault_id_and_have_ids_of_their_own(name: str) -> None:
    fault = make(name, *EXAMPLES[name])
    actions = fault.actions("f7")
    assert actions
    assert {action.fault for action in actions} == {"f7"}
    assert len({action.id for action in actions}) == len(actions)
    assert all(action.id.startswith("f7.") for action in actions)
    assert fault.target == EXAMPLES[name][0]
    assert fault.actions("f7") == actions


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_target_that_is_no_link_or_node_is_refused_by_name(name: str) -> None:
    bad = "orders->payments" if " -> " in EXAMPLES[name][0] else "a -> b"
    with pytest.raises(FaultError, match=name):
        make(name, bad, *EXAMPLES[name][1:])


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
        ("Bandwidth", (LINK, 0), {}, "Blackhole"),
        ("Slicer", (LINK, 0), {}, "average=0"),
        ("Slicer", (LINK, 5), {"variation": 5}, "variation=5"),
        ("ResetPeer", (LINK,), {"after_ms": 8000}, "after_ms=8000.*4000"),
        ("Kill", ("orders",), {"restart_after_s": -1}, "restart_after_s=-1"),
        ("KillAt", ("orders", LINK), {"phase": "later"}, "phase='later'"),
        ("KillAt", ("orders", "payments"), {}, "link='payments'"),
    ],
)
def test_a_value_out_of_range_is_refused_with_field_value_and_range(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], says: str
) -> None:
    with pytest.raises(FaultError, match=says):
        make(name, *args, **kwargs)


def test_faults_are_values() -> None:
    for name, args in EXAMPLES.items():
        fault = make(name, *args)
        assert dataclasses.is_dataclass(fault)
        assert fault == make(name, *args)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fault, dataclasses.fields(fault)[0].name, "x")


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
