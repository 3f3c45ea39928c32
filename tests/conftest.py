"""Judges and sorts this repository's tests.

Where real parts are required (``--chaos-require``), a test that skips has shown nothing: it fails instead. Under
``-n 2 --dist loadscope`` what brings stacks, brokers or containers up runs on one worker, one test after the other as
without workers; the rest is quiet enough to run beside it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

# How fast a machine is decides nothing here.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_QUIET = tuple(f"tests/{name}/" for name in ("browser", "conformance/wire", "docs", "property", "repo", "unit"))

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Keep on one worker whatever is not quiet, and each quiet module as a whole.

    By a scheduler of our own: xdist 3.8 loses the groups of ``--dist loadgroup`` on pytest 9.2.
    """
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class BesideParts(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if path.startswith(_QUIET) else "real parts"

    return BesideParts(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test's report."""
    return _required((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a module that skipped itself."""
    return _required((yield), collector.config)


def _required(report: Report, config: pytest.Config) -> Report:
    required = config.getoption("--chaos-require")
    if report.skipped and required:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"--chaos-require={required}: no test of this repository may skip then. {reason}"
    return report
