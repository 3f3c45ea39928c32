"""A real RabbitMQ behind a link that wire reads, and a client that says exactly what it is told to."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path

from pamqp import body, commands, frame, header

from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.rabbitmq.queues import Queues, Waiting
from tests.conformance.brokers.conftest import Running

LINK = "orders -> bus"
WAIT_S = 8.0
EMPTY = Waiting(ready=0, unacked=0)


class Rabbit:
    """The broker, and its own word on what waits in its queues."""

    def __init__(self, folder):
        self.running = Running(RabbitMQ("bus"), folder)
        self.running.start()
        self.port = self.running.plan.ports["tcp"]
        self.upstream = f"127.0.0.1:{self.port}"
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.running.plan.direct).query))
        self._home, self._dist = query["home"], int(query["dist"])
        self._queues = Queues(home=self._home, dist_port=self._dist)

    def waiting(self, queue):
        """What the broker says of a queue."""
        return (self._queues.count() or {}).get(queue, EMPTY)

    def until(self, queue, **counts):
        """Wait until a queue holds so many ``ready`` and ``unacked`` messages (0 where unnamed)."""
        wanted, deadline = Waiting(**{"ready": 0, "unacked": 0, **counts}), time.monotonic() + WAIT_S
        while (now := self.waiting(queue)) != wanted:
            assert time.monotonic() < deadline, (queue, now)
            time.sleep(0.02)

    def control(self, *words):
        """Run rabbitmqctl on it."""
        env = {
            **os.environ, "RABBITMQ_NODENAME": "r@localhost",
            "RABBITMQ_CTL_ERL_ARGS": f"-start_epmd false -erl_epmd_port {self._dist} -dist_listen false",
        }  # fmt: skip
        cookie = (Path(self._home) / ".erlang.cookie").read_text()  # the tool runs as another user
        command = ["rabbitmqctl", "--erlang-cookie", cookie, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self):
        self._queues.close()
        self.running.close()


class Closed(Exception):  # noqa: N818 - it says what came
    """The connection has ended; ``reset``: with RST."""

    def __init__(self, reset):
        super().__init__(f"reset={reset}")
        self.reset = reset


class Raw:
    """A client of one connection, with as many channels as are opened."""

    def __init__(self, port, channels=1, **properties):
        self._sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self._sock.settimeout(WAIT_S)
        self._in = b""
        self._sock.sendall(b"AMQP\0\0\x09\x01")
        self.hear("Connection.Start", 0)
        says = commands.Connection.StartOk(client_properties=properties, mechanism="PLAIN", response="\0guest\0guest")
        self.say(says, 0)
        tune = self.hear("Connection.Tune", 0)
        self.say(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0), 0)
        self.ask(commands.Connection.Open(), 0)
        for channel in range(1, channels + 1):
            self.ask(commands.Channel.Open(), channel)

    def close(self):
        self._sock.close()

    def send(self, data):
        self._sock.sendall(data)

    def say(self, command, channel=1):
        self.send(frame.marshal(command, channel))

    def ask(self, command, channel=1):
        """Say something and give its answer."""
        self.say(command, channel)
        return self.hear(command.valid_responses and command.valid_responses[0], channel)

    def publish(self, queue, *bodies, exchange="", channel=1, mandatory=False, **properties):
        """Publish, all in one write."""
        said = b""
        for data in bodies:
            publish = commands.Basic.Publish(exchange=exchange, routing_key=queue, mandatory=mandatory)
            head = header.ContentHeader(body_size=len(data), properties=commands.Basic.Properties(**properties))
            said += frame.marshal(publish, channel) + frame.marshal(head, channel)
            said += frame.marshal(body.ContentBody(data), channel)
        self.send(said)

    def large(self, queue, parts):
        """Publish one message whose body comes in so many frames."""
        publish = commands.Basic.Publish(exchange="", routing_key=queue)
        head = header.ContentHeader(body_size=sum(map(len, parts)), properties=commands.Basic.Properties())
        said = [publish, head, *map(body.ContentBody, parts)]
        self.send(b"".join(frame.marshal(one, 1) for one in said))

    def next(self, timeout_s=WAIT_S):
        """Give the next frame and its channel; raise Closed, or TimeoutError after ``timeout_s``."""
        self._sock.settimeout(timeout_s)
        while True:
            if len(self._in) >= 7 and len(self._in) >= 8 + int.from_bytes(self._in[3:7], "big"):
                size, channel, said = frame.unmarshal(self._in)
                self._in = self._in[size:]
                return channel, said
            try:
                more = self._sock.recv(65536)
            except ConnectionResetError:
                raise Closed(True) from None
            if not more:
                raise Closed(False)
            self._in += more

    def hear(self, name, channel=1):
        """Give the next frame, which must be of this name and channel."""
        heard, said = self.next()
        assert (heard, said.name) == (channel, name), (heard, said.name, said)
        return said

    def message(self, name="Basic.Deliver", channel=1):
        """Give the method that brings the next message, and its body."""
        method, head = self.hear(name, channel), self.hear("ContentHeader", channel)
        data = b""
        while len(data) < head.body_size:
            data += self.hear("ContentBody", channel).value
        return method, data

    def silent(self, for_s=0.3):
        """Whether nothing comes."""
        with contextlib.suppress(TimeoutError):
            _, said = self.next(for_s)
            return said
        return True

    def ended(self):
        """Read up to the connection's end; whether it was a reset, and what came before."""
        heard = []
        while True:
            try:
                heard.append(self.next()[1].name)
            except Closed as closed:
                return closed.reset, heard
