"""Reading settings from the environment: every value typed, every mistake named."""

from __future__ import annotations

import json
from collections.abc import Mapping


class SettingError(SystemExit):
    """A setting that cannot be used: the process ends with a line that names it."""


class Env:
    """Typed access to environment variables; raises SettingError naming variable, value and what is expected."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """Give a variable's text, or the default when it is unset or empty."""
        return self._values.get(name) or default

    def required(self, name: str) -> str:
        """Give a variable that the service cannot do without."""
        if value := self.text(name):
            return value
        msg = f"{name} is not set, and there is no default for it"
        raise SettingError(msg)

    def seconds(self, name: str, default: float) -> float:
        """Give a positive number of seconds."""
        return self._number(name, default, 0.001)

    def count(self, name: str, default: int) -> int:
        """Give a whole number of at least one."""
        return int(self._number(name, default, 1))

    def port(self, name: str) -> int:
        """Give a TCP port that must be set."""
        self.required(name)
        return self.count(name, 1)

    def numbers(self, name: str, default: Mapping[str, int]) -> dict[str, int]:
        """Give a JSON object of whole numbers."""
        raw = self.text(name)
        try:
            return {str(key): int(value) for key, value in (json.loads(raw) if raw else default).items()}
        except (ValueError, AttributeError, TypeError):
            msg = f'{name}={raw!r}: expected a JSON object of whole numbers, such as {{"book": 100}}'
            raise SettingError(msg) from None

    def _number(self, name: str, default: float, least: float) -> float:
        raw = self.text(name, str(default))
        try:
            value = float(raw)
        except ValueError:
            value = -1.0
        if value < least:
            msg = f"{name}={raw!r}: expected a number of at least {least:g}"
            raise SettingError(msg)
        return value
