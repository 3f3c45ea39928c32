"""A kept node is stale when its spec, what it inherits or its sources have changed, and not otherwise."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from pytest_chaos.keeper.fingerprint import fingerprint
from pytest_chaos.model.plan import NodeSpec, StackSpec


def digest(node: NodeSpec, project: Path, environ: dict[str, str] | None = None) -> str:
    return fingerprint(node, StackSpec(nodes=(node,), links=(), project=str(project)), environ or {})


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("main.py", "helper.py", "shop/__init__.py", "shop/orders/__main__.py", "conf/a.toml", "other/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "watch", "stale", "same"),
    [
        (("python", "main.py"), (), ["main.py", "helper.py"], ["other/x.py"]),
        (("python", "-m", "shop.orders"), (), ["shop/orders/__main__.py"], ["main.py"]),
        (("python", "main.py"), ("conf",), ["conf/a.toml"], ["main.py"]),
        (("python", "-c", "a.b\n" * 3000), (), [], ["main.py"]),
        (("sh", "-c", "python main.py"), (), ["main.py", "other/x.py"], []),
        (("npm", "start"), (), ["main.py", "conf/a.toml"], []),
    ],
)
def test_its_own_sources_make_it_stale(
    project: Path, command: tuple[str, ...], watch: tuple[str, ...], stale: list[str], same: list[str]
) -> None:
    node = NodeSpec(name="n", kind="service", command=command, watch=watch)
    for name in same:
        before = digest(node, project)
        touch(project / name)
        assert digest(node, project) == before
    for name in stale:
        before = digest(node, project)
        touch(project / name)
        assert digest(node, project) != before


def test_command_environment_and_inheritance_make_it_stale(project: Path) -> None:
    node = NodeSpec(name="n", kind="service", command=("python", "main.py"), env={"A": "1"})
    before = digest(node, project)
    assert digest(dataclasses.replace(node, env={"A": "2"}), project) != before
    assert digest(dataclasses.replace(node, command=("python", "-u", "main.py")), project) != before
    assert digest(node, project, {"PATH": "/x"}) != before
    assert digest(node, project, {"UNRELATED": "/x"}) == before
