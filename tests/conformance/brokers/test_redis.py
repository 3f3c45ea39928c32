"""A real Redis through its recipe and its observer."""

from __future__ import annotations

import importlib

import pytest

from pytest_chaos.brokers.redis import Redis
from pytest_chaos.errors import ChaosError, PublishError

redis = pytest.importorskip("redis")
BROKER = Redis("keys", streams=("user.activity",), persistent=True)
LINK, OTHER = "orders -> it", "analytics -> it"
IDENTITY = {"x-correlation-id": "c-9"}


@pytest.fixture
def client(broker):
    one = redis.Redis.from_url(broker.address(LINK))
    one.flushall()
    yield one
    one.close()


def test_it_says_its_version_and_listens_where_the_links_lead(broker, client):
    major, minor, *_ = broker.recipe.version(broker.plan.direct, {}).split(".")
    assert (int(major), int(minor)) >= (6, 2)
    assert client.ping()
    assert broker.relays[LINK].connections == 1
    assert broker.relays[OTHER].connections == 0


def test_an_entry_goes_from_pending_over_unacked_to_settled(client, observer):
    client.xadd("user.activity", {"id": "old"})
    client.xgroup_create("user.activity", "analytics", id="$")
    observer.begin()
    assert observer.messages() == []
    entry = client.xadd("user.activity", {"id": "e1", "correlation_id": "c-1", "traceparent": "00-t-s-01", "data": "x"})
    (published, waiting) = observer.messages()
    assert (published.event, published.marker, published.correlation_id) == ("published", "e1", "c-1")
    assert (published.channel, published.broker, published.traceparent) == ("user.activity", "keys", "00-t-s-01")
    assert (waiting.event, waiting.group, waiting.marker) == ("pending", "analytics", "e1")
    assert observer.backlog() == {"user.activity group analytics": 1}
    client.xreadgroup("analytics", "one", {"user.activity": ">"})
    assert [message.event for message in observer.messages()] == ["published", "unacked"]
    assert observer.backlog() == {"user.activity group analytics": 1}
    client.xack("user.activity", "analytics", entry)
    assert [message.event for message in observer.messages()] == ["published", "settled"]
    assert observer.backlog() == {"user.activity group analytics": 0}


def test_the_time_of_an_entry_is_when_the_server_took_it(client, observer):
    import time

    observer.begin()
    before = time.monotonic_ns()
    client.xadd("user.activity", {"data": '{"id": 7}'})
    after = time.monotonic_ns()
    (message,) = observer.messages()
    assert before - 2_000_000 <= message.at_ns <= after + 2_000_000
    assert message.marker == "7"


def test_a_killed_server_comes_back_with_its_data_and_is_not_called_drained_meanwhile(broker, client, observer):
    client.xadd("user.activity", {"id": "kept"})
    observer.begin()
    client.config_set("appendfsync", "always")
    client.xadd("user.activity", {"id": "kept too"})
    broker.kill()
    assert observer.backlog() == {"user.activity": -1}
    with pytest.raises(Exception, match="cannot be read"):
        observer.messages()
    broker.start()
    assert [message.marker for message in observer.messages()] == ["kept too"]


def test_without_the_client_library_the_extra_is_named(monkeypatch, broker):
    monkeypatch.setitem(importlib.import_module("sys").modules, "redis", None)
    with pytest.raises(Exception, match=r"pytest-chaos\[redis\]"):
        broker.observer()


def test_the_driver_publishes_an_entry_with_its_identity(broker, client, observer):
    observer.begin()
    publisher = broker.recipe.publisher("keys", broker.address(OTHER))
    entry = publisher.publish("user.activity", {"id": "p1", "n": 3}, key="", headers=IDENTITY, timeout_s=5)
    publisher.publish("user.activity", "plain", key="", headers={}, timeout_s=5)
    assert broker.relays[OTHER].connections == 2
    first, second = client.xrange("user.activity")
    assert first[0].decode() == entry
    assert first[1] == {b"id": b"p1", b"n": b"3", b"x-correlation-id": b"c-9"}
    assert second[1] == {b"data": b"plain"}
    assert [message.correlation_id for message in observer.messages()] == ["c-9", ""]
    with pytest.raises(ChaosError, match="key='k': an entry of a stream has none"):
        publisher.publish("user.activity", b"x", key="k", headers={}, timeout_s=5)
    with pytest.raises(ChaosError, match="cannot be written as JSON"):
        publisher.publish("user.activity", {"id": object()}, key="", headers={}, timeout_s=5)
    client.set("text", "x")
    with pytest.raises(PublishError, match="WRONGTYPE") as refused:
        publisher.publish("text", b"x", key="", headers={}, timeout_s=5)
    assert refused.value.certain


def test_a_publish_to_a_redis_that_is_away_certainly_failed(broker):
    publisher = broker.recipe.publisher("keys", "redis://127.0.0.1:1/0")
    with pytest.raises(PublishError, match="keys: s: ") as away:
        publisher.publish("s", b"x", key="", headers={}, timeout_s=5)
    assert away.value.certain
    publisher.close()
