"""Whether a kept node is still what the topology asks for: its command, environment, image and sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_chaos.keeper import wiring
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.plan import NodeSpec, StackSpec

_CACHES = {".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
_SKIPPED = frozenset({"__pycache__", "node_modules", ".git", ".venv", "venv", "target", "build", "dist"} | _CACHES)
_MOST_FILES = 5_000
_LONGEST_NAME = 1_000


def fingerprint(node: NodeSpec, spec: StackSpec, environ: Mapping[str, str]) -> str:
    """Give a digest of all that a node is: its spec, what it inherits, its files' names, sizes and times."""
    base = Path(spec.project, node.cwd)
    digest = hashlib.blake2b(digest_size=16)
    inherited = wiring.inherited(environ) if node.kind != "stub" else {}
    digest.update(json.dumps([to_json(node), inherited, spec.project], sort_keys=True, default=str).encode())
    for path in sorted(set(_files(_watched(node, base)))):
        try:
            seen = path.stat()
        except OSError:
            continue
        digest.update(f"{path}|{seen.st_size}|{seen.st_mtime_ns}".encode())
    return digest.hexdigest()


def _watched(node: NodeSpec, base: Path) -> Iterator[Path]:
    """Give what a node is made of: what it says itself, else what its command names, else its whole folder."""
    if node.watch:
        yield from (base / item for item in node.watch)
        return
    named = list(_named(node, base))
    yield from named
    if not named and node.kind == "service" and node.command and not _is_inline(node.command):
        # ``npm start``, ``sh -c ...``: which files it runs nobody can say, and an old service is not judged as new.
        around = base.iterdir() if base.is_dir() else ()
        yield from (item for item in around if item.name not in {*_SKIPPED, "reports"})


def _is_inline(command: Sequence[str]) -> bool:
    return Path(command[0]).name.startswith("python") and "-c" in command


def _named(node: NodeSpec, base: Path) -> Iterator[Path]:
    """Give the Python module or the files that a command names."""
    for before, item in zip(("", *node.command), node.command, strict=False):
        if before == "-m":
            top = item.partition(".")[0]
            yield from (found for found in (base / top, base / f"{top}.py") if found.exists())
            continue
        path = base / item
        if before != "-c" and _is_name(item):
            if path.suffix == ".py" and path.is_file():
                yield from path.parent.glob("*.py")
            elif path.is_file():
                yield path


def _is_name(item: str) -> bool:
    """Whether a command's word can be a file's name: not a program's text, not a bare word found on PATH."""
    return len(item) <= _LONGEST_NAME and "\n" not in item and ("/" in item or "." in item)


def _files(items: Iterable[Path]) -> Iterator[Path]:
    count = 0
    for item in items:
        if not item.is_dir():
            yield item
            continue
        for folder, subfolders, names in item.walk() if hasattr(item, "walk") else _walk(item):
            subfolders[:] = [name for name in subfolders if name not in _SKIPPED]
            for name in names:
                count += 1
                if count > _MOST_FILES:
                    return
                yield folder / name


def _walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    import os  # noqa: PLC0415 - Path.walk is there from Python 3.12 on

    for folder, subfolders, names in os.walk(top):
        yield Path(folder), subfolders, names
