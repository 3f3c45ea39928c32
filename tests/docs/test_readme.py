"""README's commands are targets that exist, and its example is a topology and a test that load as they stand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import pytest_chaos
from pytest_chaos import Topology

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_make_command_of_the_documents_is_a_target() -> None:
    for page in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        targets = set(re.findall(r"\bmake ([a-z-]+)", page))
        assert targets
        for target in targets:
            dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
            assert dry.returncode == 0, dry.stderr


def test_every_file_that_a_document_links_to_is_there() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_is_a_topology_and_a_test_as_it_stands() -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    names = {name: getattr(pytest_chaos, name) for name in re.findall(r"\b([A-Z]\w+)\(", example[1])}
    loaded: dict[str, object] = {"pytest": pytest, **names}
    exec(example[1], loaded)  # noqa: S102 - our own page
    definition = loaded["chaos_topology"]
    topology = getattr(definition, "__wrapped__", None) or definition._get_wrapped_function()  # type: ignore[attr-defined]
    assert isinstance(topology(), Topology)
    assert callable(loaded["test_a_lost_payment_answer_charges_once"])
