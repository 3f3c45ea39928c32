"""Running other programs while looking for a part or fetching it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_chaos.errors import PartMissing

_LOOK_S = 10.0


def which(program: str, environ: Mapping[str, str]) -> str | None:
    """Find a program on the given PATH; Debian keeps daemons in sbin, which is not on an ordinary user's PATH."""
    path = environ.get("PATH", "")
    folders = path.split(os.pathsep) if path else []
    if "/usr/bin" in folders:
        folders += ["/usr/local/sbin", "/usr/sbin"]
    return shutil.which(program, path=os.pathsep.join(folders)) if folders else None


def version_of(argv: Sequence[str], pattern: str, environ: Mapping[str, str]) -> str | None:
    """Ask a program for its version; None when it does not run or says nothing that matches."""
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environ),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LOOK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(pattern, done.stdout + done.stderr)
    return match.group(1) if match else None


def run(argv: Sequence[str], *, environ: Mapping[str, str], timeout_s: float, cwd: Path | None = None) -> None:
    """Run a program to its end; raise PartMissing with its last lines when it fails or exceeds ``timeout_s``."""
    shown = " ".join(str(word) for word in argv[:4])
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        msg = f"`{shown}` cannot be started: {error}"
        raise PartMissing(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"`{shown}` was not done after {timeout_s:.0f} s"
        raise PartMissing(msg) from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-8:])
        msg = f"`{shown}` ended with status {done.returncode}:\n{tail}"
        raise PartMissing(msg)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Give a fresh folder beside the final one, so that a finished result moves into place in one step."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into_place(made: Path, final: Path) -> None:
    """Move a finished file or folder to its name; when another process was faster, its result stays."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(final)
    except OSError:
        if not final.exists():
            raise
