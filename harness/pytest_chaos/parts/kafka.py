"""Kafka: the jars of an installation (KAFKA_HOME), else fetched once by their Maven coordinates into the cache.

The cache folder ``kafka-<version>`` holds ``libs/*.jar``, ``app.jsa`` (a class-data archive: the JVM starts in half the
time), ``template/`` (a formatted log folder to copy) and ``cluster-id``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import _debian, _kafka_warm, java
from pytest_chaos.parts._kafka_warm import JVM_OPTIONS, class_path
from pytest_chaos.parts._part import Log, Part, cache_dir
from pytest_chaos.parts._tools import move_into_place, run, scratch, which

__all__ = ["BY_DEFAULT", "JVM_OPTIONS", "NAME", "VERSION", "Warm", "class_path", "fetch", "find", "warm"]

NAME = "kafka"
BY_DEFAULT = True
VERSION = "4.1.0"
_HOW = "run `pytest-chaos setup kafka` (needs Maven), or set KAFKA_HOME to an unpacked Kafka 4.x"
_MAVEN_S = 600.0
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>kafka-libs</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """What makes a broker start fast; each is absent until it was prepared."""

    archive: Path | None
    """AppCDS archive for ``-XX:SharedArchiveFile``; goes with JVM_OPTIONS and class_path()."""
    template: Path | None
    """A formatted log folder (node id 1, static quorum) to copy."""
    cluster_id: str | None


def find(environ: Mapping[str, str]) -> Part:
    """Look for Kafka's jars in KAFKA_HOME, then in the cache; ``found`` is the folder that holds them."""
    homes = [Path(home)] if (home := environ.get("KAFKA_HOME")) else []
    for folder in [home / "libs" for home in (*homes, _home(environ))]:
        clients = next(folder.glob("kafka-clients-*.jar"), None) if folder.is_dir() else None
        if clients is not None:
            return Part(name=NAME, found=str(folder), version=_version(clients), how_to_get=_HOW)
    return Part(name=NAME, found=None, version=None, how_to_get=_HOW)


def warm(environ: Mapping[str, str]) -> Warm:
    """Look for what fetch() prepared for the jars that find() gives."""
    found = find(environ).found
    home = _home(environ)
    if found is None or Path(found).parent != home:
        return Warm(archive=None, template=None, cluster_id=None)
    archive, template, cluster_id = home / "app.jsa", home / "template", home / "cluster-id"
    return Warm(
        archive=archive if archive.is_file() else None,
        template=template if template.is_dir() else None,
        cluster_id=cluster_id.read_text().strip() if cluster_id.is_file() else None,
    )


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Fetch the jars with Maven, prepare template and archive; raise PartMissing when they cannot be had."""
    java.fetch(environ, log)
    program = str(java.find(environ).require())
    home = _home(environ)
    if find(environ).found is None:
        _fetch_jars(home, environ, log)
    if Path(find(environ).require()).parent != home:
        return
    if not (home / "template").is_dir() or not (home / "cluster-id").is_file():
        log("formatting a Kafka log folder to copy from")
        _kafka_warm.make_template(home, program, environ)
    if not (home / "app.jsa").is_file():
        log("starting Kafka once to record its classes (AppCDS)")
        _kafka_warm.make_archive(home, program, environ)


def _fetch_jars(home: Path, environ: Mapping[str, str], log: Log) -> None:
    maven = which("mvn", environ)
    if maven is None:
        _debian.install(["maven"], environ=environ, log=log, otherwise=_HOW)
        maven = which("mvn", environ)
    if maven is None:
        raise PartMissing(_HOW)
    log(f"mvn dependency:copy-dependencies of org.apache.kafka:kafka_2.13:{VERSION}")
    with scratch(home.parent) as folder:
        (folder / "pom.xml").write_text(_POM)
        argv = [maven, "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
        run(argv, environ=environ, timeout_s=_MAVEN_S, cwd=folder)
        move_into_place(folder / "libs", home / "libs")


def _home(environ: Mapping[str, str]) -> Path:
    return cache_dir(environ) / f"kafka-{VERSION}"


def _version(clients: Path) -> str | None:
    """Read the version where Kafka itself reads it from."""
    with zipfile.ZipFile(clients) as jar, jar.open("kafka/kafka-version.properties") as lines:
        for line in lines.read().decode().splitlines():
            if line.startswith("version="):
                return line.removeprefix("version=")
    return None
