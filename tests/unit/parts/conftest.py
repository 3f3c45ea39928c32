from __future__ import annotations

import pytest


@pytest.fixture
def bare(tmp_path):
    """An environment in which nothing was ever installed: an empty PATH folder, an empty cache."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "cache").mkdir()
    socket = tmp_path / "no-engine.sock"
    return {
        "PATH": str(tmp_path / "bin"),
        "PYTEST_CHAOS_CACHE": str(tmp_path / "cache"),
        "DOCKER_HOST": f"unix://{socket}",
    }


@pytest.fixture
def program(tmp_path):
    """Put a program on the bare PATH that prints one text, whatever it is asked."""

    def put(name, says, *, stream=1):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n/bin/cat >&{stream} <<'END'\n{says}\nEND\n")
        path.chmod(0o755)
        return str(path)

    return put
