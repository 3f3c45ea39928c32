"""A shared test's faults are aimed at its own requests; what cannot be aimed is refused with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_chaos import Bulkhead, CircuitBreaker, FireAndForget, Kafka, Retry, Service, Stub, StubOperation, Topology
from pytest_chaos.engine.aim import Aim
from pytest_chaos.errors import FaultError
from pytest_chaos.faults import catalogue
from pytest_chaos.model.fault import Whom
from pytest_chaos.testing.strategies import installed

TEST = "0123456789ab"


def _service(name: str, policies: Any = (), uses: Any = (), **calls: str) -> Any:
    return Service(name, command=["x"], ports={"http": "P"}, calls=calls, policies=dict(policies), uses=dict(uses))


def aim(**policies: Any) -> Aim:
    topology = Topology(
        _service("orders", policies, {"K": "events"}, PAYMENTS="http://{payments.http}"),
        _service("payments", BANK="http://{bank.http}"),
        Stub("bank", {"POST /charges": StubOperation()}),
        Kafka("events"),
    )
    return Aim(topology, TEST)


def fault(name: str, *args: Any, **kwargs: Any) -> Any:
    return installed(catalogue.get(name)(*args, **kwargs), "f1")  # type: ignore[call-arg]


def test_a_fault_for_everybody_becomes_the_tests_own_and_says_so() -> None:
    got = aim().own(fault("Status", "orders -> payments", 503))
    assert [rule.whom for rule in got.rules] == [Whom(test=TEST)]
    assert got.params["whom"] == f"test {TEST}"
    narrower = aim().own(fault("Delay", "payments -> bank", ms=5, whom=Whom(correlation_id="o-1")))
    assert [rule.whom for rule in narrower.rules] == [Whom(correlation_id="o-1", test=TEST)]


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "says"),
    [
        ("Refuse", ("orders -> payments",), {}, "acts on connections"),
        ("ResetConnections", ("orders -> payments",), {}, "acts on connections"),
        ("SlowConnect", ("orders -> payments",), {"ms": 5}, "acts on connections"),
        ("CloseAfter", ("orders -> payments",), {"requests": 5}, "acts on connections"),
        ("Latency", ("orders -> payments",), {"ms": 5}, "acts on the bytes"),
        ("Kill", ("payments",), {}, "acts on a node"),
        ("KillAt", ("payments", "orders -> payments"), {}, "acts on a node"),
        ("Status", ("orders -> payments", 503), {"whom": Whom(test="f" * 12)}, "for another test's requests"),
        ("Hold", ("orders -> events",), {}, "connections to events carry several tests' requests"),
    ],
)
def test_what_would_touch_others_is_refused(name: str, args: Any, kwargs: Any, says: str) -> None:
    with pytest.raises(FaultError, match=rf"^{name} on .*{says}.*isolation='exclusive'"):
        aim().own(fault(name, *args, **kwargs))


@pytest.mark.parametrize("policy", [CircuitBreaker(), Bulkhead(limit=3), FireAndForget(limit=2)])
@pytest.mark.parametrize("link", ["orders -> payments", "payments -> bank"])
def test_a_link_that_has_or_leads_from_state_of_all_tests_is_refused(policy: Any, link: str) -> None:
    with pytest.raises(FaultError, match=f"{type(policy).__name__} is declared"):
        aim(payments=[policy]).own(fault("Status", link, 503))
    aim(payments=[policy]).own(fault("Status", "test -> orders", 503))


@pytest.mark.parametrize("policy", [Retry(), FireAndForget(bound_s=1)])
def test_a_policy_of_single_calls_is_no_shared_state(policy: Any) -> None:
    aim(payments=[policy]).own(fault("Status", "payments -> bank", 503))
