"""Nothing in the tree belongs to one machine, to an index of packages, or to the way this project was made."""

from __future__ import annotations

import re

import pytest

from tests.repo.tree import PACKAGE, ROOT, tracked

# Spelt in pieces, so that this file does not contain what it forbids.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.{}$])/(wor" r"k|roo" r"t|hom" r"e/\w+)/",
    "a path outside the repository": r"\.\./" r"shared",
    "an issue's number": r"\b[Ii]ssue" r" #?[0-9]",
    "a document that is not here": r"\bseed" r"\.md|\bspec/(parts|correctness|faults|tracing|style|explore)" r"\.md",
    "the address of a package index": r"https?://[^\s\"'<>]*(/simple|/maven2|pypi\.org|pythonhosted|proxy\.golang|repo1?\.maven)",
    "unfinished work": r"\b(TO" r"DO|FIX" r"ME)\b|raise NotImplemented" r"Error",
}
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".lock",
    ".proto",
    ".pyi",
    ".yml",
    ".yaml",
    ".json",
    ".jsonl",
    ".html",
    ".js",
    ".css",
    "",
    ".cfg",
}


def findings(text: str) -> list[str]:
    """Name each kind of forbidden text with the line where it stands."""
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group(0)!r}"
        for what, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize("path", [path for path in tracked() if path.suffix in TEXT], ids=str)
def test_a_tracked_file_is_clean(path):
    assert findings((ROOT / path).read_text(errors="replace")) == []


@pytest.mark.parametrize(
    "text",
    [
        "see /work/main/x",
        "/root/.cache",
        "../shared/design",
        "as issue 3 says",
        "https://pypi.org/simple",
        "# TODO later",
    ],
)
def test_planted_dirt_is_found(text):
    assert findings(text)


@pytest.mark.parametrize("text", ["/api/orders", "{root}/work/", "an issue of 3 kinds", "https://example.org/orders"])
def test_ordinary_text_is_not(text):
    assert findings(text) == []


def test_no_uv_lock_and_no_second_lock():
    assert not (ROOT / "uv.lock").exists()


def test_no_package_class_looks_like_a_test():
    found = [path for path in PACKAGE.rglob("*.py") if re.search(r"^\s*class Test", path.read_text(), re.MULTILINE)]
    assert found == []
