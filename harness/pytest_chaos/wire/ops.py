"""What a control client may ask for. Every operation is done when it is answered; none of them waits for traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.codec import to_json
from pytest_chaos.wire import fields as asked
from pytest_chaos.wire import kinds
from pytest_chaos.wire.fields import Fields
from pytest_chaos.wire.framed.readers import handler_of
from pytest_chaos.wire.links import Link
from pytest_chaos.wire.record import Record
from pytest_chaos.wire.stub import Stub
from pytest_chaos.wire.table import Active
from pytest_chaos.wire.world import World


class Ops:
    """Carries requests out; each raises ChaosError with one sentence that says what is wrong."""

    def __init__(self, world: World, quit_: Callable[[], None]) -> None:
        self._world = world
        self._quit = quit_
        world.ended = self._ended
        self._links: dict[str, Link] = {}
        self._ops: dict[str, Callable[[Fields], dict[str, Any]]] = {
            "open_link": self._open_link,
            "close_link": self._close_link,
            "set_upstream": self._set_upstream,
            "install": self._install,
            "uninstall": self._uninstall,
            "rules": self._rules,
            "reset": self._reset,
            "mark": self._mark,
            "release": self._release,
            "stub_reset": self._stub_reset,
            "probe": self._probe,
            "ping": self._ping,
            "stats": self._stats,
            "quit": self._leave,
        }

    def run(self, op: object, fields: Fields) -> dict[str, Any]:
        """Carry one request out and give the answer's fields."""
        known = self._ops.get(op) if isinstance(op, str) else None
        if known is None:
            msg = f"op={op!r:.80}: must be one of {', '.join(self._ops)}"
            raise ChaosError(msg)
        asked.only(str(op), fields)
        return known(fields)

    def lift_all(self) -> dict[str, Any]:
        """Lift every rule; give the hits."""
        return self._lifted(self._world.table.uninstall())

    def _ended(self, record: Record) -> None:
        link = self._links.get(record.link)
        if link is not None and record.protocol != "tcp":
            link.ended(record.connection)

    def shut_down(self) -> None:
        """Lift everything and close every link."""
        self.lift_all()
        for link in self._links.values():
            link.close()
        self._links.clear()

    # links

    def _open_link(self, fields: Fields) -> dict[str, Any]:
        name, host = asked.link(fields), asked.host(fields)
        if name in self._links:
            msg = f"name={name!r}: this link is open already; close it first"
            raise ChaosError(msg)
        specs = asked.marks(fields)
        upstream = asked.upstream(fields)
        handle = handler_of(fields.get("protocol"))
        if handle is not None and fields.get("operations") is not None:
            msg = f"protocol={fields['protocol']!r}: must be null where there are operations: a stub speaks HTTP"
            raise ChaosError(msg)
        stub = self._stub(fields)
        port = asked.port(fields)
        link = Link(self._world, name=name, host=host, port=port, identify=specs, stub=stub, handle=handle)
        link.protocol = fields.get("protocol") or ""
        link.upstream = upstream
        try:
            if "advertise" in fields:
                link.advertise(fields["advertise"])
            link.refresh()
        except (OSError, ChaosError):
            link.close()
            raise
        self._links[name] = link
        return {"port": link.port}

    def _stub(self, fields: Fields) -> Stub | None:
        asked.ledger(fields)
        operations = fields.get("operations")
        if operations is None:
            return None
        if not isinstance(operations, dict):
            msg = f"operations={operations!r:.80}: must be an object of operations, or null"
            raise ChaosError(msg)
        built = {name: asked.operation(name, plain) for name, plain in operations.items()}
        ledger = asked.ledger(fields) or asked.link(fields).rpartition(" -> ")[2]
        stub = self._world.stubs.setdefault(ledger, Stub(ledger))
        stub.operations.update(built)
        return stub

    def _close_link(self, fields: Fields) -> dict[str, Any]:
        self._link(fields).close()
        del self._links[asked.text(fields, "name")]
        return {}

    def _set_upstream(self, fields: Fields) -> dict[str, Any]:
        link = self._link(fields)
        if link.stub is not None:
            msg = f"name={link.name!r}: a stub has no upstream"
            raise ChaosError(msg)
        if "upstream" not in fields:
            msg = "upstream: is needed: host:port or null"
            raise ChaosError(msg)
        upstream = asked.upstream(fields)
        if "advertise" in fields:
            link.advertise(fields["advertise"])
        link.upstream = upstream
        link.refresh()
        return {"port": link.port, "listening": link.listening}

    def _link(self, fields: Fields) -> Link:
        name = asked.text(fields, "name")
        if name not in self._links:
            msg = f"name={name!r}: no such link is open; open: {', '.join(sorted(self._links)) or 'none'}"
            raise ChaosError(msg)
        return self._links[name]

    # rules

    def _install(self, fields: Fields) -> dict[str, Any]:
        schedule, rules = asked.name(fields, "schedule", most=asked.OWNER_LIMIT), fields.get("rules")
        if not isinstance(rules, list):
            msg = f"rules={rules!r:.80}: must be a list of rules"
            raise ChaosError(msg)
        built = [asked.rule(plain) for plain in rules]
        for rule in built:
            kinds.check(rule, links=self._links)
        names = [rule.id for rule in built]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            msg = f"rules: id={twice!r} stands twice; ids must differ within a schedule"
            raise ChaosError(msg)
        owner = asked.name(fields, "owner", most=asked.OWNER_LIMIT) if "owner" in fields else schedule
        return self._lifted(self._world.table.install(schedule, owner, built))

    def _uninstall(self, fields: Fields) -> dict[str, Any]:
        if fields.get("schedule") is not None:
            return self._lifted(self._world.table.uninstall(schedule=asked.text(fields, "schedule")))
        return self._lifted(self._world.table.uninstall(owner=asked.text(fields, "owner")))

    def _reset(self, fields: Fields) -> dict[str, Any]:
        del fields
        return self.lift_all()

    def _lifted(self, lifted: list[Active]) -> dict[str, Any]:
        self._world.lift(lifted)
        for link in self._links.values():
            link.refresh()
            link.strike()
        hits: dict[str, dict[str, Any]] = {}
        for active in lifted:
            hits[active.rule.id] = _merged(hits.get(active.rule.id), _hits(active))
        return {"hits": hits}

    def _rules(self, fields: Fields) -> dict[str, Any]:
        del fields
        return {
            "rules": [
                {
                    "schedule": active.schedule,
                    "owner": active.owner,
                    "rule": to_json(active.rule),
                    "seen": active.seen,
                    **_hits(active),
                }
                for active in self._world.table.active()
            ],
            "links": {
                link.name: {
                    "port": link.port,
                    "listening": link.listening,
                    "upstream": None if link.upstream is None else "{}:{}".format(*link.upstream),
                    "connections": len(link.connections),
                }
                for link in self._links.values()
            },
        }

    def _release(self, fields: Fields) -> dict[str, Any]:
        rule, attempt = asked.text(fields, "rule"), asked.text(fields, "attempt")
        if not self._world.release(rule, attempt):
            msg = f"rule={rule!r}, attempt={attempt!r}: no such request is held"
            raise ChaosError(msg)
        return {}

    # the record

    def _mark(self, fields: Fields) -> dict[str, Any]:
        del fields
        open_ = [record.as_json() for record in self._world.open.values() if record.protocol != "tcp"]
        return {"offset": self._world.spool.flush(), "open": open_}

    def _stub_reset(self, fields: Fields) -> dict[str, Any]:
        ledger = fields.get("ledger")
        if ledger is not None and (not isinstance(ledger, str) or ledger not in self._world.stubs):
            msg = f"ledger={ledger!r:.80}: no such stub; there is {', '.join(sorted(self._world.stubs)) or 'none'}"
            raise ChaosError(msg)
        for name, stub in self._world.stubs.items():
            if ledger in (None, name):
                stub.reset()
        return {}

    def _probe(self, fields: Fields) -> dict[str, Any]:
        self._link(fields).probes.add(asked.port(fields))
        return {}

    def _ping(self, fields: Fields) -> dict[str, Any]:
        del fields
        return {"now_ns": self._world.now()}

    def _stats(self, fields: Fields) -> dict[str, Any]:
        del fields
        world = self._world
        connections = sum(len(link.connections) for link in self._links.values())
        return {
            "links": len(self._links),
            "connections": connections,
            "open": len(world.open),
            "rules": len(world.table.active()),
            "opaque": {link.name: link.opaque for link in self._links.values() if link.opaque},
            "elsewhere": {link.name: link.elsewhere for link in self._links.values() if link.elsewhere},
            "up_s": (world.now() - world.started_ns) / 1e9,
        }

    def _leave(self, fields: Fields) -> dict[str, Any]:
        del fields
        self._quit()
        return {}


def _hits(active: Active) -> dict[str, Any]:
    return {
        "hits": active.hits,
        "first_ns": active.first_ns,
        "last_ns": active.last_ns,
        **({"bytes": active.bytes} if active.bytes else {}),
    }


def _merged(former: dict[str, Any] | None, hits: dict[str, Any]) -> dict[str, Any]:
    """Join the hits of two schedules' rules that bear the same id."""
    if former is None or not former["hits"]:
        return hits
    return {
        **hits,
        "hits": former["hits"] + hits["hits"],
        "first_ns": min(former["first_ns"], hits["first_ns"] or former["first_ns"]),
        "last_ns": max(former["last_ns"], hits["last_ns"] or former["last_ns"]),
    }
