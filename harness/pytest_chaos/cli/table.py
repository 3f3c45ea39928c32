"""The table of real parts, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from pytest_chaos.parts import Part

_WIDTH = 80
_NAME = 12
_VERSION = 15
_INDENT = " " * (_NAME + _VERSION)


def parts_table(parts: Iterable[Part]) -> str:
    """Render each part with its version and where it was found, or how to get it, in lines of at most 80 columns."""
    lines = [f"{'PART':<{_NAME}}{'VERSION':<{_VERSION}}FOUND AT, OR HOW TO GET IT", "-" * _WIDTH]
    for part in parts:
        state = (part.version or "?") if part.found else "missing"
        lines += _row(part.name, state, part.found or part.how_to_get)
    return "\n".join(lines)


def _row(name: str, state: str, text: str) -> list[str]:
    head = f"{name:<{_NAME}}{state:<{_VERSION}}"
    if " " not in text and len(text) > _WIDTH - len(_INDENT):
        # A path stays in one piece, so that it can be copied.
        return [head.rstrip(), text.rjust(_WIDTH)]
    wrapped = textwrap.wrap(text, _WIDTH - len(_INDENT), break_on_hyphens=False) or [""]
    return [head + wrapped[0], *(_INDENT + line for line in wrapped[1:])]
