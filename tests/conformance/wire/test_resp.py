"""Redis through a link that wire reads: real server, real client library, and what each fault is for both."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.retry import Retry

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not on PATH")
LINK = "orders -> keys"
NO_RETRY = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 5.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real redis-server; gives a client that goes straight to it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--enable-debug-command", "yes"], stdout=subprocess.DEVNULL)
    straight = redis.Redis(port=port, socket_timeout=5)
    deadline = time.monotonic() + 10
    while True:
        try:
            straight.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    yield straight
    straight.close()
    process.terminate()
    process.wait(10)


@pytest.fixture
def link(wire, server):
    """The port of a link to the (emptied) server."""
    server.flushall()
    return wire.link(f"127.0.0.1:{server.connection_pool.connection_kwargs['port']}", name=LINK, protocol="resp")


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, link):
    """redis-py through the link, without retries of its own."""
    with redis.Redis(port=link, protocol=request.param, **NO_RETRY) as one:
        yield one


@pytest.fixture
def rule(wire):
    def install(kind, operation="", **params):
        wire.rule(kind, operation, link=LINK, **params)

    return install


def until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def by_operation(wire):
    found = {}
    for row in wire.rows():
        found.setdefault(row["operation"], []).append(row)
    return found


# what passes


def test_commands_are_attempts_with_their_answers(wire, client):
    assert client.set("a", "1")
    assert client.get("a") == b"1"
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.lpush("a", "x")
    client.xadd("user.activity", {"x-correlation-id": "c-1", "data": "{}"})
    found = by_operation(wire)
    assert set(found) == {"SET a", "GET a", "LPUSH a", "XADD user.activity"}
    for (row,) in found.values():
        assert row["protocol"] == "resp"
        assert row["started_ns"] <= row["sent_ns"] <= row["forwarded_ns"] <= row["answered_ns"] <= row["ended_ns"]
        assert "error" not in row
    assert found["LPUSH a"][0]["response_headers"] == {"error": "WRONGTYPE"}
    assert found["XADD user.activity"][0]["request_headers"] == {"x-correlation-id": "c-1"}
    assert found["SET a"][0]["request_bytes"] == len(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")
    assert found["SET a"][0]["response_bytes"] == len(b"+OK\r\n")


def test_pipelines_transactions_and_scripts_pass(wire, client, server):
    with client.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"k{number}", number)
        assert pipe.execute() == [True] * 500
    with client.pipeline(transaction=True) as pipe:
        pipe.incr("n").incr("n").hset("h", mapping={"a": 1, "b": 2}).hgetall("h")
        assert pipe.execute() == [1, 2, 2, {b"a": b"1", b"b": b"2"}]
    assert client.eval("return {1, {2, 'x'}, redis.call('GET', KEYS[1])}", 1, "n") == [1, [2, b"x"], b"2"]
    assert client.get("missing") is None
    assert client.mget("k1", "missing", "k2") == [b"1", None, b"2"]
    assert server.dbsize() == 502
    found = by_operation(wire)
    assert len(found["SET k7"]) == len(found["MULTI"]) == len(found["EXEC"]) == len(found["EVAL"]) == 1
    assert wire.do("stats")["open"] == 0
    assert wire.do("stats")["opaque"] == {}


KINDS = ("string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "bignum")


def test_every_kind_of_answer_passes(wire, raw, link, server):
    def said(port):
        sock = raw(port)
        asked = "".join(f"DEBUG PROTOCOL {kind}\r\n" for kind in KINDS)
        sock.sendall(f"HELLO 3\r\n{asked}ECHO over\r\n".encode())
        got = b""
        while not got.endswith(b"$4\r\nover\r\n"):
            got += sock.recv(65536)
        return got[got.index(b"$11\r\nHello World") :]

    assert said(link) == said(server.connection_pool.connection_kwargs["port"])
    rows = by_operation(wire)["DEBUG PROTOCOL"]
    # `push` pushes beside its answer, so the count is right only where the pushed value was told from an answer
    assert [row.get("error") for row in rows] == [None] * len(KINDS)
    sizes = {kind: row["response_bytes"] for kind, row in zip(KINDS, rows, strict=True)}
    assert (sizes["integer"], sizes["null"], sizes["true"]) == (len(":12345\r\n"), len("_\r\n"), len("#t\r\n"))
    assert sizes["attrib"] > len("$39\r\n") + 39


def test_pub_sub_delivers_and_its_messages_are_attempts(wire, client):
    listener = client.pubsub()
    listener.subscribe("news", "weather")
    listener.psubscribe("n*")
    kinds = [listener.get_message(timeout=5)["type"] for _ in range(3)]
    assert kinds == ["subscribe", "subscribe", "psubscribe"]
    assert client.publish("news", "hello") == 2
    got = [listener.get_message(timeout=5) for _ in range(2)]
    assert sorted(one["type"] for one in got) == ["message", "pmessage"]
    listener.unsubscribe()
    listener.punsubscribe()
    assert [listener.get_message(timeout=5)["type"] for _ in range(3)].count("unsubscribe") == 2
    listener.close()
    found = by_operation(wire)
    assert len(found["PUBLISH news"]) == 1
    assert len(found["deliver news"]) == 2
    assert "error" not in found["deliver news"][0]


def test_polls_handshakes_and_passwords_are_not_recorded(wire, link, server):
    server.config_set("requirepass", "hunter2")
    try:
        with redis.Redis(port=link, password="hunter2", protocol=3, client_name="it", **NO_RETRY) as client:
            assert client.ping()
            assert client.blpop(["queue"], timeout=0.05) is None
            assert client.xread({"s": "$"}, block=20) in ([], {})
            client.set("a", 1)
            client.config_set("requirepass", "")
        assert [row["operation"] for row in wire.rows()] == ["SET a", "CONFIG SET"]
        assert b"hunter2" not in wire.spool.read_bytes()
    finally:
        with contextlib.suppress(redis.ResponseError):
            server.config_set("requirepass", "")


def test_silenced_replies_end_when_handed_on(wire, raw, link):
    sock = raw(link)
    sock.sendall(b"CLIENT REPLY OFF\r\nSET a 1\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nSET b 1\r\nGET a\r\n")
    got = b""
    while not got.endswith(b"$1\r\n1\r\n"):
        got += sock.recv(100)
    assert got == b"+OK\r\n$1\r\n1\r\n"
    assert [row["operation"] for row in wire.attempts(3)] == ["SET a", "SET b", "GET a"]


def test_monitor_goes_on_beside_commands(wire, raw, link, server):
    sock = raw(link)
    sock.sendall(b"MONITOR\r\n")
    assert sock.recv(100) == b"+OK\r\n"
    server.set("seen", "1")
    got = b""
    while b'"seen"' not in got:
        got += sock.recv(1000)
    assert wire.do("stats")["opaque"] == {}


def test_asyncio_clients_pass(link):
    async def run():
        async with redis.asyncio.Redis(port=link, protocol=3) as client:
            await asyncio.gather(*(client.set(f"k{number}", number) for number in range(50)))
            return await client.mget("k1", "k49")

    assert asyncio.run(run()) == [b"1", b"49"]


def test_a_value_of_64_mib_passes_both_ways_with_flat_memory(wire, client, server):
    status = Path(f"/proc/{wire.process.pid}/status")
    client.set("warm", "x")
    value = random.Random(3).randbytes(64 * 2**20)
    assert client.set("big", value)
    assert server.strlen("big") == len(value)
    assert client.get("big") == value
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak < 100_000, f"{peak} kB"
    (row,) = by_operation(wire)["SET big"]
    assert row["request_bytes"] > len(value)
    assert by_operation(wire)["GET big"][0]["response_bytes"] > len(value)


def test_a_client_that_does_not_read_slows_the_server_and_loses_nothing(wire, raw, link, server):
    value = b"v" * 2**20
    server.set("big", value)
    sock = raw(link)
    sock.sendall(b"GET big\r\n" * 100)
    status = Path(f"/proc/{wire.process.pid}/status")
    until(lambda: any(int(client["omem"]) > 10 * 2**20 for client in server.client_list()))
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak < 100_000, f"{peak} kB"
    got, whole = 0, 100 * len(b"$1048576\r\n" + value + b"\r\n")
    while got < whole:
        got += len(sock.recv(2**20))
    assert got == whole
    assert len(wire.attempts(100)) == 100


def test_resets_pass_both_ways(wire, raw, tcp_callee, rst):
    seen = []

    def handle(sock):
        if sock.recv(100).startswith(b"GET you"):
            rst(sock)
            return
        try:
            sock.recv(100)
        except ConnectionResetError:
            seen.append("reset")

    port = wire.link(tcp_callee(handle), name=LINK, protocol="resp")
    sock = raw(port)
    sock.sendall(b"GET you\r\n")
    with pytest.raises(ConnectionResetError):
        sock.recv(100)
    other = raw(port)
    other.sendall(b"GET me\r\n")
    until(lambda: wire.do("stats")["open"])
    rst(other)
    until(lambda: seen == ["reset"])
    rows = [(row["operation"], row["error"], row["closed_by"]) for row in wire.attempts(2)]
    assert rows == [("GET you", "reset", "callee"), ("GET me", "reset", "caller")]


def test_what_is_not_resp_is_relayed_counted_and_named(wire, raw, tcp_callee):
    def echo(sock):
        while data := sock.recv(65536):
            sock.sendall(data)

    port = wire.link(tcp_callee(echo), name=LINK, protocol="resp")
    hello = b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(256))
    sock = raw(port)
    sock.sendall(hello)
    got = b""
    while len(got) < len(hello):
        got += sock.recv(1000)
    assert got == hello
    sock.close()
    (attempt,) = wire.attempts()
    assert (attempt["protocol"], attempt["request_headers"]) == ("tcp", {"opaque": "TLS"})
    assert wire.do("stats")["opaque"] == {LINK: {"TLS": 1}}


def test_a_connection_that_a_byte_fault_ends_at_what_is_let_go_is_not_relayed_any_more(wire, raw, tcp_callee):
    client = raw(wire.link(tcp_callee(lambda sock: sock.recv(1)), name=LINK, protocol="resp"))
    held = {"id": "r1", "fault": "f1", "link": LINK, "kind": "hold", "operation": "SET k", "params": {"at": "request"}}
    gone = {"id": "r2", "fault": "f2", "link": LINK, "kind": "bytes.half_open",
            "params": {"stream": "upstream", "then": "reset"}}  # fmt: skip
    wire.do("install", schedule="held", owner="t", rules=[held])
    client.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
    until(lambda: wire.do("stats")["open"] == 1)
    wire.do("install", schedule="gone", owner="t", rules=[gone])
    client.sendall(b"\x01 no RESP at all\r\n")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: wire.do("stats")["connections"] == 0)
    assert [(one["operation"], one["error"]) for one in wire.rows()] == [("SET k", "reset")]
    assert wire.do("stats")["open"] == 0


def test_half_a_connection_and_half_a_command_pass(wire, raw, tcp_callee):
    def all_then_bye(sock):
        got = b""
        while data := sock.recv(65536):
            got += data
        sock.sendall(b"+" + str(len(got)).encode() + b"\r\n+half")

    sock = raw(wire.link(tcp_callee(all_then_bye), name=LINK, protocol="resp"))
    sock.sendall(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$10\r\nhal")
    sock.shutdown(socket.SHUT_WR)
    got = b""
    while data := sock.recv(100):
        got += data
    assert got == b"+35\r\n+half"


# what is done to it


def test_a_lost_answer_leaves_the_effect_exactly_once(wire, client, server, rule):
    client.get("warm")
    rule("answer_lost", "INCRBY n", when={"nth": [2]})
    assert client.incr("n") == 1
    with pytest.raises(redis.ConnectionError):
        client.incr("n")
    assert server.get("n") == b"2"
    assert client.incr("n") == 3
    rows = by_operation(wire)["INCRBY n"]
    assert [(row.get("error"), row.get("closed_by"), row.get("faults")) for row in rows] == [
        (None, None, None),
        ("reset", "wire", ["f1"]),
        (None, None, None),
    ]
    assert wire.lift()["r1"]["hits"] == 1


def test_a_lost_answer_that_hangs_times_the_client_out(wire, link, server, rule):
    with redis.Redis(port=link, retry=Retry(NoBackoff(), 0), socket_timeout=0.3) as client:
        client.get("warm")
        rule("answer_lost", "SET **", how="hang")
        with pytest.raises(redis.TimeoutError):
            client.set("a", "1")
        assert server.get("a") == b"1"
        row = until(lambda: by_operation(wire).get("SET a"))[0]
        assert (row["error"], row["closed_by"]) == ("eof", "caller")


def test_a_lost_answer_can_close(client, server, rule):
    client.get("warm")
    rule("answer_lost", "SET **", how="close")
    with pytest.raises(redis.ConnectionError, match="closed"):
        client.set("a", "1")
    assert server.get("a") == b"1"


def test_a_reset_before_the_work_leaves_none(wire, client, server, rule):
    client.get("warm")
    rule("reset", "SET **", at="request")
    with pytest.raises(redis.ConnectionError):
        client.set("a", "1")
    assert server.get("a") is None
    assert "forwarded_ns" not in by_operation(wire)["SET a"][0]


def test_a_reset_in_place_of_the_answer_leaves_the_work_done(wire, client, server, rule):
    client.get("warm")
    rule("reset", "INCRBY n", at="response")
    with pytest.raises(redis.ConnectionError):
        client.incr("n")
    assert server.get("n") == b"1"
    (row,) = by_operation(wire)["INCRBY n"]
    assert "forwarded_ns" in row
    assert "answered_ns" not in row


def test_a_library_that_retries_on_its_own_does_the_work_twice_and_both_are_seen(wire, link, server, rule):
    with redis.Redis(port=link, retry=Retry(NoBackoff(), 1)) as client:
        client.get("warm")
        rule("answer_lost", "INCRBY n", when={"nth": [1]})
        assert client.incr("n") == 2
    assert [row.get("error") for row in by_operation(wire)["INCRBY n"]] == ["reset", None]


def test_asyncio_clients_see_the_same_faults(link, server, rule):
    async def run():
        retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
        async with redis.asyncio.Redis(port=link, protocol=3, retry=retry) as client:
            await client.get("warm")
            rule("answer_lost", "EXEC")
            with pytest.raises(redis.ConnectionError):
                async with client.pipeline(transaction=True) as pipe:
                    await pipe.set("a", 1).incr("a").execute()

    asyncio.run(run())
    assert server.get("a") == b"2"


def test_a_reset_is_a_reset(raw, link, rule):
    rule("reset", "SET **")
    sock = raw(link)
    sock.sendall(b"SET a 1\r\n")
    with pytest.raises(ConnectionResetError):
        sock.recv(10)


def test_latency_delays_each_of_a_pipeline_by_the_same(client, rule):
    client.get("warm")
    rule("latency", "SET **", ms=150)
    before = time.monotonic()
    with client.pipeline(transaction=False) as pipe:
        for number in range(10):
            pipe.set(f"k{number}", number)
        pipe.get("k9")
        assert pipe.execute() == [True] * 10 + [b"9"]
    assert 0.15 <= time.monotonic() - before < 1.4


def test_a_held_answer_holds_those_behind_it_until_lifted(wire, raw, link, server, rule):
    sock = raw(link)
    sock.sendall(b"SET a 1\r\n")
    assert sock.recv(10) == b"+OK\r\n"
    rule("hold", "INCR a", ms=None)
    sock.sendall(b"INCR a\r\nGET a\r\n")
    until(lambda: server.get("a") == b"2")
    sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        sock.recv(10)
    sock.settimeout(5)
    wire.lift()
    got = b""
    while len(got) < len(b":2\r\n$1\r\n2\r\n"):
        got += sock.recv(100)
    assert got == b":2\r\n$1\r\n2\r\n"


def test_a_held_request_is_not_seen_by_the_server(wire, raw, link, server, rule):
    rule("hold", "SET a", ms=None, at="request")
    sock = raw(link)
    sock.sendall(b"GET b\r\nSET a 1\r\nSET b 1\r\n")
    assert sock.recv(10) == b"$-1\r\n"
    until(lambda: wire.do("rules")["rules"][0]["hits"])
    assert server.dbsize() == 0
    wire.lift()
    until(lambda: server.dbsize() == 2)


def test_a_caller_that_gives_up_ends_what_is_held(wire, raw, link, server, rule):
    rule("hold", "SET **", ms=None, at="request")
    sock = raw(link)
    sock.sendall(b"SET a 1\r\n")
    until(lambda: wire.do("rules")["rules"][0]["hits"])
    sock.close()
    (row,) = wire.attempts()
    assert (row["error"], row["closed_by"]) == ("eof", "caller")
    assert server.dbsize() == 0
    assert wire.do("stats")["open"] == 0


def test_truncated_answers_are_cut_in_the_middle(wire, raw, link, rule):
    rule("truncate", "GET **", bytes=3)
    sock = raw(link)
    sock.sendall(b"SET a 123456\r\nGET a\r\n")
    got = b""
    while data := sock.recv(100):
        got += data
    assert got == b"+OK\r\n$6\r"
    assert by_operation(wire)["GET a"][0]["error"] == "truncated"


def test_a_point_holds_one_command_until_released(wire, raw, link, server, rule):
    rule("point", "SET **", phase="before_send", when={"nth": [2]})
    sock = raw(link)
    sock.sendall(b"SET a 1\r\nSET b 1\r\n")
    event = wire.event()
    assert event["operation"] == "SET b"
    until(lambda: server.get("a") == b"1")
    assert server.get("b") is None
    wire.do("release", rule=event["rule"], attempt=event["attempt"])
    until(lambda: server.get("b") == b"1")


def test_deliveries_can_be_held_and_are_named(wire, client, rule):
    listener = client.pubsub()
    listener.subscribe("news")
    assert listener.get_message(timeout=5)["type"] == "subscribe"
    rule("hold", "deliver news", ms=None, at="request")
    client.publish("news", "one")
    assert listener.get_message(timeout=0.2) is None
    wire.lift()
    assert listener.get_message(timeout=5)["data"] == b"one"
    listener.close()


def test_polls_are_hit_by_rules_that_name_them_only(wire, client, rule):
    rule("answer_lost", when={"nth": [1]})
    assert client.blpop(["queue"], timeout=0.05) is None
    assert client.ping()
    wire.lift()
    rule("answer_lost", "BLPOP **")
    with pytest.raises(redis.ConnectionError):
        client.blpop(["queue"], timeout=0.05)
    assert by_operation(wire)["BLPOP queue"][0]["faults"] == ["f1"]


def test_what_cannot_be_done_to_frames_hits_nothing(wire, client, rule):
    rule("status", "**", code=503)
    assert client.set("a", "1")
    assert wire.lift()["r1"]["hits"] == 0


def test_a_server_that_is_not_there_is_refused(wire, raw):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    port = wire.link(address, name=LINK, protocol="resp")
    with contextlib.suppress(ConnectionResetError):  # as early as in connect, if the callee is quick to refuse
        sock = raw(port)
        sock.sendall(b"SET a 1\r\n")
        sock.recv(1)
    (row,) = wire.attempts()
    assert row["error"] == "refused"
    assert "forwarded_ns" not in row


COMMANDS = (
    ("SET", "a", "value"), ("GET", "a"), ("MULTI",), ("XADD", "s", "*", "f", "abc"), ("EXEC",), ("SUBSCRIBE", "c"),
    ("HELLO", "3"), ("CLIENT", "REPLY", "SKIP"), ("LPUSH", "a", "x"),
)  # fmt: skip
GOOD = b"PING\r\n" + b"".join(
    b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
    for words in COMMANDS
)


def test_two_thousand_mutated_streams_hurt_nobody(wire, link, client):
    dice, memory = random.Random(8), []
    rss = Path(f"/proc/{wire.process.pid}/statm")
    for number in range(2000):
        broken = bytearray(GOOD)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(broken))
            broken[at : at + dice.randrange(4)] = dice.randbytes(dice.randrange(6))
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", link), 5) as sock:
            sock.sendall(broken)
            if number % 3:
                sock.shutdown(socket.SHUT_WR)
            if number % 3 == 1:
                sock.settimeout(5)
                while sock.recv(65536):  # ends with the server's own end: a hang would be a time-out
                    pass
        if number % 20 == 0:
            assert client.set("good", number)
            assert client.get("good") == str(number).encode()
        if number in (999, 1999):
            memory.append(int(rss.read_text().split()[1]))
    until(lambda: wire.do("stats")["connections"] <= 1)
    until(lambda: wire.do("stats")["open"] == 0)
    assert memory[1] < memory[0] * 1.1
    assert len(wire.rows()) >= 2000
    assert set(wire.do("stats")["opaque"].get(LINK, {})) <= {"TLS", "no RESP", "replication", "a line without end"}


def test_a_bad_protocol_is_refused_with_those_there_are(wire):
    for bad in ("redis", 7, ["resp"]):
        answer = wire.ask("open_link", name="a -> b", listen_host="127.0.0.1", upstream=None, protocol=bad)
        assert not answer["ok"]
        assert "protocol=" in answer["error"]
        assert "resp" in answer["error"]
    answer = wire.ask(
        "open_link", name="a -> b", listen_host="127.0.0.1", upstream=None, protocol="resp", operations={}
    )
    assert "a stub speaks HTTP" in answer["error"]
