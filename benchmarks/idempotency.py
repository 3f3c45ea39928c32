"""What the tutorial's scenario costs through ``pytest --chaos``, beside the same one written by hand (by_hand.py).

Per run is a whole command, from its start to its end, stack up and down in it. By hand that is a plain script: it has
no pytest to load, no report to write, and no other verdict than a count. Per test is the same scenario again on a stack
that is up; ours is what pytest's own JUnit file says, set-up and teardown included.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import Measured, row
from pytest_chaos.errors import StackError
from pytest_chaos.parts import toxiproxy

ROOT = Path(__file__).parents[1]
ROUNDS = 3
WARM_TESTS = 10
_FILE = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN_S = 60.0


def measure(rounds: int = ROUNDS) -> Measured:
    """Time both, in turn; raise StackError when one of them misses the double charge, or finds one that is not."""
    program = toxiproxy.find(os.environ).found
    runs: dict[str, list[float]] = {"ours": [], "by hand": []}
    with tempfile.TemporaryDirectory(prefix="chaos-bench-") as folder:
        broken, mended = Path(folder, "broken"), Path(folder, "mended")
        lay_out(broken, mended=False)
        lay_out(mended, mended=True)
        _check("ours", _pytest(broken), expected=1, says="I1")
        if program is not None:
            _check("by hand", _by_hand(broken, program), expected=1, says='"charges": [2]')
        for _ in range(rounds):
            runs["ours"].append(_timed("ours", mended, None))
            if program is not None:
                runs["by hand"].append(_timed("by hand", mended, program))
        warm = _warm_ours(mended)
        warm_by_hand = [] if program is None else _warm_by_hand(mended, program)
    rows = (
        row("idempotency scenario, per run", "s", runs["ours"], {"by hand": runs["by hand"]}, digits=2),
        row("idempotency scenario, per test, stack up", "ms", warm, {"by hand": warm_by_hand}),
    )
    also = "by hand it was not measured: no Toxiproxy here" if program is None else "so does the one by hand"
    return Measured(rows=rows, notes=(f"ours finds the double charge of the unmended pay.py; {also}",))


def lay_out(folder: Path, *, mended: bool) -> None:
    """Write the tutorial's own files; its page holds pay.py twice, the mended one last."""
    folder.mkdir()
    for name, body in _FILE.findall((ROOT / "docs" / "tutorial.md").read_text()):
        if mended or not (folder / name).exists():
            (folder / name).write_text(body)


def _timed(who: str, folder: Path, program: str | None) -> float:
    began = time.monotonic()
    done = _pytest(folder) if program is None else _by_hand(folder, program)
    took_s = time.monotonic() - began
    _check(who, done, expected=0)
    return took_s


def _warm_ours(folder: Path) -> list[float]:
    """Give each test's milliseconds but the first one's, which brings the stack up."""
    text = (folder / "test_payment.py").read_text()
    for number in range(WARM_TESTS):
        (folder / f"test_payment_{number}.py").write_text(text.replace('"o-1"', f'"again-{number}"'))
    done = _pytest(folder, "--junitxml=warm.xml")
    _check("ours, warm", done, expected=0)
    cases = ET.parse(folder / "warm.xml").getroot().iter("testcase")  # noqa: S314 - pytest wrote it just now
    return [float(case.attrib["time"]) * 1000 for case in cases][1:]


def _warm_by_hand(folder: Path, program: str) -> list[float]:
    done = _by_hand(folder, program, f"--times={1 + WARM_TESTS}")
    _check("by hand, warm", done, expected=0)
    return [float(seconds) * 1000 for seconds in json.loads(done.stdout)["seconds"]][1:]


def _pytest(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    # As in the tutorial's environment: no plugin of this repository's own tests is loaded beside ours.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return _run(["-m", "pytest", "--chaos", "-p", "pytest_chaos.plugin", "-p", "no:cacheprovider", *more], folder, env)


def _by_hand(folder: Path, program: str, *more: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "benchmarks" / "by_hand.py")
    return _run([script, str(folder), "--toxiproxy", program, *more], folder, dict(os.environ))


def _run(arguments: Sequence[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=_RUN_S, check=False)


def _check(who: str, done: subprocess.CompletedProcess[str], *, expected: int, says: str = "") -> None:
    if done.returncode != expected or says not in done.stdout:
        said = (done.stdout + done.stderr)[-2000:]
        msg = f"{who}: exit code {done.returncode} where {expected} {says} was expected:\n{said}"
        raise StackError(msg)
