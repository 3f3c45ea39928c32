"""What a run is asked to be: checked once, handed down explicitly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RuntimeChoice = Literal["auto", "containers", "processes"]
InjectorChoice = Literal["auto", "toxiproxy", "wire"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One run's settings. ``timeout_s`` bounds a test; ``quiesce_s`` bounds the wait for the system to come to rest."""

    run_id: str
    project: Path
    report_dir: Path
    seed: int
    command: str
    runtime: RuntimeChoice = "auto"
    injector: InjectorChoice = "auto"
    require: tuple[str, ...] = ()
    keep: bool = False
    jaeger_url: str = ""
    timeout_s: float = 60.0
    quiesce_s: float = 15.0
    images: tuple[tuple[str, str], ...] = ()
