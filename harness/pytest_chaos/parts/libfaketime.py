"""libfaketime: Debian's preloaded library that lets one process read another wall clock; a copy in the cache is used.

Two names in the copy are changed, both in place:

* ``clock_nanosleep`` is not exported any more, so that programs reach libc's. libfaketime 0.9.10 adds its own offsets
  to absolute times of CLOCK_MONOTONIC too, and Python's ``time.sleep`` then fails with EINVAL.
* Its semaphore gets a name that no system takes, so that it does without shared memory: a process that is killed would
  leave that behind, or, killed while it holds the semaphore, stop its siblings' clocks for good.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import _debian
from pytest_chaos.parts._part import Log, Part, cache_dir
from pytest_chaos.parts._tools import move_into_place, scratch, version_of, which

NAME = "libfaketime"
BY_DEFAULT = True
LIBRARY = "libfaketimeMT.so.1"
_HOW = "install libfaketime (Debian: libfaketime; as root setup does it), then: pytest-chaos setup libfaketime"
_FOLDERS = ("/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")
_CHANGES = ((b"\0clock_nanosleep\0", b"\0Clock_nanosleep\0"), (b"/faketime_sem_%ld\0", b"/faketime_sem/%ld\0"))
_TRIED_S = 30.0
_STEP_S = 86_400
_TRY = "import time; time.sleep(0.001); print(int(time.time()))"


def find(environ: Mapping[str, str]) -> Part:
    """Look for the copy in the cache that was made of what is installed; ``found`` is the library to preload."""
    installed = _installed()
    made = _copy(installed, environ) if installed is not None else None
    if installed is None or made is None or not made.is_file():
        return Part(name=NAME, found=None, version=None, how_to_get=_HOW)
    return Part(name=NAME, found=str(made), version=_version(installed, environ), how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's package and make the copy; raise PartMissing where that is not possible or does not work."""
    if _installed() is None:
        _debian.install(["libfaketime"], environ=environ, log=log, otherwise=_HOW)
    installed = _installed()
    if installed is None:
        raise PartMissing(_HOW)
    final = _copy(installed, environ)
    if not final.is_file():
        with scratch(cache_dir(environ)) as folder:
            made = folder / LIBRARY
            made.write_bytes(changed(installed.read_bytes()))
            log("trying a stepped clock")
            _check(made, folder)
            move_into_place(folder, final.parent)


def settings(library: str, offset: str) -> dict[str, str]:
    """Give the environment in which a process reads the wall clock that the file ``offset`` says (``+3600``, s).

    The file is read at each look at the clock, so that a step is seen at once. Monotonic clocks and files' times stay
    true.
    """
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": offset,
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def changed(library: bytes) -> bytes:
    """Give the library with both names changed; raise PartMissing when it is not built as expected."""
    for old, new in _CHANGES:
        if old not in library:
            msg = f"{LIBRARY} has no {old.strip(bytes(1)).decode()!r} in it, so that it cannot be made fit: {_HOW}"
            raise PartMissing(msg)
        # Names that are exported stand before the strings that the code uses: only the first one is to go.
        library = library.replace(old, new, 1)
    return library


def _installed() -> Path | None:
    return next((path for path in _candidates() if path.is_file()), None)


def _candidates() -> Iterable[Path]:
    yield from sorted(Path("/usr/lib").glob(f"*-linux-gnu/faketime/{LIBRARY}"))
    yield from (Path(folder, LIBRARY) for folder in _FOLDERS)


def _copy(installed: Path, environ: Mapping[str, str]) -> Path:
    digest = hashlib.blake2b(installed.read_bytes() + repr(_CHANGES).encode(), digest_size=6).hexdigest()
    return cache_dir(environ) / f"libfaketime-{digest}" / LIBRARY


def _version(installed: Path, environ: Mapping[str, str]) -> str | None:
    query = which("dpkg-query", environ)
    if query is None or not str(installed).startswith("/usr/lib/"):
        return None
    return version_of([query, "-W", "-f", "${Version}", "libfaketime"], r"^([0-9.]+)", environ)


def _check(library: Path, folder: Path) -> None:
    """Raise PartMissing unless a program that sleeps reads a stepped clock with it."""
    offset = folder / "offset"
    offset.write_text(f"+{_STEP_S}\n")
    true_s = _ask(dict(os.environ))
    stepped_s = _ask({**os.environ, **settings(str(library), str(offset))})
    offset.unlink()
    if not 0 <= stepped_s - true_s - _STEP_S < _TRIED_S:
        msg = f"a clock stepped by {_STEP_S} s was off by {stepped_s - true_s} s with {library.name}: {_HOW}"
        raise PartMissing(msg)


def _ask(environ: Mapping[str, str]) -> int:
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-c", _TRY], env=dict(environ), capture_output=True, text=True,
            timeout=_TRIED_S, check=True,
        )  # fmt: skip
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as failed:
        error = getattr(failed, "stderr", "") or failed
        msg = f"a program with {LIBRARY} preloaded does not work here: {error}"
        raise PartMissing(msg) from failed
