"""The engine against a real toxiproxy-server: what it does to bytes, what it refuses, how every undo ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time

import pytest

from pytest_chaos.errors import FaultError, PartMissing
from pytest_chaos.injectors.toxiproxy import Toxiproxy, ToxiproxyClient, Wedged, server_plan
from pytest_chaos.injectors.toxiproxy.client import Exists, Invalid, NotFound, PortInUse, ServerGone, Toxic
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.fault import ByteFault

LINK = "orders -> inventory"


class Server:
    """A toxiproxy-server of the test's own, restartable on its port."""

    def __init__(self) -> None:
        self.plan = server_plan(os.environ, free_port())
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        self.process = subprocess.Popen(self.plan.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.starts += 1
        wait_open(self.plan.port)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)

    async def restart(self) -> None:
        self.kill()
        await asyncio.to_thread(self.start)


class Echo:
    """Answers with what it was sent, or with as many bytes as it can when asked to flood."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                if data.startswith(b"flood"):
                    connection.sendall(b"x" * 64_000_000)
                connection.sendall(data)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_open(port: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        threading.Event().wait(0.01)
    raise AssertionError(port)


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), 5)


def ask(address: str, data: bytes = b"hello") -> tuple[bytes, float]:
    began = time.monotonic()
    with connect(address) as connection:
        connection.settimeout(5)
        connection.sendall(data)
        return connection.recv(1024), time.monotonic() - began


@pytest.fixture
def server():
    try:
        one = Server()
    except PartMissing as missing:
        pytest.skip(str(missing))
    one.start()
    yield one
    one.kill()


@pytest.fixture
def echo():
    one = Echo()
    yield one
    one.close()


def fault(toxic: str, stream: str = "downstream", **attributes: int) -> ByteFault:
    return ByteFault(id="f1.1", fault="f1", link=LINK, toxic=toxic, stream=stream, attributes=attributes)


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_latency_acts_while_it_is_applied_and_its_undo_is_proved(server, echo):
    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        assert await engine.version() == "2.12.0"
        address = await engine.add_link(LINK, echo.address)
        step = engine.step(fault("latency", latency=200, jitter=0))
        _, before = await asyncio.to_thread(ask, address)
        await step.apply()
        answer, during = await asyncio.to_thread(ask, address)
        proof = await step.undo()
        _, after = await asyncio.to_thread(ask, address)
        assert answer == b"hello"
        assert before < 0.15
        assert during >= 0.2
        assert after < 0.15
        assert "lists no f1.1" in proof
        assert await step.undo() == proof, "an undo may be asked for twice"
        assert server.starts == 1

    run(story())


def test_a_wedged_server_is_restarted_on_its_ports_with_what_it_had(server, echo):
    """A latency toxic and a client that does not read: the server's control plane never answers again."""

    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        address = await engine.add_link(LINK, echo.address)
        other = await engine.add_link("users -> orders", echo.address)
        step = engine.step(fault("latency", latency=50, jitter=0))
        stays = ByteFault(id="f2.1", fault="f2", link="users -> orders", toxic="latency", attributes={"latency": 150})
        await engine.step(stays).apply()
        await step.apply()
        with connect(address) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"flood")
            await asyncio.sleep(0.5)
            began = time.monotonic()
            with pytest.raises(Exception, match="no answer within") as wedged:
                await step.undo()
            assert type(wedged.value).__name__ == "UndoError"
            proof = await step.escalate()
            assert time.monotonic() - began < 5.0
        assert "after its restart" in proof
        assert server.starts == 2
        assert (await asyncio.to_thread(ask, address))[1] < 0.15
        assert (await asyncio.to_thread(ask, other))[1] >= 0.15, "the other fault came back with the server"

    run(story())


def test_a_wedge_is_told_apart_from_a_server_that_is_gone(server, echo):
    client = ToxiproxyClient(server.plan.address)
    proxy = client.create("a", listen="127.0.0.1:0", upstream=echo.address)
    client.add_toxic("a", Toxic(name="t", type="latency", attributes={"latency": 10}))
    with connect(proxy.listen) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"flood")
        threading.Event().wait(0.5)
        with pytest.raises(Wedged):
            client.remove_toxic("a", "t", timeout_s=0.5)
    server.kill()
    with pytest.raises(ServerGone):
        client.version()


def test_the_servers_refusals_have_names(server, echo):
    client = ToxiproxyClient(server.plan.address)
    client.create("a name > with signs", listen="127.0.0.1:0", upstream=echo.address)
    with pytest.raises(Exists):
        client.create("a name > with signs", listen="127.0.0.1:0", upstream=echo.address)
    taken = echo.address
    with pytest.raises(PortInUse):
        client.create("b", listen=taken, upstream=echo.address)
    with pytest.raises(NotFound):
        client.remove_toxic("a name > with signs", "none")
    with pytest.raises(Invalid):
        client.add_toxic("a name > with signs", Toxic(name="t", type="latency", stream="sideways"))
    client.delete("a name > with signs")
    assert client.proxies() == {}


def test_a_proxy_gets_its_toxics_before_its_first_connection(server, echo):
    client = ToxiproxyClient(server.plan.address)
    made = client.create("a", listen=f"127.0.0.1:{free_port()}", upstream=echo.address, enabled=False)
    client.add_toxic("a", Toxic(name="t", type="latency", attributes={"latency": 150}))
    with pytest.raises(ConnectionRefusedError):
        connect(made.listen)
    client.update("a", enabled=True)
    assert ask(made.listen)[1] >= 0.15
    changed = client.update_toxic("a", Toxic(name="t", type="latency", attributes={"latency": 1}))
    assert changed.attributes["latency"] == 1
    assert ask(made.listen)[1] < 0.15


def test_resetting_a_proxy_ends_its_open_connections(server, echo):
    client = ToxiproxyClient(server.plan.address)
    made = client.create("a", listen="127.0.0.1:0", upstream=echo.address)
    with connect(made.listen) as open_one:
        open_one.sendall(b"hello")
        assert open_one.recv(5) == b"hello"
        client.reset_existing("a")
        open_one.settimeout(2)
        assert open_one.recv(5) == b""
    assert client.proxy("a").listen == made.listen
    assert ask(made.listen)[0] == b"hello"


def test_limit_data_cuts_the_answer_and_counts_as_bytes_of_an_ended_connection(server, echo):
    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        address = await engine.add_link(LINK, echo.address)
        step = engine.step(fault("limit_data", bytes=3))
        await step.apply()
        assert (await step.seen())["f1"].hits == 0, "nothing went through yet"
        answer, _ = await asyncio.to_thread(ask, address)
        assert answer == b"hel"
        await step.undo()
        seen = (await step.seen())["f1"]
        assert seen.hits == 1
        assert "bytes downstream" in seen.proof

    run(story())


def test_what_wire_saw_counts_requests(server, echo):
    async def traffic(link, from_ns, to_ns):
        moment = from_ns + 1000
        return [
            Attempt(
                id="a1", link=link, connection="c1", reused=False, protocol="grpc",
                connected_ns=moment, started_ns=moment,
                forwarded_ns=moment, answered_ns=moment + 5, ended_ns=moment + 9, response_bytes=70,
            )
        ]  # fmt: skip

    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart, traffic=traffic)
        await engine.add_link(LINK, echo.address)
        step = engine.step(fault("latency", latency=5))
        assert (await step.seen())["f1"].hits == 0
        await step.apply()
        seen = (await step.seen())["f1"]
        assert (seen.hits, "70 bytes" in seen.proof) == (1, True)
        await step.undo()

    run(story())


def test_a_link_can_be_pointed_elsewhere(server, echo):
    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        address = await engine.add_link(LINK, "127.0.0.1:1")
        assert await engine.add_link(LINK, echo.address) == address
        assert (await asyncio.to_thread(ask, address))[0] == b"hello"

    run(story())


def test_a_fault_on_a_link_without_a_proxy_is_refused_with_what_to_do(server):
    engine = Toxiproxy(server.plan.address, restart=server.restart)
    with pytest.raises(FaultError, match="toxiproxy="):
        engine.step(fault("latency", latency=1))


@pytest.fixture
def stuck():
    """A listener whose accept queue is full: whoever dials it waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as open_:
        for _ in range(8):
            filler = open_.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        threading.Event().wait(0.05)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_dial_that_hangs_wedges_the_server_and_it_is_replaced_whatever_is_asked_next(server, echo, stuck):
    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        address = await engine.add_link(LINK, stuck)
        other = await engine.add_link("users -> orders", echo.address)
        with connect(address) as waiting:
            waiting.sendall(b"hello")
            await asyncio.sleep(0.2)
            began = time.monotonic()
            assert await engine.add_link(LINK, echo.address) == address
            assert time.monotonic() - began < 5.0
        assert server.starts == 2, "the wedge was there"
        assert (await asyncio.to_thread(ask, address))[0] == b"hello"
        assert (await asyncio.to_thread(ask, other))[0] == b"hello"

    run(story())


def test_a_wedged_server_that_is_to_get_one_more_proxy_is_replaced(server, echo, stuck):
    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        address = await engine.add_link(LINK, stuck)
        with connect(address) as waiting:
            waiting.sendall(b"hello")
            await asyncio.sleep(0.2)
            with pytest.raises(Wedged):
                await asyncio.to_thread(engine.client.delete, engine._links[LINK].proxy, timeout_s=0.5)
            other = await engine.add_link("users -> orders", echo.address)
        assert server.starts == 2, "the wedge was there"
        assert (await asyncio.to_thread(ask, other))[0] == b"hello"
        assert (await asyncio.to_thread(engine.client.proxy, engine._links[LINK].proxy)).upstream == stuck

    run(story())


def test_a_reset_that_was_given_up_does_not_keep_a_new_server_from_its_proxies(server, echo):
    """The thread of a call that was cancelled goes on, and may recreate a proxy before the repair does."""

    async def story():
        engine = Toxiproxy(server.plan.address, restart=server.restart)
        address = await engine.add_link(LINK, echo.address)
        await asyncio.to_thread(engine.client.update, LINK, upstream="127.0.0.1:9")
        await asyncio.to_thread(engine._restore, engine._links[LINK])
        assert await engine.prove_reset()
        assert (await asyncio.to_thread(ask, address))[0] == b"hello"

    run(story())
