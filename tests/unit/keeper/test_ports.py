"""Ports: free, outside the ephemeral range, never handed out twice on one machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_chaos.errors import StackError
from pytest_chaos.keeper import ports
from pytest_chaos.keeper.ports import Ports


@pytest.fixture
def pool() -> Iterator[Ports]:
    pool = Ports()
    yield pool
    pool.close()


def test_ports_are_free_distinct_and_below_the_ephemeral_range(pool: Ports) -> None:
    taken = [pool.take() for _ in range(50)]
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(taken)) == 50
    assert all(ports.free(port) for port in taken)
    assert max(taken) < lowest


def test_two_keepers_never_hold_the_same_port(pool: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Ports()
    monkeypatch.setattr(pool, "_span", (20_100, 20_160))
    monkeypatch.setattr(other, "_span", (20_100, 20_160))
    assert not {pool.take() for _ in range(20)} & {other.take() for _ in range(20)}
    other.close()


def test_a_port_that_somebody_listens_on_is_not_given(pool: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not ports.free(port)
        monkeypatch.setattr(pool, "_span", (port, port + 40))
        given = set()
        with pytest.raises(StackError, match="no free port"):  # noqa: PT012 - until there is none left
            while True:
                given.add(pool.take())
    assert given
    assert port not in given


def test_a_port_given_back_can_be_had_again(pool: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    port = pool.take()
    pool.give_back(port)
    monkeypatch.setattr(pool, "_span", (port, port))
    assert pool.take() == port
