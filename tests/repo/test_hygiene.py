"""Nothing in the tree belongs to one machine, to an index of packages, or to the way this project was made."""

from __future__ import annotations

import re

import pytest

from tests.repo.tree import PACKAGE, ROOT, tracked

# Spelt with character classes, so that this file does not contain what it forbids.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.{}$])/(wor[k]|roo[t]|hom[e]/\w+)/",
    "a path outside the repository": r"\.\./share[d]",
    "an issue's number": r"\b[Ii]ssu[e] #?[0-9]",
    "a document that is not here": r"\bsee[d]\.md|\bspe[c]/(parts|correctness|faults|tracing|style|explore)\.md",
    "the address of a package index": (
        r"https?://[^\s\"'<>]*(/simpl[e]|/maven[2]|pypi\.or[g]|pythonhoste[d]|proxy\.golan[g]|repo1?\.mave[n])"
    ),
    "unfinished work": r"\b(TOD[O]|FIXM[E])\b|raise NotImplementedErro[r]",
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


# What protoc writes is not ours to word.
OURS = [path for path in tracked() if path.suffix in TEXT and "_pb2" not in path.name]


@pytest.mark.parametrize("path", OURS, ids=str)
def test_a_tracked_file_is_clean(path):
    assert findings((ROOT / path).read_text(errors="replace")) == []


BESIDE = {".pyi", ".svg", ".sh", ".conf", ".typed", ".gitkeep", ".gitignore"}
"""Kinds of files that are read by other tests, or too plain to need any."""


def test_every_tracked_file_is_of_a_known_kind():
    """What a tool leaves lying about (dumps, caches, binaries) is not committed."""
    known = TEXT | BESIDE
    assert [str(path) for path in tracked() if path.suffix not in known and path.name not in known] == []


# The ~ keeps this file clean of what it plants.
PLANTED = [
    "see /wor~k/main/x",
    "/roo~t/.cache",
    "../share~d/design",
    "as issu~e 3 says",
    "https://pypi.or~g/x",
    "# TOD~O later",
]


@pytest.mark.parametrize("text", PLANTED)
def test_planted_dirt_is_found(text):
    assert findings(text.replace("~", ""))


@pytest.mark.parametrize("text", ["/api/orders", "{root}/work/", "an issue of 3 kinds", "https://example.org/orders"])
def test_ordinary_text_is_not(text):
    assert findings(text) == []


def test_no_uv_lock_which_names_addresses():
    assert not (ROOT / "uv.lock").exists()


def test_no_package_class_looks_like_a_test():
    found = [path for path in PACKAGE.rglob("*.py") if re.search(r"^\s*class Test", path.read_text(), re.MULTILINE)]
    assert found == []
