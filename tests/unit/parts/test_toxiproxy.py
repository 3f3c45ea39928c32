from __future__ import annotations

from pathlib import Path

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import toxiproxy


def test_the_server_on_path_is_found(bare, program):
    path = program("toxiproxy-server", "toxiproxy-server version 2.9.0")
    part = toxiproxy.find(bare)
    assert (part.found, part.version) == (path, "2.9.0")


def test_the_cached_server_is_found(bare, program):
    cached = Path(bare["PYTEST_CHAOS_CACHE"]) / "toxiproxy-2.12.0" / "toxiproxy-server"
    cached.parent.mkdir()
    Path(program("x", "toxiproxy-server version 2.12.0")).rename(cached)
    part = toxiproxy.find(bare)
    assert (part.found, part.version) == (str(cached), "2.12.0")


def test_a_build_ends_in_the_cache_under_its_own_name(bare, tmp_path):
    go = tmp_path / "bin" / "go"
    server = (
        'printf "#!/bin/sh\\necho toxiproxy-server version 2.12.0\\n" > "$GOBIN/server"; /bin/chmod +x "$GOBIN/server"'
    )
    go.write_text(f"#!/bin/sh\n{server}\n")
    go.chmod(0o755)
    toxiproxy.fetch(bare, print)
    assert toxiproxy.find(bare).version == "2.12.0"
    assert [path.name for path in Path(bare["PYTEST_CHAOS_CACHE"]).iterdir()] == ["toxiproxy-2.12.0"]


def test_a_failed_build_shows_the_tool_s_last_lines_and_leaves_nothing(bare, tmp_path):
    go = tmp_path / "bin" / "go"
    go.write_text("#!/bin/sh\necho no route to the module proxy\nexit 1\n")
    go.chmod(0o755)
    with pytest.raises(PartMissing, match="no route to the module proxy"):
        toxiproxy.fetch(bare, print)
    assert list(Path(bare["PYTEST_CHAOS_CACHE"]).iterdir()) == []


def test_without_a_toolchain_fetching_says_what_to_do(bare):
    with pytest.raises(PartMissing, match="needs Go"):
        toxiproxy.fetch(bare, print)
