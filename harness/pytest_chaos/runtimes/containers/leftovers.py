"""Removing what carries a run's label at the Docker engine, over its socket: no client library is needed for it."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pytest_chaos.parts import docker
from pytest_chaos.runtimes.containers import labels

_CALL_S = 15.0
_GONE_S = 15.0
_LOOK_S = 0.05
_AT_ONCE = 8
Labels = Mapping[str, str]


def of_dead_runs(environ: Mapping[str, str]) -> dict[str, tuple[int, list[str]]]:
    """Remove what dead runs left; give, by run, how many things went and what stayed. Blocks."""
    if not environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return {}  # an engine elsewhere: whose keepers live there cannot be seen from here
    dead = {found[labels.RUN] for found in _labelled(environ, "") if labels.is_dead(found)}
    return {run: remove(environ, run) for run in sorted(dead)}


def remove(environ: Mapping[str, str], run_id: str) -> tuple[int, list[str]]:
    """Remove a run's containers, then its networks; give how many there were, and what stayed, in words. Blocks."""
    try:
        count, left = _remove_all(environ, "container", lambda: _containers(environ, run_id))
        networks, stayed = _remove_all(environ, "network", lambda: _networks(environ, run_id))
    except OSError as away:
        return 0, [f"whatever run {run_id} has at the Docker engine, which does not answer: {away}"]
    return count + networks, left + stayed


def _remove_all(
    environ: Mapping[str, str], what: str, find: Callable[[], list[dict[str, Any]]]
) -> tuple[int, list[str]]:
    """Ask again and again until none is listed: removal may be under way already."""
    deadline = time.monotonic() + _GONE_S
    seen: set[str] = set()
    while found := find():
        ids = [str(one["Id"]) for one in found]
        seen.update(ids)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            refused = [why for why in pool.map(lambda name: _remove_one(environ, what, name), ids) if why]
        if time.monotonic() > deadline:
            return len(seen), refused or [f"{what} {name[:12]}" for name in ids]
        if refused:
            time.sleep(_LOOK_S)
    return len(seen), []


def _remove_one(environ: Mapping[str, str], what: str, name: str) -> str:
    query = "?force=1&v=1" if what == "container" else ""
    status, answer = docker.call(environ, "DELETE", f"/{what}s/{name}{query}", timeout_s=_CALL_S)
    if status in (200, 204, 404):
        return ""
    return f"{what} {name[:12]}: {(answer or {}).get('message', status)}"


def _labelled(environ: Mapping[str, str], run_id: str) -> list[Labels]:
    try:
        found = [*_containers(environ, run_id), *_networks(environ, run_id)]
    except OSError:
        return []
    return [dict(one.get("Labels") or {}) for one in found]


def _containers(environ: Mapping[str, str], run_id: str) -> list[dict[str, Any]]:
    return _list(environ, f"/containers/json?all=1&filters={_filters(run_id)}")


def _networks(environ: Mapping[str, str], run_id: str) -> list[dict[str, Any]]:
    return _list(environ, f"/networks?filters={_filters(run_id)}")


def _list(environ: Mapping[str, str], path: str) -> list[dict[str, Any]]:
    status, answer = docker.call(environ, "GET", path, timeout_s=_CALL_S)
    if status != 200:
        msg = f"it answered {status} to GET {path}: {answer}"
        raise OSError(msg)
    return list(answer or ())


def _filters(run_id: str) -> str:
    label = f"{labels.RUN}={run_id}" if run_id else labels.RUN
    return urllib.parse.quote(json.dumps({"label": [label]}))
