"""gRPC through a real wire process, grpcio on both sides: calls pass unharmed, faults hit exactly those they name."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest

grpc = pytest.importorskip("grpc")

from tests.conformance.wire.grpc_kit import CALL, QUICK, Service, charge, code, run, until  # noqa: E402 - needs grpc


def test_a_call_passes_and_is_recorded(wire):
    async def scenario(service, channel):
        request = b"\x0a\x03o-1"
        assert (
            await charge(channel, request, metadata=(("x-correlation-id", "c1"), ("idempotency-key", "k1")))
            == request.upper()
        )
        assert await code(channel, b"fail") == "FAILED_PRECONDITION"

    run(wire, scenario, identify={CALL: "pb:1"})
    first, second = wire.attempts(2)
    assert (first["protocol"], first["operation"], first["grpc_status"], first["marker"]) == ("grpc", CALL, 0, "o-1")
    assert first["request_headers"]["idempotency-key"] == "k1"
    assert first["response_headers"]["x-correlation-id"] == "c9"
    assert (second["grpc_status"], second["upstream_grpc_status"], second["reused"]) == (9, 9, True)
    assert second["response_headers"]["grpc-message"].startswith("no")


def test_many_calls_at_once_keep_their_answers(wire):
    async def scenario(service, channel):
        requests = [b"call-%d" % number for number in range(300)]
        answers = await asyncio.gather(*(charge(channel, request) for request in requests))
        assert answers == [request.upper() for request in requests]

    run(wire, scenario)
    assert {row["grpc_status"] for row in wire.attempts(300)} == {0}


def test_streams_and_large_messages_pass_unharmed(wire):
    async def scenario(service, channel):
        async def requests():
            for number in range(50):
                yield b"m%d" % number

        chat = channel.stream_stream("/shop.Payments/Chat")(requests())
        assert [answer async for answer in chat] == [b"M%d" % number for number in range(50)]
        flood = channel.unary_stream("/shop.Payments/Flood")(b"200")
        assert [answer[:6] async for answer in flood] == [b"%06d" % number for number in range(200)]
        big = b"y" * 3_000_000
        assert await charge(channel, big) == big.upper()
        assert await charge(channel, metadata=(("x-long", "v" * 7000),)) == b"X"

    run(wire, scenario)
    assert {row["grpc_status"] for row in wire.attempts(4)} == {0}


def test_the_first_n_calls_fail_and_only_they(wire):
    async def scenario(service, channel):
        wire.rule("grpc_status", CALL, code=14, message="chaos: no", when={"first": 3})
        codes = [await code(channel) for _ in range(5)]
        codes += [await code(channel, b"z" * 500_000)]
        return codes, len(service.asked)

    assert run(wire, scenario) == (["UNAVAILABLE"] * 3 + ["OK"] * 3, 3)
    attempts = wire.attempts(6)
    assert [row["grpc_status"] for row in attempts] == [14] * 3 + [0] * 3
    assert "forwarded_ns" not in attempts[0]
    assert "upstream_grpc_status" not in attempts[0]
    assert wire.lift()["r1"]["hits"] == 3


def test_every_fifth_of_many_calls_at_once_fails(wire):
    async def scenario(service, channel):
        wire.rule("grpc_status", CALL, code=14, when={"every": 5})
        codes = await asyncio.gather(*(code(channel, b"z" * (number * 300)) for number in range(500)))
        return codes.count("UNAVAILABLE"), codes.count("OK"), len(service.asked)

    assert run(wire, scenario) == (100, 400, 400)


def test_a_large_request_that_is_answered_by_wire_does_not_stall_the_connection(wire):
    async def scenario(service, channel):
        wire.rule("grpc_status", CALL, code=8, when={"first": 20})
        codes = await asyncio.gather(*(code(channel, b"z" * 1_000_000) for _ in range(25)))
        return codes.count("RESOURCE_EXHAUSTED"), codes.count("OK")

    assert run(wire, scenario) == (20, 5)


def test_a_held_answer_ends_with_the_callers_deadline_and_only_that_call(wire):
    async def scenario(service, channel):
        assert await code(channel) == "OK"
        wire.rule("hold", CALL, ms=None, when={"nth": [1]})
        before = time.monotonic()
        held = asyncio.ensure_future(code(channel, timeout=0.5))
        await until(lambda: len(service.asked) == 2)
        assert await code(channel) == "OK"
        assert not held.done()
        seen, lasted = await held, time.monotonic() - before
        await asyncio.to_thread(wire.attempts, 3)
        return seen, lasted, len(service.asked)

    seen, lasted, asked = run(wire, scenario)
    assert (seen, asked) == ("DEADLINE_EXCEEDED", 3)
    assert 0.45 < lasted < 2
    late = next(row for row in wire.attempts(3) if row.get("error"))
    assert (late["error"], late["closed_by"], late["upstream_grpc_status"]) == ("timeout", "caller", 0)


def test_a_held_answer_is_given_when_the_rule_is_lifted(wire):
    async def scenario(service, channel):
        wire.rule("hold", CALL, ms=None)
        call = asyncio.ensure_future(charge(channel))
        await until(lambda: service.asked)
        await asyncio.sleep(0.1)
        assert not call.done()
        wire.lift()
        return await call

    assert run(wire, scenario) == b"X"


def test_a_held_large_answer_is_given_whole(wire):
    async def scenario(service, channel):
        wire.rule("hold", ms=100)
        flood = channel.unary_stream("/shop.Payments/Flood")(b"40")
        return len([answer async for answer in flood])

    assert run(wire, scenario) == 40


def test_a_held_request_lets_others_pass_it(wire):
    async def scenario(service, channel):
        wire.rule("hold", CALL, ms=200, at="request", when={"nth": [1]})
        first = asyncio.ensure_future(charge(channel, b"first"))
        await until(lambda: wire.do("rules")["rules"][0]["hits"])
        assert await charge(channel, b"second") == b"SECOND"
        assert await first == b"FIRST"
        return service.asked

    assert run(wire, scenario) == [b"second", b"first"]


@pytest.mark.parametrize(("how", "seen"), [("reset", "UNAVAILABLE"), ("close", "CANCELLED")])
def test_a_lost_answer_was_worked_for_and_the_connection_lives(wire, how, seen):
    async def scenario(service, channel):
        wire.rule("answer_lost", CALL, how=how, when={"nth": [2]})
        return [await code(channel) for _ in range(3)], len(service.asked)

    assert run(wire, scenario) == (["OK", seen, "OK"], 3)
    lost = wire.attempts(3)[1]
    assert (lost["closed_by"], lost["upstream_grpc_status"]) == ("wire", 0)
    assert len({row["connection"] for row in wire.rows()}) == 1


def test_a_lost_large_answer_does_not_stall_the_connection(wire):
    async def scenario(service, channel):
        wire.rule("answer_lost", when={"first": 5})
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError):
                await charge(channel, b"z" * 2_000_000, timeout=5)
        big = b"z" * 2_000_000
        return await charge(channel, big) == big.upper(), len(service.asked)

    assert run(wire, scenario) == (True, 6)


@pytest.mark.parametrize(("at", "work"), [("request", 0), ("response", 1)])
def test_reset_hits_one_call(wire, at, work):
    async def scenario(service, channel):
        wire.rule("reset", at=at, when={"first": 1})
        return [await code(channel), await code(channel)], len(service.asked)

    assert run(wire, scenario) == (["UNAVAILABLE", "OK"], work + 1)


def test_an_http_status_is_what_grpc_makes_of_it(wire):
    async def scenario(service, channel):
        wire.rule("status", code=503)
        return await code(channel)

    assert run(wire, scenario) == "UNAVAILABLE"
    assert (wire.attempts()[0]["status"], wire.attempts()[0]["grpc_status"]) == (503, 14)


def test_latency_point_and_drip_act_on_calls(wire):
    async def scenario(service, channel):
        wire.rule("latency", ms=100)
        before = time.monotonic()
        assert await code(channel) == "OK"
        assert time.monotonic() - before > 0.1
        wire.rule("drip", bytes=2, interval_ms=20)
        before = time.monotonic()
        assert await charge(channel, b"abcdef") == b"ABCDEF"
        assert time.monotonic() - before > 0.08
        wire.rule("point", CALL, phase="after_answer")
        call = asyncio.ensure_future(charge(channel))
        event = await asyncio.to_thread(wire.event)
        assert not call.done()
        wire.do("release", rule="r1", attempt=event["attempt"])
        assert await call == b"X"
        wire.rule("truncate", bytes=3)
        assert await code(channel) == "INTERNAL"

    run(wire, scenario)


def test_a_cancelled_call_is_cancelled_at_the_callee(wire):
    async def scenario(service, channel):
        service.delay_s = 10
        call = channel.unary_unary(CALL)(b"x")
        await until(lambda: service.asked)
        call.cancel()
        await until(lambda: service.cancelled)
        await asyncio.to_thread(wire.attempts)
        return service.cancelled

    assert run(wire, scenario) == 1
    (attempt,) = wire.attempts()
    assert (attempt["error"], attempt["closed_by"]) == ("reset", "caller")


def test_refuse_and_no_upstream_end_the_connection_and_it_comes_back(wire):
    async def scenario(service, channel):
        assert await code(channel) == "OK"
        wire.rule("refuse")
        assert await code(channel) == "UNAVAILABLE"
        wire.lift()
        assert await code(channel, wait_for_ready=True) == "OK"

    run(wire, scenario)


def test_a_server_that_goes_away_is_seen_to_go(wire):
    async def main():
        service = Service()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([service])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        through = wire.link(f"127.0.0.1:{port}")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{through}", options=QUICK) as channel:
            service.delay_s = 0.2
            running = asyncio.ensure_future(code(channel))
            await until(lambda: service.asked)
            stopping = asyncio.ensure_future(server.stop(5))
            assert await running == "OK"
            await stopping
            return await code(channel, timeout=2)

    assert asyncio.run(asyncio.wait_for(main(), 20)) == "UNAVAILABLE"


def test_a_stub_answers_calls(wire):
    message = base64.b64encode(b"\x0a\x02ok").decode()
    operations = {
        CALL: {"body": message, "dedupe": "header:idempotency-key", "marker": "pb:1"},
        "/shop.Payments/Refund": {"status": 9},
    }

    async def scenario(service, channel):
        asked = [(("idempotency-key", "a"),), (("idempotency-key", "a"),), (("idempotency-key", "b"),)]
        answers = [await charge(channel, b"\x0a\x03o-1", metadata=metadata) for metadata in asked]
        assert answers == [b"\x0a\x02ok"] * 3
        wire.rule("grpc_status", link="payments -> acquirer", code=14, when={"first": 1})
        assert await code(channel) == "UNAVAILABLE"
        for method, seen in (("Refund", "FAILED_PRECONDITION"), ("Nothing", "UNIMPLEMENTED")):
            with pytest.raises(grpc.aio.AioRpcError) as wrong:
                await channel.unary_unary(f"/shop.Payments/{method}")(b"")
            assert wrong.value.code().name == seen

    run(wire, scenario, upstream=None, name="payments -> acquirer", operations=operations, ledger="acquirer")
    effects = wire.rows("e")
    assert [row["key"] for row in effects] == ["a", "b"]
    assert effects[0]["marker"] == "o-1"
    assert effects[0]["attempt"] in {row["id"] for row in wire.attempts(6)}
