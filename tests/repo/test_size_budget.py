"""Modules and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

from tests.repo.tree import PACKAGE, ROOT, modules

MODULE_LINES = 300
FUNCTION_LINES = 50
MEDIAN_LINES = 120


def exceptions() -> dict[str, str]:
    """Read the exception list: ``path[::function]  reason`` a line."""
    lines = (Path(__file__).parent / "size_exceptions.txt").read_text().splitlines()
    entries = (line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return dict(entries)


def too_long(source: str, *, function_lines: int = FUNCTION_LINES) -> list[str]:
    """Name the functions of a module that are longer than the budget."""
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > function_lines]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_and_its_functions_keep_the_budget(path):
    name, source = str(path.relative_to(ROOT)), path.read_text()
    allowed = exceptions()
    over = [f"{name}::{function}" for function in too_long(source)]
    if source.count("\n") > MODULE_LINES:
        over.append(name)
    assert [entry for entry in over if entry not in allowed] == []


def test_the_median_module_is_short():
    sizes = [path.read_text().count("\n") for path in modules() if path.name != "__init__.py"]
    assert statistics.median(sizes) <= MEDIAN_LINES


def test_every_exception_names_something_that_exists():
    for entry in exceptions():
        path, _, function = entry.partition("::")
        assert (ROOT / path).is_file(), entry
        if function:
            assert function in too_long((ROOT / path).read_text()), entry


def test_a_function_of_51_lines_is_found():
    source = "def f():\n" + "    x = 1\n" * FUNCTION_LINES
    assert too_long(source) == ["f"]
