"""Runs every benchmark, or those named; prints a table and writes reports/bench.json."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import idempotency, stack_up
from benchmarks.hop import measure as hop
from benchmarks.hop import memory
from benchmarks.rows import Measured, table
from pytest_chaos.errors import ChaosError

ROOT = Path(__file__).parents[1]
BENCHMARKS: dict[str, Callable[[], Measured]] = {
    **{kind: functools.partial(hop.measure, kind) for kind in hop.LOADS},
    "memory": memory.measure,
    "stack_up": stack_up.measure,
    "idempotency": idempotency.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when every benchmark asked for was measured, else 1; what was measured is written in both cases."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; none: all of them")
    asked: list[str] = options.parse_args(arguments).names or list(BENCHMARKS)
    if unknown := [name for name in asked if name not in BENCHMARKS]:
        options.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    print(f"{os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.1f} (others at work move every figure)")
    measured: list[Measured] = []
    for name in asked:
        began = time.monotonic()
        try:
            measured.append(BENCHMARKS[name]())
        except (ChaosError, OSError, subprocess.SubprocessError) as wrong:
            print(f"{name}: NOT MEASURED: {wrong}", file=sys.stderr)
        else:
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    write(ROOT / "reports" / "bench.json", measured)
    print(f"\n{table(measured)}")
    return 0 if len(measured) == len(asked) else 1


def write(path: Path, measured: Sequence[Measured]) -> None:
    """Write every row as one JSON list, whole or not at all."""
    rows = [dataclasses.asdict(found) for one in measured for found in one.rows]
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(rows, indent=2) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
