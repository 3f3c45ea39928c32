"""What cannot work says so once, clearly, with the service's last words where there are some, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

HEAD = "import pytest\nfrom pytest_chaos import *\nfrom pytest_chaos import Service, Stub, StubOperation, Topology, Http, Tcp, AnswerLost\n"
TEST = "def test_it(chaos):\n    {body}\n"


def _conftest(*nodes: str) -> str:
    body = ", ".join(nodes)
    return f"""
import pytest
from pytest_chaos import Http, Service, Stub, StubOperation, Topology

@pytest.fixture(scope="session")
def chaos_topology():
    return Topology({body})
"""


SERVICE = 'Service("one", command=["python", "service.py"], ports={"http": "PORT"}, calls={"NEXT_URL": "http://x"})'


@pytest.mark.parametrize(
    ("nodes", "body", "says"),
    [
        ((SERVICE.replace("http://x", "http://{nobody.http}"),), "pass", ["*NEXT_URL refers to 'nobody'*"]),
        ((SERVICE, SERVICE), "pass", ["*two nodes are called 'one'*"]),
        ((SERVICE,), "chaos.client('two')", ["*no node is called 'two'*"]),
        ((SERVICE,), "chaos.fault(AnswerLost('one -> nowhere')).__enter__()", ["*no link is called 'one -> nowhere'*"]),
        ((SERVICE,), "chaos.fault(AnswerLost('test -> one', nth=0)).__enter__()", ["*nth=0*must be 1 or more*"]),
        (('Service("one", command=["no-such-command"], ports={"http": "PORT"})',), "pass", ["*one*no-such-command*"]),
        (('Service("one", command=["python", "-c", "print(\'my last words\'); raise SystemExit(3)"], ports={"http": "PORT"})',), "pass",
         ["*one*3*", "*my last words*"]),
        (('Service("one", command=["python", "-c", "print(\'still busy\', flush=True); import time; time.sleep(60)"], ports={"http": "PORT"}, ready_timeout_s=1)',),
         "pass", ["*one*ready*", "*still busy*"]),
        (('Service("one", command=["python", "-c", "import os,socket; s=socket.create_server((\'127.0.0.1\', 1))"], ports={"http": "PORT"})',), "pass", ["*one*"]),
    ],
)  # fmt: skip
def test_one_clear_error(project: pytest.Pytester, nodes: tuple[str, ...], body: str, says: list[str]) -> None:
    project.makeconftest(_conftest(*nodes))
    project.makepyfile(test_it="from pytest_chaos import AnswerLost\n" + TEST.format(body=body))
    run = project.runpytest_subprocess("--chaos", "-p", "no:cacheprovider")
    assert run.ret == 1
    run.stdout.fnmatch_lines(says)
    assert "Traceback" not in run.stdout.str()
    assert not _left_behind(project.path)


def test_without_a_topology_it_says_what_to_define(project: pytest.Pytester) -> None:
    (project.path / "conftest.py").unlink()
    project.makepyfile(test_it=TEST.format(body="pass"))
    run = project.runpytest_subprocess("--chaos")
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*define a session fixture `chaos_topology`*"])


def _left_behind(folder: Path) -> list[str]:
    """List the processes that run in a folder or from it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
