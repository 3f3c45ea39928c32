"""A real Redis that is out of memory, is given poison, and delivers a group's entries again."""

from __future__ import annotations

import pytest

from pytest_chaos import BrokerFull, ChaosError, PoisonMessage, Redeliver, Unroutable
from pytest_chaos.errors import FaultError

redis = pytest.importorskip("redis")


@pytest.fixture
def client(up):
    with redis.Redis.from_url(up.address("keys")) as one:
        yield one


def take(client, stream: str, group: str = "g") -> list[str]:
    found = client.xreadgroup(group, "c", {stream: ">"}, count=100) or []
    found = found.items() if isinstance(found, dict) else found
    entries = [entry for _, page in found for entry in (page[0] if page and isinstance(page[0], list) else page)]
    for entry, _ in entries:
        client.xack(stream, group, entry)
    return [entry.decode() for entry, _ in entries]


def test_writes_are_refused_and_reads_go_on_until_it_is_lifted(up, client, name):
    client.set(name, "before")
    was = client.config_get("maxmemory*")
    with up.fault(BrokerFull("keys")) as full:
        for _ in range(2):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.xadd(name + "s", {"a": "1"})
        assert client.get(name) == b"before"
    assert full.hits == 2
    assert "OOM" in full.proof
    client.set(name, "after")
    assert client.config_get("maxmemory*") == was


def test_a_full_redis_that_nobody_writes_to_was_not_hit(up, client, name):
    with up.fault(BrokerFull("keys")) as full:
        client.get(name)
    assert (full.hits, full.proof) == (0, "")


def test_poison_is_an_entry_like_others_and_says_what_it_is(up, client, name):
    client.xadd(name, {"payload": "{}"})
    with up.fault(PoisonMessage("keys", name, message=b"\xff", headers={"tenant": "a"}, count=2)) as poison:
        entries = client.xrange(name)
    assert poison.hits == 2
    assert [fields[b"data"] for _, fields in entries[1:]] == [b"\xff", b"\xff"]
    assert all((fields[b"x-chaos-poison"], fields[b"tenant"]) == (b"1", b"a") for _, fields in entries[1:])


def test_entries_that_were_acknowledged_are_delivered_again(up, client, name):
    for number in range(3):
        client.xadd(name, {"n": number})
    client.xgroup_create(name, "g", id="0")
    first = take(client, name)
    with up.fault(Redeliver("keys", name, group="g", count=2)) as again:
        assert take(client, name) == first[1:]
    assert again.hits == 2
    assert take(client, name) == []


def test_a_group_that_reads_nothing_again_is_put_back_where_it_was(up, client, name):
    client.xadd(name, {"n": 1})
    client.xgroup_create(name, "g", id="0")
    take(client, name)
    was = client.xinfo_groups(name)[0]["last-delivered-id"]
    with up.fault(Redeliver("keys", name, group="g")) as again:
        assert client.xinfo_groups(name)[0]["last-delivered-id"] != was
    assert again.hits == 0
    assert client.xinfo_groups(name)[0]["last-delivered-id"] == was


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Unroutable("keys", "x"), "keys is a Redis: its streams have no routes"),
        (PoisonMessage("keys", "nowhere"), "channel='nowhere'.*no such stream"),
        (Redeliver("keys", "nowhere", group="g"), "channel='nowhere'.*no such stream"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_there_is(up, fault, says):
    with pytest.raises((FaultError, ChaosError), match=says), up.fault(fault):
        pass
