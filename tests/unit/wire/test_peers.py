"""Orders are taken from this user and root, as the kernel tells who connected."""

from __future__ import annotations

import os
import socket

import pytest

from pytest_chaos.wire.peers import stranger


@pytest.fixture
def end():
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        yield one


def test_ones_own_process_is_no_stranger(end):
    assert stranger(end) == ""


def test_somebody_else_is_one_and_is_told_so(end, monkeypatch):
    monkeypatch.setattr("pytest_chaos.wire.peers._ROOT", -1)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert stranger(end).endswith("may not give orders here, only user 4711")


def test_what_cannot_be_told_is_left_to_the_sockets_mode(end, monkeypatch):
    assert stranger(None) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert stranger(end) == ""
