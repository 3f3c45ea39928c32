"""A stub's effects are exactly the work that it did: no repeat, no read, no refusal is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.model.plan import StubOperation
from pytest_chaos.wire.stub import Request, Stub, make_answer


def ask(stub, operation="POST /charges", key="", body=b"{}"):
    return stub.serve(
        Request(operation=operation, target="/", headers={"idempotency-key": key} if key else {}, body=body)
    )


def charges(**fields):
    stub = Stub("acquirer")
    stub.operations["POST /charges"] = StubOperation(body={"n": ["{seq}"]}, dedupe="header:Idempotency-Key", **fields)
    return stub


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=30))
def test_each_key_is_worked_for_once_and_no_key_every_time(keys):
    stub = charges()
    effects = [ask(stub, key=key)[1] for key in keys]
    assert sum(effect is not None for effect in effects) == len({key for key in keys if key}) + keys.count("")


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
def test_a_repeat_gets_the_first_answer(keys):
    stub, first = charges(), {}
    for key in keys:
        answer, _ = ask(stub, key=key)
        assert answer == first.setdefault(key, answer)


def test_a_reset_forgets():
    stub = charges()
    first = ask(stub, key="a")
    stub.reset()
    again = ask(stub, key="a")
    assert again == first
    assert again[1] is not None


def test_a_read_and_a_refusal_are_no_effects():
    stub = charges(effect=False)
    stub.operations["POST /no"] = StubOperation(status=409)
    stub.operations["/pkg.S/No"] = StubOperation(status=9)
    assert [ask(stub, name)[1] for name in ("POST /charges", "POST /no", "/pkg.S/No", "GET /unknown")] == [None] * 4
    assert ask(stub, "GET /unknown")[0].status == 404


def test_an_exact_operation_goes_before_a_pattern():
    stub = Stub("s")
    stub.operations["GET /a/*"] = StubOperation(status=201)
    stub.operations["GET /a/b"] = StubOperation(status=202)
    assert [ask(stub, f"GET /a/{name}")[0].status for name in "bc"] == [202, 201]


def test_an_effect_tells_key_marker_and_amount():
    stub = Stub("acquirer")
    where = {"key": "json:/k", "marker": "json:/m", "amount_minor": "json:/a"}
    stub.operations["POST /charges"] = StubOperation(**where)
    _, effect = ask(stub, body=b'{"k":"k1","m":"m1","a":-5}')
    assert (effect["key"], effect["marker"], effect["amount_minor"]) == ("k1", "m1", -5)
    _, effect = ask(stub, body=b'{"a":"5.5"}')
    assert "amount_minor" not in effect


def test_a_body_goes_out_as_what_it_is():
    assert make_answer(200, "x", {}).headers["content-type"].startswith("text/plain")
    assert make_answer(200, [1], {}).body == b"[1]"
    assert make_answer(200, {"a": 1}, {"Content-Type": "a/b"}).headers == {"Content-Type": "a/b"}
    assert make_answer(204, None, {}).body == b""
