"""Patterns of operations: how a fault, a stub or a marker says which requests it is about."""

from __future__ import annotations

import functools
import re


@functools.lru_cache(maxsize=1024)
def pattern(operation: str) -> re.Pattern[str]:
    """Compile an operation pattern: ``*`` is anything within a path segment, ``**`` anything, `` | `` means or."""
    parts = re.split(r"(\*\*|\*| \| )", operation)
    known = {"**": ".*", "*": "[^/]*", " | ": "|"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.DOTALL)
