"""pytest's hooks. Loads nothing beyond pytest and the standard library until a run says ``--chaos``."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_chaos.plugin import options

if TYPE_CHECKING:
    from pytest_chaos.engine.chaos import Chaos
    from pytest_chaos.plugin.run import ChaosRun

_RUN: pytest.StashKey[ChaosRun] = pytest.StashKey()
_RUN_ID: pytest.StashKey[tuple[str, int]] = pytest.StashKey()
_DIRTY = pytest.StashKey[bool]()
_OF_TEST: pytest.StashKey[Chaos] = pytest.StashKey()
_REPORTS: pytest.StashKey[dict[str, pytest.TestReport]] = pytest.StashKey()

_MARKER = (
    "chaos(env=None, needs=(), isolation='exclusive', allow_inconclusive=False): a chaos test. "
    "env: settings of nodes, by name; needs: real parts without which it skips; isolation: 'exclusive', 'fresh' (its "
    "services are restarted first) or 'shared' (beside others, with faults on its own requests alone)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    options.add(parser)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Let ``--help`` end with the catalogue of faults."""
    result = yield
    if config.getoption("help", default=False):
        from pytest_chaos.plugin.help import faults  # noqa: PLC0415 - only with --help

        for line in faults():
            print(line)  # noqa: T201 - pytest's own help has gone to the terminal, and its writer is closed
    return result


def pytest_configure(config: pytest.Config) -> None:
    """Check the options; give the run its id and its seed."""
    config.addinivalue_line("markers", _MARKER)
    if not options.enabled(config):
        return
    options.check(config)
    from pytest_chaos.plugin import run  # noqa: PLC0415 - only with --chaos

    run_id, seed = config.stash[_RUN_ID] = run.identify(config)
    if options.standing(config):
        from pytest_chaos.plugin.standing import Standing  # noqa: PLC0415 - only with --chaos-up

        config.pluginmanager.register(Standing(options.settings(config, run_id, seed)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it belongs to."""
    if _RUN_ID in node.config.stash:
        node.workerinput["chaos_run_id"], node.workerinput["chaos_seed"] = node.config.stash[_RUN_ID]


def is_chaos(item: pytest.Item) -> bool:
    """Whether a test is a chaos test: it has the marker or uses the fixture."""
    return item.get_closest_marker("chaos") is not None or "chaos" in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --chaos, leave chaos tests out; asked for by name without it is a usage error."""
    chaotic = [item for item in items if is_chaos(item)]
    if options.enabled(config):
        for item in chaotic:
            # Not by a marker: what a test's fixtures are is known by now, and ``usefixtures`` would be read no more.
            names: list[str] = getattr(item, "fixturenames", [])
            if "chaos" not in names:
                names.append("chaos")
        # Last, so that no stack is up while other tests run: its observers share their process, its load their cores.
        items.sort(key=is_chaos)
        _replay(config, items)
        return
    if not chaotic:
        return
    named = (
        any("::" in argument for argument in config.args)
        or "chaos" in str(config.getoption("markexpr", default="")).split()
    )
    if named and len(chaotic) == len(items):
        msg = f"{chaotic[0].nodeid} is a chaos test, which brings services up and injects faults: add --chaos to run it"
        raise pytest.UsageError(msg)
    config.hook.pytest_deselected(items=chaotic)
    left_out = set(chaotic)
    items[:] = [item for item in items if item not in left_out]


def _replay(config: pytest.Config, items: list[pytest.Item]) -> None:
    journal = options.text(config, "chaos_replay")
    if not journal:
        return
    from pytest_chaos.plugin.replaying import failed_in  # noqa: PLC0415 - only with --chaos-replay

    wanted = failed_in(Path(journal))
    others = [item for item in items if item.nodeid not in wanted]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item.nodeid in wanted]


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Generator[Chaos, None, None]:
    """The running stack of ``chaos_topology``, for one test: clients, faults, checks."""
    config = request.config
    if _RUN_ID not in config.stash:
        pytest.fail("the `chaos` fixture needs --chaos", pytrace=False)
    run = _run_of(config)
    in_hand = run.enter(request)
    request.node.stash[_OF_TEST] = in_hand
    try:
        yield in_hand
    finally:
        run.leave(request.node, in_hand, request.node.stash.get(_REPORTS, {}))


@pytest.fixture
def toxiproxy(chaos: Chaos) -> Generator[Any, None, None]:
    """The client of PyPI's toxiproxy-python (``toxiproxy.Toxiproxy``), bound to this run's server; reset afterwards."""
    with chaos.toxiproxy() as client:
        yield client


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Judge what a test left unjudged as part of the test itself, so that a violation is its failure.

    Around whatever is called: a function, a coroutine, the method of a unittest.TestCase, whose failure is not raised.
    """
    in_hand = item.stash.get(_OF_TEST, None)
    try:
        result = yield
    except (Exception, pytest.fail.Exception) as failed:
        if in_hand is not None:
            from pytest_chaos.plugin.run import blame_the_harness  # noqa: PLC0415 - only with --chaos

            blame_the_harness(in_hand, failed)
        raise
    if in_hand is not None and not getattr(item, "_excinfo", None):
        in_hand.finish()
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep each phase's report, for the journal; show a violation as its message, not as our own stack."""
    report = yield
    item.stash.setdefault(_REPORTS, {})[call.when] = report
    if _RUN_ID in item.config.stash and call.excinfo is not None:
        from pytest_chaos.plugin.run import shorten  # noqa: PLC0415 - only with --chaos

        shorten(report, call)
    return report


def _run_of(config: pytest.Config) -> ChaosRun:
    if _RUN not in config.stash:
        from pytest_chaos.plugin.run import ChaosRun  # noqa: PLC0415 - only with --chaos

        run_id, seed = config.stash[_RUN_ID]
        config.stash[_RUN] = ChaosRun(config, options.settings(config, run_id, seed))
    return config.stash[_RUN]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the stack back; write the reports; say DIRTY by the exit status when something could not be undone."""
    config = session.config
    if _RUN in config.stash:
        config.stash[_RUN].close()
    if _RUN_ID in config.stash and not hasattr(config, "workerinput"):
        from pytest_chaos.plugin.run import conclude  # noqa: PLC0415 - only with --chaos

        run_id, seed = config.stash[_RUN_ID]
        config.stash[_DIRTY] = conclude(options.settings(config, run_id, seed))
        if config.stash[_DIRTY]:
            session.exitstatus = 10


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print where the report is, or why there is none."""
    if _RUN_ID in config.stash and not hasattr(config, "workerinput"):
        from pytest_chaos.plugin.run import summary  # noqa: PLC0415 - only with --chaos

        run_id, seed = config.stash[_RUN_ID]
        for line in summary(options.settings(config, run_id, seed), dirty=config.stash.get(_DIRTY, False)):
            terminalreporter.write_line(line)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Print the run's id and seed, so that it can be repeated."""
    if _RUN_ID not in config.stash:
        return []
    run_id, seed = config.stash[_RUN_ID]
    return [f"chaos: run {run_id}, seed {seed} (repeat with --chaos-seed={seed})"]
