"""Debian packages, installed when we may, without starting what they bring."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts._part import Log
from pytest_chaos.parts._tools import run, which

_POLICY = Path("/usr/sbin/policy-rc.d")
_INSTALL_S = 900.0


def install(
    packages: Sequence[str], *, environ: Mapping[str, str], log: Log, otherwise: str, services: Sequence[str] = ()
) -> None:
    """Install packages with apt-get as root, leaving ``services`` stopped and disabled.

    Raises PartMissing with ``otherwise`` where that is not possible.
    """
    apt = which("apt-get", environ)
    if apt is None or os.geteuid() != 0:
        raise PartMissing(otherwise)
    log(f"apt-get install {' '.join(packages)}")
    calm = {**environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _nothing_starts():
        try:
            _install(apt, packages, calm)
        except PartMissing:
            # The package lists may be old or absent: refresh them once.
            run([apt, "update", "-q"], environ=calm, timeout_s=_INSTALL_S)
            _install(apt, packages, calm)
    if services and (systemctl := which("systemctl", environ)):
        run([systemctl, "disable", *services], environ=calm, timeout_s=60.0)


def _install(apt: str, packages: Sequence[str], environ: Mapping[str, str]) -> None:
    run([apt, "install", "-q", "-y", "--no-install-recommends", *packages], environ=environ, timeout_s=_INSTALL_S)


@contextmanager
def _nothing_starts() -> Iterator[None]:
    """Tell Debian's maintainer scripts not to start services (status 101), unless the machine has a policy."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
