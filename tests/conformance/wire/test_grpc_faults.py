"""Faults on single gRPC calls, grpcio on both sides: pushback, aborted streams, twice, late, other metadata."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

grpc = pytest.importorskip("grpc")

from tests.conformance.wire.grpc_kit import CALL, QUICK, charge, code, run, until  # noqa: E402 - needs grpc

CHAT, FLOOD, SUM = (f"/shop.Payments/{name}" for name in ("Chat", "Flood", "Sum"))


async def messages(*parts):
    for part in parts:
        yield part


async def read(call):
    """Read a stream to its end; give what came and the code."""
    got = []
    try:
        async for answer in call:
            got += [answer]
    except grpc.aio.AioRpcError as wrong:
        return got, wrong.code().name
    return got, "OK"


def test_a_status_is_an_answer_of_trailers_only_with_its_pushback(wire):
    async def scenario(service, channel):
        wire.rule("grpc_status", CALL, code=14, message="chaos", pushback_ms=30)
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await charge(channel)
        assert (wrong.value.code().name, wrong.value.details()) == ("UNAVAILABLE", "chaos")
        assert dict(wrong.value.trailing_metadata())["grpc-retry-pushback-ms"] == "30"
        assert not wrong.value.initial_metadata()
        return service.asked

    assert run(wire, scenario) == []
    assert wire.attempts()[0]["response_headers"]["grpc-retry-pushback-ms"] == "30"


def test_grpcios_own_retries_wait_as_long_as_they_are_told(wire):
    policy = {"maxAttempts": 2, "initialBackoff": "5s", "maxBackoff": "5s", "backoffMultiplier": 1}
    config = {"methodConfig": [{"name": [{}], "retryPolicy": {**policy, "retryableStatusCodes": ["UNAVAILABLE"]}}]}

    async def scenario(service, channel):
        wire.rule("grpc_status", CALL, code=14, pushback_ms=200, when={"first": 1})
        target = f"127.0.0.1:{wire.do('rules')['links']['orders -> payments']['port']}"
        options = (("grpc.service_config", json.dumps(config)), ("grpc.use_local_subchannel_pool", 1))
        async with grpc.aio.insecure_channel(target, options=options) as retrying:
            return await charge(retrying, timeout=3)

    assert run(wire, scenario) == b"X"
    first, second = wire.attempts(2)
    assert 0.2e9 <= second["started_ns"] - first["ended_ns"] < 2e9
    assert second["request_headers"]["grpc-previous-rpc-attempts"] == "1"


def test_a_forwarded_status_replaces_the_answer_of_work_that_was_done(wire):
    async def scenario(service, channel):
        wire.rule("grpc_status", CALL, code=14, forward=True)
        return await code(channel), len(service.asked)

    assert run(wire, scenario) == ("UNAVAILABLE", 1)
    (attempt,) = wire.attempts()
    assert (attempt["grpc_status"], attempt["upstream_grpc_status"]) == (14, 0)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_server_stream_is_aborted_after_so_many_messages(wire, count):
    async def scenario(service, channel):
        wire.rule("grpc_abort", FLOOD, code=10, messages=count, pushback_ms=-1)
        call = channel.unary_stream(FLOOD)(b"40")
        got, seen = await read(call)
        assert [answer[:6] for answer in got] == [b"%06d" % number for number in range(count)]
        assert dict(await call.trailing_metadata())["grpc-retry-pushback-ms"] == "-1"
        assert await charge(channel) == b"X"
        return seen

    assert run(wire, scenario) == "ABORTED"
    aborted, after = wire.attempts(2)
    assert (aborted["grpc_status"], aborted.get("response_messages", 0)) == (10, count)
    assert (after["grpc_status"], after["request_messages"], after["response_messages"]) == (0, 1, 1)
    assert wire.lift()["r1"]["hits"] == 1


def converse(port):
    """Speak ten messages, each after the last one's answer; give the answers and the code.

    grpcio's synchronous client: the asynchronous one reports INTERNAL when a write fails as the call ends.
    """
    got, turn = [], threading.Semaphore(1)

    def spoken():
        for number in range(10):
            turn.acquire(timeout=5)
            yield b"m%d" % number

    with grpc.insecure_channel(f"127.0.0.1:{port}", options=QUICK) as channel:
        call = channel.stream_stream(CHAT)(spoken(), timeout=10)
        try:
            for answer in call:
                got.append(answer)
                turn.release()
        except grpc.RpcError as wrong:
            return got, wrong.code().name
        finally:
            turn.release()
    return got, "OK"


@pytest.mark.parametrize(("count", "side"), [(0, "request"), (2, "request"), (2, "response"), (0, "response")])
def test_a_conversation_is_aborted_in_its_midst_and_the_callee_sees_it_cancelled(wire, count, side):
    async def scenario(service, channel):
        wire.rule("grpc_abort", CHAT, code=14, messages=count, at=side)
        port = wire.do("rules")["links"]["orders -> payments"]["port"]
        got, seen = await asyncio.to_thread(converse, port)
        return got, seen, service.asked

    got, seen, asked = run(wire, scenario)
    assert seen == "UNAVAILABLE"
    least = count if side == "response" else max(0, count - 1)
    assert got[:least] == [b"M%d" % number for number in range(least)]
    assert len(got) <= count
    assert least <= len(asked) <= count + (side == "response")
    (attempt,) = wire.attempts()
    assert (attempt["grpc_status"], attempt.get("upstream_grpc_status")) == (14, None)
    assert wire.lift()["r1"]["hits"] == 1


def test_a_large_upload_is_aborted_in_a_frame_and_the_connection_lives(wire):
    parts = [bytes([number]) * 200_000 for number in range(20)]

    def upload(port):
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=QUICK) as channel:
            call = channel.stream_unary(SUM)
            with pytest.raises(grpc.RpcError) as wrong:
                call(iter(parts), timeout=10)
            assert wrong.value.code().name == "UNAVAILABLE"
            assert call(iter(parts), timeout=10) == b"".join(parts)

    async def scenario(service, channel):
        wire.rule("grpc_abort", SUM, code=14, messages=3, at="request", when={"first": 1})
        await asyncio.to_thread(upload, wire.do("rules")["links"]["orders -> payments"]["port"])
        return len(service.asked)

    assert run(wire, scenario) == 20
    assert len({row["connection"] for row in wire.attempts(2)}) == 1


def test_a_call_with_fewer_messages_is_not_hit(wire):
    async def scenario(service, channel):
        wire.rule("grpc_abort", code=14, messages=2)
        assert await code(channel) == "OK"
        assert await code(channel, b"fail") == "FAILED_PRECONDITION"
        wire.rule("grpc_abort", code=14, messages=0, schedule="t")
        assert await code(channel, b"fail") == "FAILED_PRECONDITION"

    run(wire, scenario)
    assert wire.lift()["r1"]["hits"] == wire.lift("t")["r1"]["hits"] == 0


def test_a_call_is_delivered_twice_and_its_caller_has_the_first_answer(wire):
    async def scenario(service, channel):
        wire.rule("deliver_twice", CALL)
        big = b"z" * 300_000
        assert await charge(channel, big, metadata=(("idempotency-key", "k"),)) == big.upper()
        await until(lambda: len(service.asked) == 2)
        assert service.asked == [big, big]
        assert await code(channel, b"fail") == "FAILED_PRECONDITION"
        await asyncio.to_thread(wire.attempts, 4)

    run(wire, scenario)
    first, again, failed, failed_again = sorted(wire.attempts(4), key=lambda row: row["started_ns"])
    for name in ("operation", "request_headers", "body_hash", "request_messages", "protocol"):
        assert again[name] == first[name]
    assert [row.get("replayed", False) for row in (first, again, failed, failed_again)] == [False, True, False, True]
    assert (again["grpc_status"], failed_again["grpc_status"]) == (0, 9)
    assert again["connection"] != first["connection"]
    assert wire.lift()["r1"]["hits"] == 2


def test_a_client_stream_is_delivered_late_whole(wire):
    async def scenario(service, channel):
        wire.rule("deliver_late", SUM)
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await channel.stream_unary(SUM)(messages(b"a" * 90_000, b"b" * 90_000), timeout=0.4)
        assert wrong.value.code().name == "DEADLINE_EXCEEDED"
        await until(lambda: service.asked)
        return [len(part) for part in service.asked]

    assert run(wire, scenario) == [90_000, 90_000]
    first, late = sorted(wire.attempts(2), key=lambda row: row["started_ns"])
    assert (first["deferred"], first["closed_by"], "forwarded_ns" in first) == (True, "caller", False)
    assert (late["replayed"], late["request_messages"]) == (True, 2)


def test_a_late_call_is_cut_first(wire):
    async def scenario(service, channel):
        wire.rule("deliver_late", CALL, how="reset", ms=50)
        assert await code(channel) == "UNAVAILABLE"
        assert service.asked == []
        await until(lambda: service.asked)

    run(wire, scenario)


def test_a_grpc_stub_works_twice_for_one_call(wire):
    async def scenario(service, channel):
        wire.rule("deliver_twice", link="payments -> acquirer")
        assert await charge(channel) == b""
        await asyncio.to_thread(wire.attempts, 2)

    link = {"upstream": None, "name": "payments -> acquirer", "operations": {CALL: {"body": ""}}, "ledger": "acquirer"}
    run(wire, scenario, **link)
    rows = wire.attempts(2)
    assert {row["attempt"] for row in wire.rows("e")} == {row["id"] for row in rows}
    assert [row.get("grpc_status") for row in rows] == [0, 0]


def test_metadata_is_dropped_and_rewritten_both_ways(wire):
    seen = []

    async def scenario(service, channel):
        async def unary(request, context):
            seen.append(dict(context.invocation_metadata()))
            await context.send_initial_metadata((("x-head", "1"),))
            context.set_trailing_metadata((("x-tail", "1"), ("x-gone", "1")))
            return request

        service.unary = unary
        common = {"fault": "f", "link": "orders -> payments", "kind": "header"}
        changes = [("x-tenant", None, "request"), ("x-key", "other", "request"), ("x-head", "2", "response")]
        changes += [("x-tail", "2", "response"), ("x-gone", None, "response")]
        rules = [
            {**common, "id": name, "fault": name, "params": {"name": name, "value": value, "at": at}}
            for name, value, at in changes
        ]
        wire.do("install", schedule="s", owner="t", rules=rules)
        call = channel.unary_unary(CALL)(b"x", metadata=(("x-tenant", "t"), ("x-key", "k")))
        assert await call == b"x"
        head, tail = dict(await call.initial_metadata()), dict(await call.trailing_metadata())
        assert (head["x-head"], tail["x-tail"], "x-gone" in tail) == ("2", "2", False)

    run(wire, scenario)
    (metadata,) = seen
    assert ("x-tenant" in metadata, metadata["x-key"]) == (False, "other")
    assert {row["hits"] for row in wire.lift().values()} == {1}


def test_a_stalled_answer_ends_with_the_callers_deadline(wire):
    async def scenario(service, channel):
        wire.rule("stall", CALL)
        call = channel.unary_unary(CALL)(b"x", timeout=0.4)
        assert dict(await call.initial_metadata())["x-correlation-id"] == "c9"
        assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    run(wire, scenario)
    assert wire.attempts()[0]["upstream_grpc_status"] == 0


def test_messages_are_counted_in_every_kind_of_stream(wire):
    async def scenario(service, channel):
        assert len((await read(channel.stream_stream(CHAT)(messages(b"a", b"", b"c"))))[0]) == 3
        assert len((await read(channel.unary_stream(FLOOD)(b"25")))[0]) == 25
        assert await channel.stream_unary(SUM)(messages(b"a" * 70_000, b"b")) == b"a" * 70_000 + b"b"
        assert await charge(channel, b"y" * 1_000_000)

    run(wire, scenario)
    counted = {
        row["operation"].rpartition("/")[2]: (row["request_messages"], row["response_messages"])
        for row in wire.attempts(4)
    }
    assert counted == {"Chat": (3, 3), "Flood": (1, 25), "Sum": (2, 1), "Charge": (1, 1)}
