from __future__ import annotations

from pathlib import Path

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import Part, all_parts, cache_dir

NAMES = ["chromium", "docker", "java", "kafka", "libfaketime", "rabbitmq", "redis", "toxiproxy"]


def test_every_part_is_listed():
    assert list(all_parts()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_on_a_bare_machine_a_part_is_missing_and_says_how_to_get_it(name, bare):
    part = all_parts()[name].find(bare)
    assert (part.name, part.found, part.version) == (name, None, None)
    assert name in part.how_to_get.lower()


def test_looking_leaves_the_cache_alone(bare):
    for source in all_parts().values():
        source.find(bare)
    assert list(Path(bare["PYTEST_CHAOS_CACHE"]).iterdir()) == []


def test_require_refuses_with_the_way_to_get_it():
    missing = Part(name="kafka", found=None, version=None, how_to_get="run the set-up")
    with pytest.raises(PartMissing, match=r"kafka.*run the set-up"):
        missing.require()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PYTEST_CHAOS_CACHE": "/own", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/own"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/pytest-chaos"),
        ({"HOME": "/h"}, "/h/.cache/pytest-chaos"),
    ],
)
def test_the_cache_is_where_the_user_says(environ, expected):
    assert cache_dir(environ) == Path(expected)
