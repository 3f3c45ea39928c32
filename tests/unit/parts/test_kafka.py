from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pytest_chaos.parts import kafka


def installed(home, version):
    libs = Path(home) / "libs"
    libs.mkdir(parents=True)
    with zipfile.ZipFile(libs / f"kafka-clients-{version}.jar", "w") as jar:
        jar.writestr("kafka/kafka-version.properties", f"commitId=abc\nversion={version}\n")
    return libs


@pytest.fixture
def cached(bare):
    return installed(Path(bare["PYTEST_CHAOS_CACHE"]) / f"kafka-{kafka.VERSION}", kafka.VERSION)


def test_cached_jars_are_found_with_the_version_they_carry(bare, cached):
    part = kafka.find(bare)
    assert (part.found, part.version) == (str(cached), kafka.VERSION)


def test_kafka_home_wins_over_the_cache(bare, cached, tmp_path):
    own = installed(tmp_path / "own", "4.0.1")
    part = kafka.find({**bare, "KAFKA_HOME": str(own.parent)})
    assert (part.found, part.version) == (str(own), "4.0.1")


def test_nothing_is_warm_before_it_was_prepared(bare, cached):
    warm = kafka.warm(bare)
    assert (warm.archive, warm.template, warm.cluster_id) == (None, None, None)


def test_what_was_prepared_is_given(bare, cached):
    home = cached.parent
    (home / "template").mkdir()
    (home / "cluster-id").write_text("abc\n")
    (home / "app.jsa").touch()
    warm = kafka.warm(bare)
    assert (warm.archive, warm.template, warm.cluster_id) == (home / "app.jsa", home / "template", "abc")


def test_the_archive_is_not_used_with_somebody_s_own_kafka(bare, cached, tmp_path):
    (cached.parent / "app.jsa").touch()
    own = installed(tmp_path / "own", "4.0.1")
    assert kafka.warm({**bare, "KAFKA_HOME": str(own.parent)}).archive is None


def test_the_class_path_has_one_order(cached):
    for name in ("z.jar", "a.jar"):
        (cached / name).touch()
    assert [Path(jar).name for jar in kafka.class_path(cached).split(":")] == [
        "a.jar", f"kafka-clients-{kafka.VERSION}.jar", "z.jar",
    ]  # fmt: skip
