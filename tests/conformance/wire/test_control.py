"""The control socket: whatever is sent gets one clear answer; nothing half-done; the last client gone, wire is gone."""

from __future__ import annotations

import json
import os
import signal
import time

import httpx
import pytest


def test_nonsense_is_answered_and_changes_nothing(wire, callee):
    wire.link(callee.address)
    for line in (b"{", b"[]", b"7", b'{"op":"fly"}', b'{"id":3}', b"\xff\xfe", b'{"id":1,"op":{}}', b"[" * 100_000):
        wire.client.sendall(line + b"\n")
        answer = json.loads(wire._lines.readline())
        assert answer["ok"] is False
        assert len(answer["error"]) > 10
    wire.client.sendall(b"x" * (17 * 2**20) + b"\n")
    assert "longer than" in json.loads(wire._lines.readline())["error"]
    assert wire.do("stats")["links"] == 1


RULE = {"id": "r", "fault": "f", "link": "orders -> payments", "kind": "status", "params": {"code": 503}}
BAD = [
    ({**RULE, "link": "a -> b"}, "link='a -> b'"),
    ({**RULE, "kind": "explode"}, "kind='explode'"),
    ({**RULE, "params": {"code": 99}}, "code=99: must be a whole number from 200 to 599"),
    ({**RULE, "params": {"code": True}}, "code=True"),
    ({**RULE, "params": {}}, "code=None: is needed"),
    ({**RULE, "params": {"code": 503, "colour": 1}}, "colour=1"),
    ({**RULE, "params": {"code": 503, "headers": {"a": "b\r\nc: d"}}}, "headers"),
    ({**RULE, "params": {"code": 503}, "when": {"first": 0}}, "must be 1 or more"),
    ({**RULE, "kind": "refuse", "params": {}, "operation": "GET /"}, "operation"),
    ({**RULE, "kind": "refuse", "params": {}, "when": {"first": 1}}, "when"),
    ({**RULE, "kind": "point", "params": {"phase": "later"}}, "phase='later'"),
    ({**RULE, "kind": "hold", "params": {"ms": -1}}, "ms=-1"),
    ({**RULE, "params": []}, ""),
    ({**RULE, "headers": {"a": 1}}, "headers"),
    ({"id": "x"}, "WireRule"),
    ("rule", "WireRule"),
]


@pytest.mark.parametrize(("rule", "said"), BAD)
def test_a_bad_rule_is_refused_with_the_whole_schedule(wire, callee, rule, said):
    wire.link(callee.address)
    wire.rule("latency", ms=1)
    answer = wire.ask("install", schedule="s", owner="t", rules=[{**RULE, "id": "good"}, rule])
    assert answer["ok"] is False
    assert said in answer["error"], answer
    assert [row["rule"]["id"] for row in wire.do("rules")["rules"]] == ["r1"]


def test_installing_replaces_a_schedule_whole(wire, callee):
    base = f"http://127.0.0.1:{wire.link(callee.address)}"
    wire.rule("status", code=500)
    assert httpx.get(base).status_code == 500
    assert wire.rule("status", code=501)["hits"]["r1"]["hits"] == 1
    wire.rule("latency", schedule="other", ms=1)
    assert httpx.get(base).status_code == 501
    assert wire.do("uninstall", owner="nobody")["hits"] == {}
    assert wire.do("uninstall", owner="t")["hits"]["r1"]["hits"] == 1
    assert wire.do("rules")["rules"] == []


def test_bad_links_are_refused(wire, callee):
    port = wire.link(callee.address)
    bad = [
        {"name": "orders -> payments", "listen_host": "127.0.0.1"},
        {"name": "", "listen_host": "127.0.0.1"},
        {"name": "x", "listen_host": "203.0.113.1"},
        {"name": "x", "listen_host": "127.0.0.1", "upstream": "nowhere"},
        {"name": "x", "listen_host": "127.0.0.1", "upstream": "h:99999"},
        {"name": "x", "listen_host": "127.0.0.1", "identify": {"GET /": "cookie:a"}},
        {"name": "x", "listen_host": "127.0.0.1", "operations": {"GET /": {"status": 99}}},
        {"name": "x", "listen_host": "127.0.0.1", "operations": {"GET /": {"dedupe": "nope"}}},
        {"name": "x", "listen_host": "127.0.0.1", "operations": 3},
    ]
    for fields in bad:
        assert wire.ask("open_link", **fields)["ok"] is False, fields
    assert wire.ask("set_upstream", name="y", upstream=None)["ok"] is False
    assert wire.ask("set_upstream", name="orders -> payments")["ok"] is False
    assert wire.ask("close_link", name="y")["ok"] is False
    wire.do("close_link", name="orders -> payments")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}")


def test_wire_leaves_with_its_last_client(wire):
    second = wire.connect()
    wire.client.shutdown(2)
    second.sendall(b'{"id":1,"op":"ping"}\n')
    assert b'"ok":true' in second.recv(1000)
    second.close()
    wire.process.wait(1)


@pytest.mark.parametrize("end", ["quit", "term"])
def test_an_ordered_end_keeps_what_was_recorded(wire, callee, end):
    port = wire.link(callee.address)
    wire.rule("hold", ms=None)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=0.7)
    if end == "quit":
        wire.do("quit")
    else:
        os.kill(wire.process.pid, signal.SIGTERM)
    assert wire.process.wait(2) == 0
    rows = [json.loads(line) for line in wire.spool.read_text().splitlines()]
    assert {row["k"] for row in rows} == {"a", "d", "h"}
    assert not wire.control.exists()


def test_a_terminals_interrupt_is_not_for_wire(wire):
    os.kill(wire.process.pid, signal.SIGINT)
    time.sleep(0.05)
    assert wire.do("ping")["now_ns"] > 0
