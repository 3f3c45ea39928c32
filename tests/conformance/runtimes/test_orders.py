"""The keeper's socket under messages that nobody should send: a reason for each, no fault applied, no bug shown."""

from __future__ import annotations

import json
import socket
import stat

import pytest

from pytest_chaos.keeper.asked import FIELDS
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.model.topology import Stub
from tests.conformance.runtimes.kit import keeper, rule, schedule, service, spec_of

BANK = spec_of(
    service("front", calls={"UP": "http://{bank}"}),
    Stub("bank", {"POST /pay": StubOperation(body={})}),
)
LINK = "front -> bank"
WELL = to_json(schedule(rule("status", LINK, code=503)))
INSTALLED = WELL["faults"][0]
NO_TEXT = [None, True, 1, -(2**70), 1.5, [], {}]
NO_OBJECT = [None, True, 1, "x", [], [{}]]
BAD = {
    "hello": {"run": NO_TEXT},
    "start": {
        "spec": [*NO_OBJECT, {}, {"nodes": 1, "links": []}, {**to_json(BANK), "colour": 1}], "environ": [1, {"A": 1}],
    },
    "install": {
        "schedule": [
            *NO_OBJECT, {}, {**WELL, "colour": 1}, {**WELL, "faults": 1}, {**WELL, "faults": [1]},
            {**WELL, "faults": [{**INSTALLED, "rules": [{**INSTALLED["rules"][0], "colour": 1}]}]},
            {**WELL, "faults": [{**INSTALLED, "rules": [{**INSTALLED["rules"][0], "params": {"code": -1}}]}]},
            {**WELL, "faults": [{**INSTALLED, "rules": [{**INSTALLED["rules"][0], "link": "a/b -> c"}]}]},
        ]
    },
    "uninstall": {"schedule": [*NO_TEXT, "nobody's"]},
    "faults": {"owner": NO_TEXT},
    "node": {"node": [*NO_TEXT, "nobody", "../x"], "verb": [*NO_TEXT, "explode"], "env": [1, [], {"A": 1}, "x"]},
    "baseline": {"restart": [1, "x", [1], {}], "env": [1, [], {"A": 1}, {"A": {"B": 1}}]},
    "lock": {"limit_s": [None, True, "1", -1, 10**9, []], "owner": NO_TEXT},
}  # fmt: skip
ELSE = {
    "start": {"spec": to_json(BANK)}, "install": {"schedule": WELL}, "uninstall": {"schedule": "s1"},
    "faults": {"owner": "t"}, "door": {"owner": "t"}, "around": {"since_ns": 0},
    "node": {"node": "front", "verb": "pause"},
}  # fmt: skip
LINES = [
    (b"{", "not JSON"), (b"[1]", "an object"), (b"7", "an object"), (b"\xff", "not JSON"), (b"[" * 100_000, "not JSON"),
    (b'{"op":"fly"}', "op 'fly'"), (b'{"op":["hello"]}', "op "), (b"{}", "op ''"),
    (b'{"op":"lock","limit_s":NaN}', "nan"),
    (b'{"op":"lock","limit_s":1e999}', "inf"),
    (b'{"op":"hello","run":' + b"[" * 99 + b"]" * 99 + b"}", "deep"),
]  # fmt: skip


class Raw:
    """A connection to the keeper on which anything can be said."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(path))
        self.lines = self.sock.makefile("rb")

    def say(self, data):
        self.sock.sendall(data + b"\n")
        return json.loads(self.lines.readline())

    def ask(self, op, **fields):
        return self.say(json.dumps({"id": 1, "op": op, **fields}).encode())

    def close(self):
        self.lines.close()
        self.sock.close()


@pytest.fixture(scope="module")
def kept():
    with keeper(BANK) as (client, _):
        yield client


@pytest.fixture
def raw(kept):
    connected = Raw(kept.home.socket)
    yield connected
    connected.close()
    assert "Traceback" not in kept.home.log.read_text()


def untouched(raw):
    return raw.ask("faults", owner="t")["faults"] == [] and raw.ask("running")["nodes"] == ["front"]


def test_a_wrong_value_of_any_field_is_refused_with_its_reason(raw):
    for op, fields in BAD.items():
        for field, values in fields.items():
            for value in values:
                answer = raw.ask(op, **{**ELSE.get(op, {}), field: value})
                assert answer["ok"] is False, (op, field, value)
                assert "keeper failed" not in answer["error"], answer
                assert len(answer["error"]) > 10
    assert untouched(raw)


def test_unknown_and_missing_fields_are_named(raw):
    for op, fields in FIELDS.items():
        assert f"colour=1: is no field of {op}" in raw.ask(op, **ELSE.get(op, {}), colour=1)["error"]
        for name in [name for name, field in fields.items() if field.needed]:
            given = {key: value for key, value in ELSE[op].items() if key != name}
            assert f"{name}: is needed" in raw.ask(op, **given)["error"]
    assert untouched(raw)


def test_what_is_no_order_is_answered_and_the_next_one_is_carried_out(raw):
    for line, said in LINES:
        answer = raw.say(line)
        assert (answer["ok"], said in answer["error"]) == (False, True), answer
    assert untouched(raw)


def test_a_browser_gets_a_reason_and_what_its_page_wrote_is_not_carried_out(kept, raw):
    browser = Raw(kept.home.socket)
    order = json.dumps({"id": 1, "op": "install", "schedule": WELL}).encode()
    assert "not HTTP" in browser.say(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + order)["error"]
    assert browser.lines.read() == b""
    browser.close()
    assert untouched(raw)


def test_the_sockets_stand_in_a_folder_that_is_the_users_alone(kept):
    for folder in (kept.home.folder, kept.home.folder.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.home.wire_socket.stat().st_mode) == 0o600
