"""The control socket under messages that nobody should send: each is refused with a reason, and no fault is applied."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LINK = "orders -> payments"
RULE = {"id": "r", "fault": "f", "link": LINK, "kind": "status", "params": {"code": 503}}
WELL = {
    "open_link": {"name": "a -> b", "listen_host": "127.0.0.1", "upstream": None},
    "close_link": {"name": LINK},
    "set_upstream": {"name": LINK, "upstream": None},
    "install": {"schedule": "s", "owner": "t", "rules": [RULE]},
    "uninstall": {"schedule": "s"},
    "release": {"rule": "r", "attempt": "a1"},
    "stub_reset": {"ledger": None},
    **{op: {} for op in ("rules", "reset", "mark", "ping", "stats", "quit")},
}
NO_TEXT = [None, True, 0, -1, 2**70, 1.5, "", [], {}, "x\ny", "x\0", "x" * 5000]
NO_NAME = [*NO_TEXT, "orders/v1 -> payments", "../x", "\\x", "x" * 300]
NO_ADDRESS = [
    *NO_TEXT[1:], "nowhere", ":80", "h:", "h:0", "h:65536", "h:-1", "h:8_0", "h:1e3", "a b:80", "h:\u0663", "h:8\r",
]  # fmt: skip
BAD = {
    "open_link": {
        "name": NO_NAME,
        "listen_host": [*NO_TEXT, "localhost", "0.0.0.0", "::", "203.0.113.1", "127.0.0.1/8", "\ud800", "1.2.3.4.5"],
        "upstream": NO_ADDRESS,
        "protocol": [True, 1, [], {}, "smtp", "amqp/1.0"],
        "advertise": [True, [], 1, {"*": None}],
        "identify": [True, [], 1, "x", {"GET /": 1}, {"GET /": "cookie:a"}],
        "operations": [True, [], 1, "x", {"GET /": 1}, {"GET /": {"status": -1}}, {"GET /": {"stauts": 200}}],
        "ledger": [True, [], {}, 1, "x\n"],
    },
    "close_link": {"name": [*NO_TEXT, "a -> b"]},
    "set_upstream": {"name": [*NO_TEXT, "a -> b"], "upstream": NO_ADDRESS, "advertise": [True, [], 1, {"*": None}]},
    "install": {
        "schedule": NO_TEXT,
        "owner": NO_TEXT,
        "rules": [None, True, 1, "x", {}, [1], [None], [[]], [{}], [RULE, RULE]],
    },
    "uninstall": {"schedule": [*NO_TEXT[1:-3], None]},
    "release": {"rule": NO_TEXT[:-3], "attempt": [*NO_TEXT[:-3], "nobody"]},
    "stub_reset": {"ledger": [True, 1, [], {}, "", "nobody"]},
}
BAD_RULES = {
    "id": NO_NAME[:-4],
    "fault": NO_NAME[:-4],
    "link": [*NO_TEXT, "a/b -> c"],
    "kind": [*NO_TEXT, "explode", "bytes.", "bytes.explode"],
    "operation": [None, True, 1, [], {}],
    "headers": [None, True, 1, "x", [], {"a": 1}, {"a": None}, {"a": "b\r\nc: d"}],
    "whom": [
        None, True, 1, "x", [], {"trace_id": "x"}, {"trace_id": 1}, {"correlation_id": "\xe9"}, {"colour": 1},
        {"baggage": 1},
    ],
    "when": [
        None, True, 1, "x", [], {"first": 0}, {"first": -1}, {"first": 1.5}, {"first": True}, {"nth": 3}, {"nth": [0]},
        {"every": "2"}, {"probability": 0}, {"probability": -0.1}, {"probability": 1.01}, {"probability": "1"},
        {"after_s": -1}, {"until_s": 10**9}, {"after_s": 2, "until_s": 1}, {"per": "day"}, {"frist": 1},
    ],
    "params": [None, True, 1, "x", [], {}, {"code": -1}, {"code": 2**70}, {"code": 503.0}, {"code": 503, "cod": 1}],
    "unknown": [1],
}  # fmt: skip


def refused(wire, op, fields):
    """Ask; give the reason why it was refused."""
    answer = wire.ask(op, **fields)
    assert answer["ok"] is False, (op, fields)
    assert len(answer["error"]) > 10
    assert "\n" not in answer["error"]
    return answer["error"]


def untouched(wire):
    table = wire.do("rules")
    return table["rules"] == [] and table["links"][LINK]["listening"] and len(table["links"]) == 1


def test_a_wrong_value_of_any_field_of_any_order_is_refused_and_changes_nothing(wire, callee):
    wire.link(callee.address)
    for op, fields in BAD.items():
        for field, values in fields.items():
            for value in values:
                why = refused(wire, op, {**WELL[op], field: value})
                assert untouched(wire), (op, field, value)
                assert any(word in why for word in (field, "StubOperation", "rule", "Rule", "open", "owner")), why
    wire.do("ping")


def test_a_field_that_an_order_does_not_have_is_refused_by_its_name(wire, callee):
    wire.link(callee.address)
    for op, fields in WELL.items():
        assert "colour=1: is no field of " + op in refused(wire, op, {**fields, "colour": 1})
    assert untouched(wire)


def test_a_wrong_value_anywhere_in_a_rule_is_refused_with_the_whole_schedule(wire, callee):
    wire.link(callee.address)
    for field, values in BAD_RULES.items():
        for value in values:
            refused(wire, "install", {**WELL["install"], "rules": [{**RULE, "id": "good"}, {**RULE, field: value}]})
            assert untouched(wire), (field, value)


LINES = [
    (b"{", "not JSON"), (b"[1]", "an object"), (b"7", "an object"), (b'"ping"', "an object"), (b"null", "an object"),
    (b"\xff\xfe", "not JSON"), (b"{'op': 'ping'}", "not JSON"), (b'{"op":"ping"} x', "not JSON"),
    (b'{"op":"ping","id":[1]}', "id=[1]"), (b'{"op":"ping","id":true}', "id=True"), (b'{"op":"ping","id":1.5}', "id="),
    (b'{"op":["ping"]}', "op="), (b'{"op":"PING"}', "op='PING'"), (b'{"op":null}', "op=None"), (b"{}", "op=None"),
    (b'{"op":"release","rule":NaN,"attempt":"a"}', "nan is no number"), (b'{"op":"ping","id":Infinity}', "id=inf"),
    (b'{"op":"install","schedule":"s","rules":[{"when":{"after_s":1e999}}]}', "inf is no number in JSON, or too large"),
    (b'{"op":"ping","id":' + b"9" * 5000 + b"}", "not JSON"), (b"[" * 100_000, "not JSON"),
    (b'{"op":"ping","x":' * 900 + b"1" + b"}" * 900, "deep"), (b'{"a":' * 65 + b"1" + b"}" * 65, "deep"),
]  # fmt: skip


def test_what_is_no_order_is_answered_with_the_reason_and_the_next_one_is_carried_out(wire, callee):
    wire.link(callee.address)
    for line, said in LINES:
        wire.client.sendall(line + b"\n")
        answer = json.loads(wire._lines.readline())
        assert (answer["ok"], answer["id"]) == (False, None), line[:80]
        assert said in answer["error"], (line[:80], answer)
        assert len(answer["error"]) < 1000
    assert untouched(wire)


def test_a_body_that_could_not_be_told_again_is_refused(wire, callee):
    wire.link(callee.address)
    for body, said in ((json.loads("[" * 500 + "]" * 500), "deep"), ([float("nan")], "nan"), (float("-inf"), "-inf")):
        rule = {**RULE, "params": {"code": 503, "body": body}}
        assert said in refused(wire, "install", {**WELL["install"], "rules": [rule]})
    assert untouched(wire)


def test_a_browser_gets_a_reason_and_what_its_page_wrote_is_not_carried_out(wire, callee):
    wire.link(callee.address)
    order = json.dumps({"id": 1, "op": "install", **WELL["install"]}).encode() + b"\n"
    heads = [b"GET / HTTP/1.1\r\nHost: x", b"POST /x HTTP/1.1\r\nContent-Length: 9", b"PRI * HTTP/2.0"]
    for head in heads:
        browser = wire.connect()
        browser.sendall(head + b"\r\n\r\n" + order)
        with browser, browser.makefile("rb") as lines:
            assert "not HTTP" in json.loads(lines.readline())["error"]
            assert lines.read() == b""
    assert untouched(wire)


def test_the_socket_is_its_users_alone(wire):
    assert stat.S_IMODE(wire.control.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_else_is_refused_even_where_the_mode_lets_them_in(wire, callee):
    wire.link(callee.address)
    wire.control.chmod(0o666)
    wire.control.parent.chmod(0o755)
    script = (
        "import os, socket; os.setuid(65534); sock = socket.socket(socket.AF_UNIX);"
        "sock.connect('c.sock'); sock.sendall(b'{\"op\":\"reset\"}\\n'); print(sock.makefile().read())"
    )
    said = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=wire.control.parent, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert said.stdout, said.stderr
    answer = json.loads(said.stdout)
    assert (answer["ok"], answer["error"][:45]) == (False, "user 65534 may not give orders here, only user"[:45])
    wire.do("ping")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([LINK, "r"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({field for fields in BAD.values() for field in fields})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from(sorted(set(WELL) - {"quit", "close_link", "set_upstream"})) | st.text(max_size=9),
    fields=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), JSON, max_size=4),
    rule=st.dictionaries(st.sampled_from(sorted(BAD_RULES)), JSON, max_size=3),
)
def test_whatever_is_ordered_is_answered_once_and_no_rule_gets_in_unless_it_is_well(wire, op, fields, rule):
    if LINK not in wire.do("rules")["links"]:
        wire.link("127.0.0.1:9")
    if op == "install":
        fields = {"schedule": "s", "rules": [{**RULE, **rule}], **fields}
    answer = wire.ask(op, **{name: value for name, value in fields.items() if name not in ("id", "op")})
    if not answer["ok"]:
        assert "wire failed" not in answer["error"]
        assert wire.do("rules")["rules"] == []
    elif op == "install":  # then it is a rule, and can be told and lifted
        assert len(wire.do("rules")["rules"]) == len(fields["rules"])
        wire.do("reset")
    elif op == "open_link":
        wire.do("close_link", name=fields["name"])
