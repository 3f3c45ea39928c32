"""Which image a node runs: the run's settings first, then the default, then one that was built here for it."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS: Mapping[str, str] = {
    "kafka": "apache/kafka:4.1.0",
    "rabbitmq": "rabbitmq:4",
    "redis": "redis:7",
    "toxiproxy": "ghcr.io/shopify/toxiproxy:2.12.0",
}
"""The public images of the real parts. Each name is a key of the settings, as every service's own name is."""


def of_node(name: str, declared: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """List the images that a service or a backing may run: the one of the settings, else its own."""
    own = settings.get(name, settings.get(name.replace("-", "_"), declared))
    return (own,) if own else ()


def of_part(name: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """List the images that a real part may run, best first. A setting stands alone: it is not replaced."""
    if name in settings:
        return (settings[name],)
    return (DEFAULTS[name], f"pytest-chaos/{name}:local")
