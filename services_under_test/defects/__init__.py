"""The planted defects, one file each: a strategy that is wrong in a way that real code has been wrong."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services_under_test.common.env import SettingError
from services_under_test.common.strategies import Strategies


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A planted defect: what it replaces, where it shows, and which rules must find it.

    ``rules``: at least one of these fails in the scenario. ``also``: further rules that may fail with them, each with
    its reason.
    """

    id: str
    service: str
    rules: tuple[str, ...]
    scenario: str
    also: Mapping[str, str] = field(default_factory=dict)
    replaces: Mapping[str, Any]


def names() -> list[str]:
    """List the ids of all defects, from their files' names."""
    return sorted(module.name.upper().replace("_", "-") for module in pkgutil.iter_modules(__path__))


def find(defect_id: str) -> Defect:
    """Give a defect by its id; SettingError names the ids that exist."""
    if defect_id not in names():
        msg = f"SHOP_DEFECTS: no defect is called {defect_id!r}; there are: {', '.join(names())}"
        raise SettingError(msg)
    module = importlib.import_module(f"{__name__}.{defect_id.lower().replace('-', '_')}")
    defect: Defect = module.DEFECT
    return defect


def load(selected: str) -> Strategies:
    """Give the right strategies, with those of the selected defects (ids, comma-separated) put in their place."""
    strategies = Strategies()
    for defect_id in filter(None, (part.strip() for part in selected.split(","))):
        strategies = replace(strategies, **find(defect_id).replaces)
    return strategies
