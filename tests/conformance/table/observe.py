"""Observes one example of a fault with one client library: on an open connection, on a new one, and after."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytest_chaos.errors import ChaosError, FaultError
from pytest_chaos.faults import catalogue, hints
from pytest_chaos.model.fault import ByteFault, NodeAction, WireRule
from pytest_chaos.testing.described import acts_on, carriers, examples, seen_by, why_no_row
from tests.conformance.table.stack import BROKER_NODES, CLIENTS, ENGINES, Lane

REST_S = 3.0
FIRST_TRIES = 5
# A fault that comes by the clock (CloseAfter(ms=200)) has come by then; longer than a fetch that was under way.
SETTLE_S = 0.35
# A broker looks each 20 ms at what its consumers have in hand, as long as an answer of a busy machine takes.
WORK_S = 0.5
NOT_HIT = ", not hit"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A cell's name: fault, example as it is written down, engine, client."""

    fault: str
    example: str
    engine: str
    client: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What was seen: by the client on an open and on a new connection, and how often the work was done for each."""

    open: str
    open_done: str
    new: str
    new_done: str


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to observe: an example by one engine, with the clients that look at it together."""

    example: object
    engine: str
    clients: tuple[type, ...]
    alone: bool

    def names(self):
        name = self.example.kind.__name__
        return [Key(name, self.example.label, self.engine, client.name) for client in self.clients]


def tasks(names=None):
    """List everything that the catalogue claims. Faults of whole nodes stand alone: they touch every lane.

    Raises FaultError for a fault that could be shown nowhere and does not say why (``no_row``).
    """
    found = []
    for name, kind in catalogue:
        if (names and name not in names) or why_no_row(kind):
            continue
        mine = [task for example in examples(kind) for task in _tasks(example)]
        if not mine:
            msg = f"{name}: no client can see any of its examples: correct `examples`, or say why in `no_row`"
            raise FaultError(msg)
        found += mine
    return found


def _tasks(example):
    whole: dict[str, list[type]] = {}
    for client in CLIENTS:
        actions = _actions(example, client)
        if not actions:
            continue
        if all(isinstance(action, (WireRule, ByteFault)) for action in actions):
            yield from (Task(example, engine, (client,), False) for engine in _engines(actions))
        elif all(isinstance(action, NodeAction) for action in actions):
            whole.setdefault(client.node, []).append(client)
        else:
            yield Task(example, _carried(example, client), (client,), True)
    for clients in whole.values():
        yield Task(example, _carried(example, clients[0]), tuple(clients), True)


def _actions(example, client):
    """Give what an example compiles to where this client is; nothing where it says nothing to it."""
    if "broker" in hints(example.kind) and client.node not in BROKER_NODES:
        return ()
    if (side := seen_by(example.kind)) and client.consumes != (side == "consumers"):
        return ()
    try:
        fault = example.at(Lane(None, "wire", 1).place(client("", "m")))
    except FaultError:
        return ()  # it names what this callee has not
    return fault.actions("f") if acts_on(fault, client.facts) else ()


def _carried(example, client):
    return " with ".join(carriers(example.at(Lane(None, "wire", 1).place(client("", "m")))))


def _engines(actions):
    from pytest_chaos.injectors.toxiproxy import knows

    toxics = [action for action in actions if isinstance(action, ByteFault)]
    both = bool(toxics) and all(knows(toxic.toxic, toxic.attributes) for toxic in toxics)
    return ENGINES if both else ENGINES[:1]


def observe_all(stack, wanted, tell=lambda *_: None):
    """Observe tasks, as many at once as there are lanes; give what was seen by key, and what went wrong by key."""
    seen: dict[Key, Cell] = {}
    wrong: dict[Key, str] = {}
    count = itertools.count(1)

    def one(task):
        began = time.monotonic()
        try:
            seen.update(observe(stack, task))
        except Exception as error:  # noqa: BLE001 - the others are to be seen as well
            wrong.update(dict.fromkeys(task.names(), f"{type(error).__name__}: {error}"))
        tell(next(count), len(wanted), task, time.monotonic() - began)

    with contextlib.ExitStack() as pools:
        started = []
        for lane in stack.lanes:
            mine = [task for task in wanted if not task.alone and stack.lane(task) is lane]
            started += [pools.enter_context(ThreadPoolExecutor(1)).submit(lambda some: [*map(one, some)], mine)]
        for future in started:
            future.result()
    for task in wanted:
        if task.alone:
            one(task)
    return seen, wrong


def observe(stack, task):
    """Observe one task; a fault that hit nothing is tried once more before that counts, for a loaded machine's sake."""
    seen = _observe(stack, task)
    return _observe(stack, task) if any(NOT_HIT in cell.open for cell in seen.values()) else seen


def _observe(stack, task):
    lane = stack.lane(task)
    with lane.mine, contextlib.ExitStack() as ends:
        handed_on = seen_by(task.example.kind) == "consumers"
        looks = [Look(stack, lane, client, ends, handed_on=handed_on) for client in task.clients]
        try:
            fault = task.example.at(lane.place(looks[0].first))
            _each(looks, Look.warm_up)
            nemesis = stack.nemesis(f"table-{next(_numbers)}")
            schedule = nemesis.install([fault])
        except FaultError:
            return dict.fromkeys(task.names(), Cell("refused: `FaultError`", "no", "refused: `FaultError`", "no"))
        try:
            _each(looks, Look.look)
            _rest(stack, lane, task)
        finally:
            nemesis.uninstall(schedule)
        if task.alone:
            stack.mended()
        _rest(stack, lane, task)
        hit = sum(record.hits for record in nemesis.records())
        cells = [look.cell("" if hit else NOT_HIT) for look in looks]
        return dict(zip(task.names(), cells, strict=True))


def _each(looks, do):
    threads = ThreadPoolExecutor(len(looks))
    with threads:
        list(threads.map(do, looks))


def _rest(stack, lane, task):
    """Wait until nothing goes on at the link; a fault that holds may keep something for longer, which is its right."""
    deadline = time.monotonic() + REST_S
    link = f"{lane.caller} -> {task.clients[0].node}"
    while stack.open_attempts(link) and time.monotonic() < deadline:
        threading.Event().wait(0.05)


class Look:
    """One client library at one fault.

    ``handed_on``: the fault is about what consumers have in hand, so that they work on it for a while, and the second
    consumer works where the first one did.
    """

    def __init__(self, stack, lane, kind, ends, *, handed_on=False):
        self._stack, self._kind, self._handed_on = stack, kind, handed_on
        self._address = lane.address(kind)
        self._ends = ends
        name = f"{os.getpid()}-{next(_numbers)}"
        self._clients = {which: self._make(f"{name}-{which}", name) for which in ("open", "new")}
        self._saw: dict[str, str] = {}
        self._offered: set[str] = set()

    def _make(self, marker, shared):
        client = self._kind(self._address, marker, shared)
        if self._handed_on:
            client.own, client.work_s = shared, WORK_S
        client.direct = self._stack.direct.get(client.node)
        client.prepare()
        client.open()
        self._ends.callback(client.close)
        return client

    @property
    def first(self):
        """The client whose connection the fault will find open."""
        return self._clients["open"]

    def warm_up(self):
        """Make a call on the connection that the fault will find open."""
        client = self.first
        for _ in range(FIRST_TRIES):
            self._before(client, f"{client.marker}-warm")
            said = client.call(f"{client.marker}-warm")
            if said in {"answered", "received"}:
                return
        msg = f"{client.name}: no answer without a fault: {said}"
        raise ChaosError(msg)

    def look(self):
        """Call on the open connection, close it, call on a new one, close it."""
        threading.Event().wait(SETTLE_S)
        for which, client in self._clients.items():
            self._before(client, client.marker)
            self._saw[which] = client.call(client.marker)
            client.close()

    def cell(self, more=""):
        """Give what was seen, with ``more`` to say behind it, and what was done by now."""
        clients = list(self._clients.values())
        if self._kind.consumes and not self._handed_on:
            count = {one.marker: self._stack.done(one, [one.marker])[one.marker] for one in clients}
            count.update((one.marker, 0) for one in clients if one.marker not in self._offered)
        else:
            count = self._stack.done(self.first, [one.marker for one in clients])
        done = {which: _times(count[client.marker]) for which, client in self._clients.items()}
        return Cell(self._saw["open"] + more, done["open"], self._saw["new"] + more, done["new"])

    def _before(self, client, marker):
        with contextlib.suppress(Exception):  # a broker that is down cannot be given a message
            client.before(marker)
            self._offered.add(marker)


def _times(count):
    return {0: "no", 1: "once", 2: "twice"}.get(count, "more often")


def merged(*seen):
    """Put several rounds together: what differed between them stands side by side, in the order of the alphabet."""
    keys = sorted({key for one in seen for key in one})
    return {key: _both([one[key] for one in seen if key in one]) for key in keys}


def _both(cells):
    names = [field.name for field in dataclasses.fields(Cell)]
    told = {name: {part for cell in cells for part in getattr(cell, name).split(" or ")} for name in names}
    return Cell(**{name: " or ".join(sorted(parts)) for name, parts in told.items()})


def agrees(cell, page):
    """Whether what was seen is among what the page says."""
    names = [field.name for field in dataclasses.fields(Cell)]
    return all(set(getattr(cell, name).split(" or ")) <= set(getattr(page, name).split(" or ")) for name in names)
