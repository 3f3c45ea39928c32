"""The command line options, each with an ini equivalent, and how they become one RunSettings."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from pytest_chaos.engine.settings import InjectorChoice, RunSettings, RuntimeChoice

RUNTIMES = ("auto", "containers", "processes")
INJECTORS = ("auto", "toxiproxy", "wire")
_MAX_SEED = 2**63 - 1
_MAX_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    name: str
    help: str
    default: str
    metavar: str = ""
    choices: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        return self.name.lstrip("-").replace("-", "_")


_OPTIONS = (
    _Option(
        name="--chaos-runtime",
        default="auto",
        choices=RUNTIMES,
        help="how nodes run; auto: as processes where every service has a command",
    ),
    _Option(
        name="--chaos-injector",
        default="auto",
        choices=INJECTORS,
        help="which links get a real Toxiproxy; auto: as the topology names; wire: none, wire does byte faults itself",
    ),
    _Option(
        name="--chaos-require",
        default="",
        metavar="PARTS",
        help="real parts that must be there (kafka,docker,...): a missing one fails instead of skipping",
    ),
    _Option(name="--chaos-report-dir", default="reports", metavar="DIR", help="where each run's folder goes"),
    _Option(name="--chaos-seed", default="", metavar="N", help="the run's seed; same seed, same decisions"),
    _Option(
        name="--chaos-replay",
        default="",
        metavar="FILE",
        help="a journal.jsonl: run the tests that failed in it, with its seed and the faults that it recorded",
    ),
    _Option(name="--chaos-jaeger", default="", metavar="URL", help="a Jaeger UI to link traces to"),
    _Option(name="--chaos-timeout", default="60", metavar="SECONDS", help="a chaos test's time limit"),
)


def add(parser: pytest.Parser) -> None:
    """Register the options; another plugin that owns ``--chaos`` or ``--chaos-seed`` already shares them with us."""
    group = parser.getgroup("chaos", "chaos tests (pytest-chaos)")
    with contextlib.suppress(ValueError):
        group.addoption(
            "--chaos", action="store_true", default=None, help="run chaos tests: bring the stack up and inject faults"
        )
    group.addoption(
        "--chaos-keep",
        action="store_true",
        default=None,
        help="leave brokers, proxies and unchanged services running for the next run",
    )
    group.addoption(
        "--chaos-up",
        action="store_true",
        default=None,
        help="run no test: bring the stack up, say where everything is, and take it down at Ctrl-C (pytest-chaos up)",
    )
    parser.addini("chaos", "run chaos tests as with --chaos", type="bool", default=False)
    parser.addini("chaos_keep", "as --chaos-keep", type="bool", default=False)
    parser.addini("chaos_images", "image names: NAME=IMAGE a line", type="linelist", default=[])
    for option in _OPTIONS:
        extra: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
        with contextlib.suppress(ValueError):
            group.addoption(
                option.name,
                dest=option.dest,
                default=None,
                help=f"{option.help} (default: {option.default or 'none'})",
                **extra,
            )
        parser.addini(option.dest, f"as {option.name}", default=option.default)


def enabled(config: pytest.Config) -> bool:
    """Whether this run is asked to run chaos tests."""
    return bool(config.getoption("chaos", default=None) or config.getini("chaos") or standing(config))


def standing(config: pytest.Config) -> bool:
    """Whether this run is only asked to hold the stack up."""
    return bool(config.getoption("chaos_up", default=None))


def text(config: pytest.Config, dest: str) -> str:
    """Give an option's value: command line first, then ini, then the default."""
    given = config.getoption(dest, default=None)
    return str(config.getini(dest) if given is None else given)


def check(config: pytest.Config) -> None:
    """Refuse values that make no sense; raise UsageError naming option, value and range."""
    number(config, "chaos_timeout", float, 1.0, _MAX_TIMEOUT_S, "seconds")
    if text(config, "chaos_seed"):
        number(config, "chaos_seed", int, 0, _MAX_SEED, "")
    for dest, choices in (("chaos_runtime", RUNTIMES), ("chaos_injector", INJECTORS)):
        if text(config, dest) not in choices:
            msg = f"--{dest.replace('_', '-')}={text(config, dest)}: must be one of {', '.join(choices)}"
            raise pytest.UsageError(msg)
    known = _known_parts()
    for part in required(config):
        if part not in known:
            msg = f"--chaos-require={part}: no such part; there are: {', '.join(known)}"
            raise pytest.UsageError(msg)
    replay = text(config, "chaos_replay")
    if replay and not Path(replay).is_file():
        msg = f"--chaos-replay={replay}: no such file; give a run's journal.jsonl"
        raise pytest.UsageError(msg)


def required(config: pytest.Config) -> tuple[str, ...]:
    """List the parts that must be there."""
    return tuple(part.strip() for part in text(config, "chaos_require").split(",") if part.strip())


def number(config: pytest.Config, dest: str, kind: Callable[[str], float], low: float, high: float, unit: str) -> float:
    """Give a number in its range, or raise UsageError."""
    given = text(config, dest)
    try:
        value = kind(given)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        msg = f"--{dest.replace('_', '-')}={given}: must be a number from {low:g} to {high:g} {unit}".rstrip()
        raise pytest.UsageError(msg)
    return value


def settings(config: pytest.Config, run_id: str, seed: int) -> RunSettings:
    """Put everything together."""
    from pytest_chaos.engine.settings import RunSettings  # noqa: PLC0415 - only with --chaos

    reports = Path(text(config, "chaos_report_dir"))
    root = config.rootpath
    images = dict(line.split("=", 1) for line in config.getini("chaos_images") if "=" in line)
    images.update(
        {name[19:].lower(): value for name, value in os.environ.items() if name.startswith("PYTEST_CHAOS_IMAGE_")}
    )
    return RunSettings(
        run_id=run_id,
        project=root,
        report_dir=(reports if reports.is_absolute() else root / reports) / run_id,
        seed=seed,
        command="pytest " + shlex.join(sys.argv[1:]),
        runtime=cast("RuntimeChoice", text(config, "chaos_runtime")),
        injector=cast("InjectorChoice", text(config, "chaos_injector")),
        require=required(config),
        keep=bool(config.getoption("chaos_keep", default=None) or config.getini("chaos_keep")),
        jaeger_url=text(config, "chaos_jaeger"),
        timeout_s=number(config, "chaos_timeout", float, 1.0, _MAX_TIMEOUT_S, "seconds"),
        images=tuple(sorted(images.items())),
    )


def _known_parts() -> tuple[str, ...]:
    from pytest_chaos.parts import all_parts  # noqa: PLC0415 - only with --chaos

    return tuple(sorted(all_parts()))
