from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import libfaketime

NAMES = b"\x7fELF\0nanosleep\0clock_nanosleep\0time\0....\0/faketime_sem_%ld\0clock_nanosleep\0"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A library that is installed here, with this content."""

    def put(content):
        path = tmp_path / libfaketime.LIBRARY
        path.write_bytes(content)
        monkeypatch.setattr(libfaketime, "_candidates", lambda: [tmp_path / "nowhere", path])

    return put


def test_the_export_goes_and_the_name_that_the_code_looks_up_stays():
    changed = libfaketime.changed(NAMES)
    assert changed == b"\x7fELF\0nanosleep\0Clock_nanosleep\0time\0....\0/faketime_sem/%ld\0clock_nanosleep\0"


@pytest.mark.parametrize("missing", [b"clock_nanosleep", b"/faketime_sem_%ld"])
def test_a_library_of_another_make_is_refused(missing):
    with pytest.raises(PartMissing, match=missing.decode()):
        libfaketime.changed(NAMES.replace(missing, b"x"))


def test_what_is_not_installed_is_not_found(bare, monkeypatch):
    monkeypatch.setattr(libfaketime, "_candidates", list)
    part = libfaketime.find(bare)
    assert part.found is None
    assert "pytest-chaos setup libfaketime" in part.how_to_get
    with pytest.raises(PartMissing, match="install libfaketime"):
        libfaketime.fetch(bare, print)


def test_what_is_installed_is_found_once_the_copy_is_made(bare, installed, monkeypatch):
    installed(NAMES)
    assert libfaketime.find(bare).found is None
    monkeypatch.setattr(libfaketime, "_check", lambda *_: None)
    libfaketime.fetch(bare, print)
    copy = Path(libfaketime.find(bare).found)
    assert copy.read_bytes() == libfaketime.changed(NAMES)
    assert [path.name for path in Path(bare["PYTEST_CHAOS_CACHE"]).iterdir()] == [copy.parent.name]
    installed(NAMES + b"newer")
    assert libfaketime.find(bare).found is None, "another version needs a copy of its own"


def test_a_copy_that_steps_no_clock_is_refused_and_not_kept(bare, installed):
    installed(NAMES)  # the loader cannot preload this, and goes on without
    with pytest.raises(PartMissing, match=r"a clock stepped by 86400 s was off by -?[0-9]+ s"):
        libfaketime.fetch(bare, print)
    assert list(Path(bare["PYTEST_CHAOS_CACHE"]).iterdir()) == []


@pytest.mark.skipif(libfaketime.find(os.environ).found is None, reason=libfaketime.find(os.environ).how_to_get)
def test_the_real_one_is_made_anew_in_an_empty_cache(bare):
    said: list[str] = []
    libfaketime.fetch({**bare, "PATH": os.environ["PATH"]}, said.append)
    assert said == ["trying a stepped clock"]
    assert libfaketime.find({**bare, "PATH": os.environ["PATH"]}).found is not None
