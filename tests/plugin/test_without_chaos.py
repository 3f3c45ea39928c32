"""Without --chaos the plugin is not there: nothing loads, nothing starts, chaos tests are left out."""

from __future__ import annotations

import os

import pytest

TESTS = """
import pytest

@pytest.mark.chaos
def test_marked(chaos):
    raise AssertionError

def test_by_fixture(chaos):
    raise AssertionError

def test_ordinary():
    pass
"""

# What pytest itself brings, and what its assertion rewriting and terminal need.
_PYTESTS_OWN = {
    "_pytest",
    "pytest",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
    "py",
    "_virtualenv",
    "exceptiongroup",
    "tomli",
    "colorama",
    "__main__",
    "_distutils_hack",
    "pytest_chaos",
}

LOADED = """
import sys, sysconfig
from pathlib import Path

def pytest_collection_finish(session):
    site = {Path(sysconfig.get_paths()[name]).resolve() for name in ("purelib", "platlib")}
    found = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and any(Path(file).resolve().is_relative_to(folder) for folder in site):
            found.add(name.partition(".")[0])
    Path("loaded.txt").write_text(" ".join(sorted(found)))
"""


def test_chaos_tests_are_deselected(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    run = project.runpytest_subprocess("-p", "no:cacheprovider")
    run.assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize("named", [("{file}::test_marked",), ("-m", "chaos")])
def test_named_without_the_option_is_a_usage_error_that_says_what_to_add(
    project: pytest.Pytester, named: tuple[str, ...]
) -> None:
    file = project.makepyfile(TESTS.replace("def test_ordinary", "@pytest.mark.chaos\ndef test_ordinary"))
    run = project.runpytest_subprocess(*(part.format(file=file.name) for part in named))
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*add --chaos*"])


@pytest.mark.parametrize("with_conftest", [True, False])
def test_no_third_party_module_is_loaded(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *, with_conftest: bool
) -> None:
    if not with_conftest:
        (project.path / "conftest.py").unlink()
    project.makepyfile(TESTS)
    project.makepyfile(look=LOADED)
    others = [
        part
        for name in ("xdist", "asyncio", "timeout", "anyio", "hypothesispytest", "pytest_asyncio", "xdist.looponfail")
        for part in ("-p", f"no:{name}")
    ]
    monkeypatch.setenv("PYTHONPATH", str(project.path) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    run = project.runpytest_subprocess("--collect-only", "-p", "look", "-p", "no:_hypothesis_pytestplugin", *others)
    assert run.ret in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    loaded = set((project.path / "loaded.txt").read_text().split())
    assert not {name for name in loaded if name not in _PYTESTS_OWN and not name.startswith(("_pytest", "__editable"))}


def test_collect_only_with_chaos_starts_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    run = project.runpytest_subprocess("--chaos", "--collect-only", "-q")
    assert run.ret == 0
    assert not (project.path / "reports").exists()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--chaos-timeout=0", "--chaos-timeout=0: must be a number from 1 to 3600 seconds"),
        ("--chaos-timeout=soon", "--chaos-timeout=soon: must be a number"),
        ("--chaos-seed=-4", "--chaos-seed=-4: must be a number from 0"),
        ("--chaos-require=kafka,cafka", "--chaos-require=cafka: no such part; there are: "),
        ("--chaos-replay=nowhere.jsonl", "--chaos-replay=nowhere.jsonl: no such file"),
        ("--chaos-runtime=vm", "invalid choice: 'vm'"),
    ],
)
def test_an_option_out_of_range_is_a_usage_error(project: pytest.Pytester, option: str, says: str) -> None:
    project.makepyfile(TESTS)
    run = project.runpytest_subprocess("--chaos", option)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert says in run.stderr.str()
