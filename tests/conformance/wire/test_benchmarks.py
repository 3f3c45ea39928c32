"""The benchmarks' own loads reach their server through wire, whole, as they do directly; a broken one is an error."""

from __future__ import annotations

import socket
import threading

import pytest

from benchmarks.hop.contenders import Contender, wire
from benchmarks.hop.measure import load, server
from benchmarks.hop.processes import free_port
from pytest_chaos.errors import StackError


@pytest.mark.parametrize("kind", ["http1", "grpc_traced"])
def test_a_load_is_answered_through_wire(kind, tmp_path):
    with server(kind) as port, wire(kind, port, str(tmp_path)) as ours:
        found = load(kind, ours, seconds=0.1, connections=2, depth=2 if kind != "http1" else 1)
        assert found["rate"] > 0
        assert found["cpu_us"] > 0


def test_a_load_that_nobody_answers_is_an_error():
    with pytest.raises(StackError, match=r"http1: .*[Cc]onnect"):
        load("http1", Contender(name="nobody", port=free_port()), seconds=0.1)


def test_a_load_whose_connection_breaks_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept_and_close, args=(listener,), daemon=True).start()
        with pytest.raises(StackError, match="grpc: the connection was lost"):
            load("grpc", Contender(name="rude", port=listener.getsockname()[1]), seconds=0.1)


def accept_and_close(listener):
    listener.accept()[0].close()
