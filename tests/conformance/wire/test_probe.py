"""The harness's own look through a link tells whether the callee takes connections, and leaves no trace."""

from __future__ import annotations

import socket

import httpx
import pytest


def look(wire, port):
    """Look through the link; give what came back: nothing (a FIN), or raise."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        wire.do("probe", name="orders -> payments", port=probe.getsockname()[1])
        probe.settimeout(5)
        probe.connect(("127.0.0.1", port))
        return probe.recv(1)


def test_a_look_through_a_link_is_no_attempt_and_no_rule_sees_it(wire, callee):
    port = wire.link(callee.address)
    wire.rule("accept_close")
    assert look(wire, port) == b""
    assert wire.lift()["r1"]["hits"] == 0
    wire.rule("slow_connect", ms=60_000)
    assert look(wire, port) == b""
    assert wire.lift()["r1"]["hits"] == 0
    assert httpx.get(f"http://127.0.0.1:{port}").status_code == 200
    wire.attempts(1)


def test_a_callee_that_is_not_there_resets_it(wire):
    port = wire.link("127.0.0.1:1")
    with pytest.raises(ConnectionResetError):
        look(wire, port)
    assert wire.do("stats")["connections"] == 0
    wire.attempts(0)


def test_it_is_one_connection_and_only_from_there(wire, callee):
    port = wire.link(callee.address)
    wire.do("probe", name="orders -> payments", port=1)
    assert httpx.get(f"http://127.0.0.1:{port}").status_code == 200
    wire.attempts(1)


def test_a_link_can_be_opened_on_a_port_of_ones_choice(wire, callee):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = {"name": "a -> b", "listen_host": "127.0.0.1", "upstream": callee.address}
        assert f"port={port}: cannot listen there" in wire.ask("open_link", **told, port=port)["error"]
    assert wire.do("open_link", **told, port=port)["port"] == port
    refused = wire.ask("open_link", **told | {"name": "c"}, port=65536)["error"]
    assert refused == "port=65536: must be a whole number from 0 (any) to 65535"
