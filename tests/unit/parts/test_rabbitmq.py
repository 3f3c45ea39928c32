from __future__ import annotations

from pathlib import Path

import pytest

from pytest_chaos.parts import _rabbitmq_warm, rabbitmq


@pytest.fixture
def installed(bare, tmp_path):
    """An installation whose script is linked from the PATH."""
    home = tmp_path / "rabbit"
    (home / "sbin").mkdir(parents=True)
    (home / "escript").mkdir()
    (home / "sbin" / "rabbitmq-server").write_text("#!/bin/sh\n")
    (home / "sbin" / "rabbitmq-server").chmod(0o755)
    for plugin in ("rabbit-3.12.1", "rabbit_common-3.12.1", "rabbitmq_management-3.12.1", "ra-2.4.5", "ranch-2.1.0"):
        (home / "plugins" / plugin / "ebin").mkdir(parents=True)
    app = home / "plugins" / "rabbit-3.12.1" / "ebin" / "rabbit.app"
    app.write_text('{application, rabbit, [{description, "RabbitMQ"}, {vsn, "3.12.1"}]}.\n')
    Path(bare["PATH"], "rabbitmq-server").symlink_to(home / "sbin" / "rabbitmq-server")
    return home


def test_the_real_script_is_found_with_the_version_its_application_declares(bare, installed):
    part = rabbitmq.find(bare)
    assert (part.found, part.version) == (str(installed / "sbin" / "rabbitmq-server"), "3.12.1")


def test_the_slim_home_holds_only_what_a_plain_broker_loads(bare, installed, tmp_path):
    _rabbitmq_warm.make_home(tmp_path / "made", installed)
    home = tmp_path / "made" / "home"
    links = {path.name for path in (home / "plugins").iterdir()}
    assert links == {"rabbit-3.12.1", "rabbit_common-3.12.1", "ra-2.4.5", "ranch-2.1.0"}
    assert (home / "sbin" / "rabbitmq-server").is_file()
    assert (home / "escript").is_dir()


def test_warm_belongs_to_the_installed_version(bare, installed):
    cache = Path(bare["PYTEST_CHAOS_CACHE"])
    (cache / "rabbitmq-3.10.8" / "home").mkdir(parents=True)
    assert rabbitmq.warm(bare).home is None
    (cache / "rabbitmq-3.12.1" / "home").mkdir(parents=True)
    assert rabbitmq.warm(bare).home == cache / "rabbitmq-3.12.1" / "home"


def test_a_node_writes_below_its_folders_and_listens_on_loopback(tmp_path):
    own = rabbitmq.node_environ({}, data=tmp_path, mnesia=tmp_path / "db", amqp_port=1111, dist_port=2222)
    paths = [value for value in own.values() if value.startswith("/")]
    assert paths
    assert all(Path(value).is_relative_to(tmp_path) for value in paths)
    assert own["RABBITMQ_NODE_IP_ADDRESS"] == "127.0.0.1"
    assert "inet_dist_use_interface {127,0,0,1}" in own["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    assert "-start_epmd false" in own["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
