"""Rounds of loads, one contender after the other in each, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.hop import nodes
from benchmarks.hop.contenders import Contender, contenders
from benchmarks.hop.load import SERVERS
from benchmarks.hop.processes import free_port, output, running, wait
from benchmarks.rows import Measured, Row, row

ROUNDS = 5
SECONDS = 0.5
MANY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked, and what wire is to reach: by figure, the peer and the ratio of ours to it."""

    title: str
    depth: int = 1
    """Requests that a client keeps open on each of many connections: publishers' confirms, Kafka's default."""
    least: tuple[tuple[str, float], ...] = ()
    """Requests a second with many connections: at least so much of the peer's."""
    most: tuple[tuple[str, float], ...] = ()
    """Added at p50 with one connection: at most so much of what the peer adds."""


LOADS = {
    "http1": Load(title="HTTP/1.1 keep-alive", least=(("envoy", 1.0),), most=(("toxiproxy", 1.0),)),
    "http1_1mib": Load(title="HTTP/1.1, 1 MiB each way"),
    "grpc": Load(title="gRPC unary", least=(("envoy", 1.0),), most=(("envoy", 0.5),)),
    "grpc_traced": Load(title="gRPC unary, traced", least=(("envoy", 1.0),), most=(("envoy", 0.5),)),
    "resp": Load(title="Redis SET/GET", least=(("toxiproxy", 0.8),)),
    "amqp": Load(title="AMQP publish, confirms", depth=16, least=(("toxiproxy", 0.8),)),
    "kafka": Load(title="Kafka produce", depth=5, least=(("toxiproxy", 0.8),)),
}


@dataclass(slots=True)
class Seen:
    """What the rounds gave, by figure and contender."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, one: Contender, found: Mapping[str, float]) -> None:
        for figure, value in found.items():
            if figure != "cpu_us" or one.pid:
                self.values.setdefault(figure, {}).setdefault(one.name, []).append(value)

    def row(self, figure: str, measure: str, unit: str, *, digits: int = 1) -> Row:
        values = self.values[figure]
        peers = {name: found for name, found in values.items() if name != "ours"}
        return row(measure, unit, values["ours"], peers, digits=digits, paired=True)

    def added(self) -> None:
        """Take the direct way's times of the same round away."""
        for figure in ("p50_us", "p99_us"):
            values = self.values[figure]
            self.values[f"added_{figure}"] = {
                name: [one - bare for one, bare in zip(found, values["direct"], strict=True)]
                for name, found in values.items()
                if name != "direct"
            }


def measure(kind: str, rounds: int = ROUNDS, seconds: float = SECONDS) -> Measured:
    """Ask through each contender in turn, with one connection and with many; raise StackError when a load fails."""
    about, single, many = LOADS[kind], Seen(), Seen()
    with server(kind) as port, contenders(kind, port) as found:
        for _ in range(rounds):
            for one in found:
                single.note(one, load(kind, one, seconds=seconds))
                many.note(one, load(kind, one, seconds=seconds, connections=MANY, depth=about.depth))
    single.added()
    many.added()
    rows = (*_rows(f"{about.title}, 1 connection", single), *_rows(f"{about.title}, {_many(about)}", many))
    return Measured(rows=rows, notes=(*missing(found), *goals(about, rate=rows[3], added=rows[1])))


@contextlib.contextmanager
def server(kind: str) -> Iterator[int]:
    """Run what answers: a real broker, or a server that does nothing else; give its port."""
    if kind in SERVERS:
        port = free_port()
        with running(sys.executable, "-m", "benchmarks.hop.load", kind, str(port), "--serve"):
            wait(port)
            yield port
    else:
        with nodes.broker(kind) as port:
            yield port


def load(kind: str, contender: Contender, **options: float) -> dict[str, float]:
    """Run one load in a process of its own."""
    said = [f"--{name}={value}" for name, value in {"watch": contender.pid, **options}.items()]
    command = [sys.executable, "-m", "benchmarks.hop.load", kind, str(contender.port), *said]
    found: dict[str, float] = json.loads(output(*command))
    return found


def missing(found: list[Contender]) -> tuple[str, ...]:
    """Say who could not be had."""
    hows = {"toxiproxy": "`pytest-chaos setup toxiproxy` builds it", "envoy": "`make bench` fetches it"}
    here = {one.name for one in found}
    return tuple(f"no {name} here to measure beside wire: {how}" for name, how in hows.items() if name not in here)


def goals(about: Load, *, rate: Row, added: Row) -> tuple[str, ...]:
    """Say of each goal whether it was met, by medians."""
    said = []
    for figure, wanted, sign in ((rate, about.least, 1), (added, about.most, -1)):
        for name, ratio in wanted:
            if name in figure.peers:
                limit = ratio * figure.peers[name]
                verdict = "met" if sign * figure.ours >= sign * limit else "MISSED"
                bound = "at least" if sign > 0 else "at most"
                said.append(
                    f"goal: {figure.measure}: {bound} {ratio:g} of {name}: "
                    f"{figure.ours:,g} to {limit:,g} {figure.unit}: {verdict}"
                )
    return tuple(said)


def _many(about: Load) -> str:
    return f"{MANY} connections" + (f", {about.depth} open on each" if about.depth > 1 else "")


def _rows(title: str, seen: Seen) -> Iterator[Row]:
    yield seen.row("rate", title, "requests/s", digits=0)
    yield seen.row("added_p50_us", f"{title}, added at p50", "us")
    yield seen.row("added_p99_us", f"{title}, added at p99", "us")
    if "connections" in title:
        yield seen.row("cpu_us", f"{title}, CPU of the proxy", "us/request")
