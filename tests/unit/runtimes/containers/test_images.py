from __future__ import annotations

import pytest

from pytest_chaos.runtimes.containers import images


def test_a_real_part_runs_its_public_image_else_the_one_built_here():
    assert images.of_part("redis", {}) == ("redis:7", "pytest-chaos/redis:local")


def test_a_setting_stands_alone():
    assert images.of_part("redis", {"redis": "mirror/redis:7"}) == ("mirror/redis:7",)


@pytest.mark.parametrize("key", ["mail-gate", "mail_gate"])
def test_a_nodes_name_is_a_key_also_as_an_environment_variable_spells_it(key):
    assert images.of_node("mail-gate", "own", {key: "other"}) == ("other",)


def test_a_service_has_its_own_image_or_none_even_when_it_is_called_like_a_part():
    assert images.of_node("redis", "own:1", {}) == ("own:1",)
    assert images.of_node("redis", "", {}) == ()
