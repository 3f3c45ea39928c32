"""The commands, one module each: NAME, HELP, ``add_arguments(parser)`` and ``run(args) -> int``."""

from __future__ import annotations
