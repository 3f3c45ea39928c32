"""Where runs live: private, short enough for a socket, noted so that no later process passes for the keeper."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper import home


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a folder with a short name: a worker's own are too long for the sockets in them."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_root_is_private() -> None:
    assert home.root().stat().st_mode & 0o777 == 0o700


def test_a_root_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"pytest-chaos-{os.getuid()}").symlink_to("/tmp")
    with pytest.raises(KeeperError, match="set TMPDIR"):
        home.root()


def test_a_path_too_long_for_a_socket_says_what_to_do() -> None:
    with pytest.raises(KeeperError, match=r"too long for a Unix socket .*TMPDIR"):
        home.run_home("r" * 90)


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", "a b"])
def test_a_run_id_is_a_plain_word(run_id: str) -> None:
    with pytest.raises(KeeperError, match="letters, digits"):
        home.run_home(run_id)


def test_only_the_very_process_that_keeps_a_run_counts_as_alive() -> None:
    run = home.run_home("r1")
    run.folder.mkdir()
    home.write_record(run)
    record = home.read_record(run)
    assert record is not None
    assert record.alive
    assert not dataclasses.replace(record, started=record.started - 1).alive
    assert not dataclasses.replace(record, boot="another boot").alive
    assert not dataclasses.replace(record, pid=2**22 + 1).alive


def test_a_torn_note_is_no_note() -> None:
    run = home.run_home("r1")
    run.folder.mkdir()
    run.record.write_text('{"run_id": "r1", "pid"')
    assert home.read_record(run) is None


def test_a_kept_run_is_found_by_its_project_only_while_its_keeper_lives(tmp_path: Path) -> None:
    run = home.run_home("r1")
    run.folder.mkdir()
    home.write_kept(tmp_path, "r1")
    assert home.read_kept(tmp_path) is None
    home.write_record(run)
    assert home.read_kept(tmp_path) == run
    assert home.read_kept(tmp_path / "other") is None
    home.forget_kept(tmp_path, "r2")
    assert home.read_kept(tmp_path) == run
    home.forget_kept(tmp_path, "r1")
    assert home.read_kept(tmp_path) is None
