"""The driver's publishes as Ops: what is recorded, and what cannot be asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_chaos.brokers import base
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.engine.driver import OpLog
from pytest_chaos.engine.identity import Identities
from pytest_chaos.engine.publishing import Publishing
from pytest_chaos.errors import ChaosError, PublishError, StackError
from pytest_chaos.model.topology import Service, Topology


class Publisher:
    """Keeps what it is asked for; fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[object, ...]] = []
        self.wrong: BaseException | None = None
        self.closed = 0

    def publish(self, channel, body, *, key, headers, timeout_s):
        self.sent.append((channel, body, key, headers, timeout_s))
        if self.wrong is not None:
            raise self.wrong
        return "7-0"

    def close(self):
        self.closed += 1


@pytest.fixture
def made(monkeypatch):
    publisher, log = Publisher(), OpLog(Identities(1, "t"))
    recipe = SimpleNamespace(address=lambda where: f"redis://{where}", publisher=lambda _name, _address: publisher)
    monkeypatch.setattr(base, "recipe_for", lambda _kind: recipe)
    topology = Topology(Service("a", command=("true",), ports={"http": "PORT"}), Redis("keys"), Redis("gone"))
    session = SimpleNamespace(
        topology=topology,
        stack=SimpleNamespace(direct={"keys": "127.0.0.1:1"}),
        address=lambda _link: "127.0.0.1:2",
        missing_parts=lambda: {"redis": "install it"},
    )
    return Publishing(session, log), publisher, log


def test_a_publish_is_an_op_whose_identity_goes_with_the_message(made):
    publishing, publisher, log = made
    assert publishing.publish("keys", "s", b"x", key="k", headers={"Message-Id": "m"}, timeout_s=3) == "7-0"
    (op,) = log.all()
    assert (op.link, op.operation, op.outcome, op.response_body) == ("test -> keys", "publish s k", "ok", "7-0")
    ((_, _, _, headers, _),) = publisher.sent
    assert (headers["x-correlation-id"], headers["message-id"]) == (op.correlation_id, "m")
    publishing.close()
    publishing.close()
    assert publisher.closed == 1


@pytest.mark.parametrize(("certain", "outcome"), [(True, "fail"), (False, "info")])
def test_what_was_not_confirmed_failed_only_when_that_is_certain(made, certain, outcome):
    publishing, publisher, log = made
    publisher.wrong = PublishError("no", certain=certain)
    with pytest.raises(PublishError):
        publishing.publish("keys", "s", b"x", key="", headers={}, timeout_s=3)
    assert [(op.outcome, op.error) for op in log.all()] == [(outcome, "no")]


def test_what_cannot_be_asked_names_the_value_and_records_nothing(made):
    publishing, _, log = made
    with pytest.raises(ChaosError, match=r"publish\('a'\): is no broker; the topology has: keys, gone"):
        publishing.publish("a", "s", b"x", key="", headers={}, timeout_s=3)
    with pytest.raises(StackError, match="gone is not running here: install it"):
        publishing.publish("gone", "s", b"x", key="", headers={}, timeout_s=3)
    for seconds in (0, -1, 601, float("nan")):
        with pytest.raises(ChaosError, match="must be above 0 and at most 600 s"):
            publishing.publish("keys", "s", b"x", key="", headers={}, timeout_s=seconds)
    assert log.all() == ()
