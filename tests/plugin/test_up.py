"""``pytest-chaos up`` holds the stack up in the foreground, with no test, and takes all of it down at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.runtimes import kit

UP = (sys.executable, "-c", "from pytest_chaos.cli import main; raise SystemExit(main())", "up")
IN_A_SCRIPTS_BACKGROUND = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""Where SIGINT is ignored until somebody says otherwise."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start it in a folder; what still runs at the end is ended."""
    begun: list[subprocess.Popen[str]] = []

    def one(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [*IN_A_SCRIPTS_BACKGROUND, *UP, *arguments],
                cwd=cwd,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.communicate()


def read_to(process: subprocess.Popen[str], end: str) -> str:
    """Read lines up to one that holds a text."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if end in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stands_until_it_is_told_to_go(project: pytest.Pytester, start: Start, number: int) -> None:
    project.makepyfile(test_never="raise RuntimeError('collected')")
    process = start(cwd=project.path)
    said = read_to(process, "Ctrl-C takes it down.")
    link = re.search(r"^  test -> front +(\S+)$", said, re.MULTILINE)
    logs = re.search(r"^logs, one a node: (.+)$", said, re.MULTILINE)
    assert link, said
    assert logs, said
    assert urllib.request.urlopen(f"http://{link[1]}/", timeout=5).read() == b"v1"
    assert (Path(logs[1]) / "front.log").exists()
    run = Path(logs[1]).parent.name
    assert kit.left_of(run)

    process.send_signal(number)
    rest = read_to(process, "taking it down")
    assert process.wait(10) == 0, rest
    kit.until(lambda: not kit.left_of(run), what=f"the end of {kit.left_of(run)}")
    assert not (project.path / "reports").exists()


def test_a_time_limit_of_tests_is_none_of_its_own(project: pytest.Pytester, start: Start) -> None:
    project.makefile(".ini", pytest="[pytest]\naddopts = --strict-config --strict-markers\ntimeout = 1\n")
    process = start(cwd=project.path)
    read_to(process, "Ctrl-C takes it down.")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_it_tells_of_a_node_that_dies(project: pytest.Pytester, start: Start) -> None:
    process = start(cwd=project.path)
    said = read_to(process, "Ctrl-C takes it down.")
    port = re.search(r"^  front +http 127.0.0.1:(\d+)$", said, re.MULTILINE)
    assert port, said
    run = re.search(r"^logs, one a node: .+/([^/]+)/logs$", said, re.MULTILINE)
    assert run, said
    (front,) = [pid for pid in kit.marked(run[1]) if _has(pid, f"PORT={port[1]}")]
    os.kill(front, signal.SIGKILL)
    assert re.search(r"^\d\d:\d\d:\d\d front: exited", read_to(process, "front: exited"), re.MULTILINE)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_a_folder_below_has_its_own_stack(project: pytest.Pytester, start: Start) -> None:
    below = project.path / "some" / "where"
    below.mkdir(parents=True)
    (below / "conftest.py").write_text(
        "import pytest\nfrom pytest_chaos import Stub, StubOperation, Topology\n\n\n"
        "@pytest.fixture(scope='session')\n"
        "def chaos_topology():\n"
        "    return Topology(Stub('gate', {'GET /': StubOperation()}))\n"
    )
    process = start("some/where", cwd=project.path)
    assert "test -> gate" in read_to(process, "Ctrl-C takes it down.")


def test_what_does_not_come_up_says_why(pytester: pytest.Pytester, start: Start) -> None:
    process = start(cwd=pytester.path)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "define a session fixture `chaos_topology` in conftest.py that returns a Topology" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "nowhere: no such folder; give the one whose conftest.py has chaos_topology"),
        (("--runtime=moon",), "--chaos-runtime: invalid choice: 'moon'"),
        (("--injector=",), "--chaos-injector: invalid choice: ''"),
    ],
)
def test_nonsense_brings_nothing_up(
    project: pytest.Pytester, start: Start, arguments: tuple[str, ...], says: str
) -> None:
    out, _ = start(*arguments, cwd=project.path).communicate(timeout=30)
    assert says in out
    assert "stack up" not in out


def _has(pid: int, setting: str) -> bool:
    try:
        return setting.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
