from __future__ import annotations

import os

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import _debian


@pytest.fixture
def policy(tmp_path, monkeypatch):
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(_debian, "_POLICY", path)
    return path


def test_where_there_is_no_apt_the_way_out_is_told(bare):
    with pytest.raises(PartMissing, match="do it by hand"):
        _debian.install(["x"], environ=bare, log=print, otherwise="do it by hand")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs")
def test_services_may_not_start_while_installing_and_the_policy_goes_away(bare, policy, tmp_path):
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text(f'#!/bin/sh\n"{policy}"; echo $? "$@" >> "{tmp_path}/seen"\n')
    apt.chmod(0o755)
    _debian.install(["redis-server"], environ=bare, log=print, otherwise="")
    assert (tmp_path / "seen").read_text() == "101 install -q -y --no-install-recommends redis-server\n"
    assert not policy.exists()


def test_a_policy_that_the_machine_has_is_left_alone(policy):
    policy.write_text("theirs")
    with _debian._nothing_starts():
        pass
    assert policy.read_text() == "theirs"
