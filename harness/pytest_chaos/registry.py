"""How the files of a plug-in room are found: each module of the room, then entry points of the same name.

A room is a package; every public module in it is one plug-in. Third parties add to a room by an entry point group
with the room's dotted name (for example ``pytest_chaos.faults``). Importing is done on first use, never at import of
this module.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from pytest_chaos.errors import ChaosError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named plug-ins of one room, loaded on first look-up.

    Raises ChaosError when a name is taken twice or asked for and unknown.
    """

    def __init__(self, room: str) -> None:
        self._room = room
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds one plug-in under a name."""

        def add(item: T) -> T:
            known = self._items.get(name)
            if known is not None and getattr(known, "__module__", None) != getattr(item, "__module__", None):
                msg = f"{self._room}: the name {name!r} is registered twice ({known!r} and {item!r})"
                raise ChaosError(msg)
            self._items[name] = item
            return item

        return add

    def get(self, name: str) -> T:
        """Give the plug-in called ``name``; raise ChaosError listing the known names otherwise."""
        self._load()
        try:
            return self._items[name]
        except KeyError:
            msg = f"{self._room}: no plug-in is called {name!r}; known: {', '.join(sorted(self._items)) or 'none'}"
            raise ChaosError(msg) from None

    def names(self) -> list[str]:
        """List every name, sorted."""
        self._load()
        return sorted(self._items)

    def __iter__(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, plug-in), sorted by name."""
        self._load()
        return iter(sorted(self._items.items()))

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._room)
        for found in pkgutil.iter_modules(package.__path__):
            if not found.name.startswith("_"):
                importlib.import_module(f"{self._room}.{found.name}")
        for entry in importlib.metadata.entry_points(group=self._room):
            entry.load()
