"""What cannot work says so once, clearly, with the service's last words, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


def _node(command: list[str], **more: object) -> str:
    fields = "".join(f", {name}={value!r}" for name, value in more.items())
    return f'Service("one", command={command!r}, ports={{"http": "PORT"}}{fields})'


def _python(code: str, **more: object) -> str:
    return _node(["python", "-c", code], **more)


SERVICE = _node(["python", "service.py"], calls={"NEXT_URL": "http://x"})
LOST = _node(["python", "service.py"], calls={"NEXT_URL": "http://{nobody.http}"})
DIES = _python("print('my last words'); raise SystemExit(3)")
NEVER_READY = _python("print('still busy', flush=True); import time; time.sleep(60)", ready_timeout_s=1)


@pytest.mark.parametrize(
    ("nodes", "body", "says"),
    [
        ((LOST,), "pass", ["*NEXT_URL refers to 'nobody'*"]),
        ((SERVICE, SERVICE), "pass", ["*two nodes are called 'one'*"]),
        ((SERVICE,), "chaos.client('two')", ["*no node is called 'two'*"]),
        ((SERVICE,), "chaos.fault(AnswerLost('one -> nowhere')).__enter__()", ["*no link is called 'one -> nowhere'*"]),
        ((SERVICE,), "chaos.fault(AnswerLost('test -> one', nth=0)).__enter__()", ["*nth=0*"]),
        ((_node(["no-such-command"]),), "pass", ["*one*no-such-command*"]),
        ((DIES,), "pass", ["*one*3*", "*my last words*"]),
        ((NEVER_READY,), "pass", ["*one*ready*", "*still busy*"]),
        ((_python("raise SystemExit('Address already in use')"),), "pass", ["*one*", "*Address already in use*"]),
    ],
)
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
        if entry.name == str(os.getpid()):
            continue
        try:
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_a_second_topology_in_one_run_is_refused_and_no_test_of_it_judged(project: pytest.Pytester) -> None:
    for folder, answer in (("first", "v1"), ("second", "v2")):
        command = ["python", str(project.path / "service.py")]
        node = _node(command, calls={"NEXT_URL": "http://x"}, env={"ANSWER": answer})
        project.mkdir(folder)
        (project.path / folder / "conftest.py").write_text(_conftest(node))
        body = "chaos.client('one').get('/'); chaos.restart('one')\n    with pytest.raises(Inconclusive): chaos.check()"
        text = f"import pytest\nfrom pytest_chaos import Inconclusive\n\n{TEST.format(body=body)}"
        (project.path / folder / f"test_{folder}.py").write_text(text)
    result = project.runpytest_subprocess("--chaos")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*this test's chaos_topology (one) is not the one whose stack runs (one)*"])
