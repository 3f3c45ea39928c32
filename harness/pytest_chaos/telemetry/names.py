"""What both encodings of OTLP share: numbers of kinds and states, and how a value that is no scalar is written."""

from __future__ import annotations

import json
from typing import Literal

Kind = Literal["unspecified", "internal", "server", "client", "producer", "consumer"]
Status = Literal["unset", "ok", "error"]

KINDS: dict[int, Kind] = {0: "unspecified", 1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
STATUSES: dict[int, Status] = {0: "unset", 1: "ok", 2: "error"}


def as_text(value: object) -> str:
    """Give a string as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str, separators=(",", ":"))
