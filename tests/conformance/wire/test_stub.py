"""A stub is a link that wire answers itself: its effects are what was done, whatever became of the answer."""

from __future__ import annotations

import http.client
import json
import threading

import httpx
import pytest

HOLDS = [
    {"id": "a", "kind": "latency", "params": {"ms": 20}},
    {"id": "b", "kind": "hold", "params": {"ms": 20}},
]
CHARGE = {
    "status": 201,
    "body": {"id": "ch-{seq}"},
    "dedupe": "header:Idempotency-Key",
    "key": "header:Idempotency-Key",
    "marker": "json:/orderId",
    "amount_minor": "json:/amount",
}


@pytest.fixture
def base(wire):
    operations = {
        "POST /charges": CHARGE,
        "GET /charges/*": {"body": "text", "effect": False},
        "POST /decline": {"status": 402},
    }
    port = wire.link(
        None,
        name="payments -> acquirer",
        operations=operations,
        ledger="acquirer",
        identify={"POST /charges": "json:/orderId"},
    )
    return f"http://127.0.0.1:{port}"


def charge(base, key="k1", amount=10):
    return httpx.post(base + "/charges", json={"orderId": "o1", "amount": amount}, headers={"Idempotency-Key": key})


def test_an_operation_answers_and_is_an_effect(wire, base):
    answer = charge(base)
    assert (answer.status_code, answer.json()) == (201, {"id": "ch-1"})
    (effect,) = wire.rows("e")
    (attempt,) = wire.attempts()
    assert effect == {
        "k": "e",
        "id": "e1",
        "source": "stub",
        "at_ns": effect["at_ns"],
        "node": "acquirer",
        "ledger": "acquirer",
        "key": "k1",
        "marker": "o1",
        "operation": "POST /charges",
        "amount_minor": 10,
        "attempt": attempt["id"],
    }
    assert (attempt["marker"], attempt["upstream_status"], attempt["status"]) == ("o1", 201, 201)
    assert attempt["forwarded_ns"] <= effect["at_ns"] <= attempt["ended_ns"]


def test_a_repeat_gets_the_stored_answer_and_is_no_effect(wire, base):
    assert [charge(base).json()["id"] for _ in range(3)] == ["ch-1"] * 3
    assert charge(base, key="k2").json()["id"] == "ch-2"
    assert len(wire.rows("e")) == 2
    assert len(wire.attempts(4)) == 4
    wire.do("stub_reset", ledger="acquirer")
    assert charge(base).json()["id"] == "ch-1"


def test_reads_refusals_and_unknown_operations_are_no_effects(wire, base):
    assert httpx.get(base + "/charges/7").text == "text"
    assert httpx.post(base + "/decline").status_code == 402
    assert httpx.post(base + "/nowhere").status_code == 404
    assert wire.rows("e") == []
    assert [row["status"] for row in wire.attempts(3)] == [200, 402, 404]


def test_a_status_in_front_of_a_stub_prevents_the_effect_and_a_lost_answer_does_not(wire, base):
    wire.rule("status", link="payments -> acquirer", code=503, when={"nth": [1]})
    assert charge(base).status_code == 503
    assert wire.rows("e") == []
    wire.rule("answer_lost", link="payments -> acquirer")
    with pytest.raises(httpx.ReadError):
        charge(base)
    assert len(wire.rows("e")) == 1
    wire.lift()
    assert charge(base).json()["id"] == "ch-1"


def test_every_framing_and_many_connections_are_served(wire, base):
    host = base.removeprefix("http://")
    client = http.client.HTTPConnection(host)
    for number in range(50):
        body = json.dumps({"orderId": f"o{number}", "amount": 1}).encode()
        client.request(
            "POST",
            "/charges",
            body=iter([body[:5], body[5:]]),
            headers={"Idempotency-Key": f"k{number}"},
            encode_chunked=True,
        )
        assert json.loads(client.getresponse().read())["id"] == f"ch-{number + 1}"
    client.close()
    threads = [threading.Thread(target=charge, args=(base, f"t{number}")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wire.rows("e")) == 70


def test_two_links_to_one_stub_share_its_ledger(wire, base):
    port = wire.link(None, name="refunds -> acquirer", operations={"POST /charges": CHARGE}, ledger="acquirer")
    assert charge(base).json() == charge(f"http://127.0.0.1:{port}").json()
    assert len(wire.rows("e")) == 1


def test_a_thousand_pipelined_requests_are_answered(wire, base, raw):
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"GET /charges/1 HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    got = b""
    while got.count(b"200 OK") < 2000:
        got += sock.recv(1 << 20)
    assert len(wire.attempts(2000)) == 2000


def test_a_stubs_request_and_answer_may_both_be_held(wire, base):
    rules = [{**one, "fault": "f", "link": "payments -> acquirer"} for one in HOLDS]
    wire.do("install", schedule="s", owner="t", rules=rules)
    assert httpx.post(base + "/charges", json={}, timeout=5).status_code == 201
    assert {row["hits"] for row in wire.lift().values()} == {1}
