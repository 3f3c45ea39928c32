"""What a test holds in its hand: the stack, its clients, its faults, its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_chaos.engine import quiescence
from pytest_chaos.engine.aim import Aim
from pytest_chaos.engine.blocks import Block, Blocks
from pytest_chaos.engine.bursting import burst
from pytest_chaos.engine.clock import wait_until
from pytest_chaos.engine.driver import DEFAULT_TIMEOUT_S, AsyncClient, Client, OpLog
from pytest_chaos.engine.identity import Identities
from pytest_chaos.engine.judge import Judgement, bind, judge, later
from pytest_chaos.engine.nemesis import Nemesis
from pytest_chaos.engine.publishing import Publishing
from pytest_chaos.engine.recorder import Gathered, Window
from pytest_chaos.errors import ChaosError, Inconclusive, StackError, TopologyError, Violation
from pytest_chaos.model.fault import Fault, Schedule, Whom
from pytest_chaos.model.history import History
from pytest_chaos.model.journal import Decision
from pytest_chaos.model.message import Effect
from pytest_chaos.model.topology import DRIVER, Service
from pytest_chaos.model.verdict import Checker, Verdict

if TYPE_CHECKING:
    import grpc

    from pytest_chaos.brokers.base import Body
    from pytest_chaos.engine.session import Session

T = TypeVar("T")
Renderer = Callable[[Judgement], str]


class Chaos:
    """One test's view of the running stack; made by the ``chaos`` fixture."""

    def __init__(
        self,
        session: Session,
        test: str,
        window: Window,
        *,
        allow_inconclusive: bool,
        render: Renderer,
        shared: bool = False,
        recorded: Sequence[Schedule] | None = None,
    ) -> None:
        self._session = session
        self._test = test
        self._window = window
        self._allow_inconclusive = allow_inconclusive
        self._render = render
        identities = self._identities = Identities(session.settings.seed, test)
        self._ops = OpLog(identities)
        self.mine = Whom(test=identities.test)
        """Whose requests this test's own are: ``AnswerLost(link, whom=chaos.mine)`` leaves other tests alone."""
        self._own = identities.test if shared else ""
        """The test's 12 hex digits where others share the stack."""
        self._before = tuple(session.all_state()) if shared else ()
        aim = Aim(session.topology, identities.test) if shared else None
        self._nemesis = Nemesis(
            session.keeper, session.topology, test, aim=aim, recorded=recorded, before_wipe=session.hold
        )
        self._blocks = Blocks(self._nemesis)
        self._publishing = Publishing(session, self._ops)
        self._cleanup = ExitStack()
        self._cleanup.callback(self._publishing.close)
        self.judgements: list[Judgement] = []
        self._judged_schedules = 0

    # -- driving -------------------------------------------------------------------------------------------------

    def client(self, node: str, *, port: str = "", timeout_s: float = DEFAULT_TIMEOUT_S) -> Client:
        """Give an httpx client on the link ``test -> node``.

        Every call is an Op with trace context and correlation id.
        """
        link = self._driver_link(node, port)
        return self._cleanup.enter_context(Client(self._session.address(link), link, self._ops, timeout_s=timeout_s))

    def aclient(self, node: str, *, port: str = "", timeout_s: float = DEFAULT_TIMEOUT_S) -> AsyncClient:
        """Give the same for async tests; close it, or use it as ``async with``."""
        link = self._driver_link(node, port)
        return AsyncClient(self._session.address(link), link, self._ops, timeout_s=timeout_s)

    def channel(self, node: str, *, port: str = "grpc") -> grpc.Channel:
        """Give a gRPC channel on the link ``test -> node.port``.

        Every unary call is an Op. Needs the extra ``[grpc]``.
        """
        from pytest_chaos.engine.grpc_driver import recording_channel  # noqa: PLC0415 - grpcio is an extra

        link = self._driver_link(node, port)
        channel = recording_channel(self._session.address(link), link, self._ops)
        self._cleanup.callback(channel.close)
        return channel

    def publish(
        self,
        node: str,
        channel: str,
        message: Body,
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> str:
        """Publish to a broker on the link ``test -> node``, as an Op; give the broker's own name of the message.

        ``channel`` is a Kafka topic, a RabbitMQ exchange or a Redis stream, ``key`` the record's or routing key;
        ``message`` bytes, a string, or an object (JSON; Redis: fields). Raises PublishError when it was not confirmed
        within ``timeout_s`` seconds (above 0, at most 600). Needs the broker's extra.
        """
        return self._publishing.publish(node, channel, message, key=key, headers=headers or {}, timeout_s=timeout_s)

    def burst(self, calls: int, call: Callable[[int], T], *, concurrency: int | None = None) -> list[T | Exception]:
        """Make ``calls`` calls (1 to 1000), each with its index from 0, all at once or ``concurrency`` at a time.

        Give results or the exceptions, in order of the index; the driver's ids derive from the index as well. What a
        call asks of this test's clients is recorded as everywhere: each request is an Op of its own, so that a burst is
        load under any fault and not a fault itself.
        """
        return burst(self._identities, calls, call, concurrency)

    # -- faults --------------------------------------------------------------------------------------------------

    def fault(self, *faults: Fault) -> Block:
        """Install faults together for the length of a ``with`` block; leaving it lifts them, and the undo is proved."""
        return self._blocks.make(*faults)

    def heal(self) -> None:
        """Lift every fault of this test that is in force, newest first, each undo proved; the blocks then end quietly.

        Raises UndoError when something could not be taken back (the others are).
        """
        self._nemesis.heal()

    @contextmanager
    def toxiproxy(self) -> Iterator[Any]:
        """Give the client of PyPI's ``toxiproxy-python``, bound to this run's Toxiproxy, for the length of the block.

        Its proxies bear the links' names. Leaving the block resets them, and that is proved. What its toxics hit is not
        known: a check that has seen some is INCONCLUSIVE. Needs the extra ``[toxiproxy-python]``; raises ChaosError.
        """
        with self._nemesis.toxiproxy() as client:
            yield client

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """What was installed so far, in order."""
        return tuple(self._nemesis.schedules)

    def restart(self, node: str) -> None:
        """Restart a node now and wait until it is ready again; its ports and its data stay.

        Raises ChaosError in a test that shares the stack.
        """
        if self._own:
            msg = f"restart({node!r}): this test shares the stack (isolation='shared'), and others use {node} now"
            raise ChaosError(msg)
        self._session.topology.node(node)
        self._session.keeper.node(node, "restart")

    # -- looking -------------------------------------------------------------------------------------------------

    def state(self, node: str, ledger: str = "") -> list[Effect]:
        """Read a service's own ledger rows, off the links."""
        found = self._session.topology.node(node)
        if not isinstance(found, Service) or found.state is None:
            msg = f"{node} has no state query: declare Service({node!r}, state=Http('/effects'))"
            raise ChaosError(msg)
        return [row for row in self._session.state_of(found) if ledger in ("", row.ledger)]

    def wait_until(
        self, condition: Callable[[], bool], *, timeout_s: float = 10.0, what: str = "the test's condition"
    ) -> None:
        """Poll until a condition holds; raise ChaosError naming ``what`` otherwise."""
        wait_until(condition, timeout_s=timeout_s, what=what)

    def settle(self, *, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait until the system has come to rest; give what still goes on when the time is up, else nothing."""
        limit = self._session.settings.quiesce_s if timeout_s is None else timeout_s
        return quiescence.settle(self._unrest, timeout_s=limit)

    def history(self, *, unrest: tuple[str, ...] = ()) -> History:
        """Give everything recorded since the test began."""
        gathered = Gathered(
            own=self._own,
            before=self._before,
            ops=self._ops.all(),
            faults=self._nemesis.records(),
            messages=self._session.messages(),
            state=self._session.all_state(),
            unrest=unrest,
            lag_ns=self._session.canary.worst_ns,
        )
        return self._session.recorder.history(self._test, self._window, gathered)

    def decisions(self) -> tuple[tuple[Decision, ...], int]:
        """Give what was decided about requests under the test's faults, by rule, operation and ordinal.

        Of very many the rest is a count.
        """
        return self._session.recorder.decisions(self._test, self._window)

    def policy(self, kind: type[Checker], link: str, *, rules: Sequence[str] = ()) -> Checker:
        """Give the policy of a kind that the topology declares on a link, with the rules that it must decide here."""
        import dataclasses  # noqa: PLC0415 - only here

        self._session.topology.link(link)
        for declared_on, policy in self._session.topology.policies():
            if declared_on == link and isinstance(policy, kind):
                bound = bind(policy, link)
                return dataclasses.replace(bound, rules=tuple(rules))  # type: ignore[type-var]
        msg = f"no {kind.__name__} is declared on {link!r}: add it to the caller's policies in the topology"
        raise TopologyError(msg)

    # -- judging -------------------------------------------------------------------------------------------------

    def check(self, *checkers: Checker) -> tuple[Verdict, ...]:
        """Wait for rest, judge, and raise Violation or Inconclusive; without arguments: policies and universal rules.

        The given checkers must decide all their ``rules`` (or at least one rule). The links' policies and the
        universal rules always run along.
        """
        self._blocks.entered()
        return self._decide(self._judged(checkers))

    def finish(self) -> None:
        """Judge a test that never called ``check``, and what another one did after its last.

        Raise FaultError for a block that was never entered, StackError when a part of the harness died.
        """
        self.unbroken()
        self._blocks.entered(at_the_end=True)
        if not self.judgements:
            self.check()
        elif len(self.schedules) > self._judged_schedules:
            self._decide(later(self._judged(()), self.judgements))

    def _judged(self, checkers: Sequence[Checker]) -> Judgement:
        history = self.history(unrest=self.settle())
        if history.broken():
            raise StackError(broken(history.broken()))
        return judge(
            history, named=checkers, declared=self._session.topology.policies(), universal=self._session.universal()
        )

    def _decide(self, judgement: Judgement) -> tuple[Verdict, ...]:
        self.judgements.append(judgement)
        self._judged_schedules = len(self.schedules)
        if judgement.decision == "violated":
            raise Violation(self._render(judgement))
        if judgement.decision == "inconclusive" and not self._allow_inconclusive:
            raise Inconclusive(self._render(judgement))
        return judgement.verdicts

    def unbroken(self, seen: str = "") -> None:
        """Raise StackError when a part of the harness died since the test began; ``seen`` is what the test then saw."""
        events = tuple(one for one in self._session.keeper.node_events() if one.at_ns >= self._window.began_ns)
        now = self._window.began_ns
        died = History(test=self._test, started_ns=now, ended_ns=now, node_events=events).broken()
        if died:
            raise StackError(broken(died, seen))

    def close(self) -> None:
        """Close the test's clients."""
        self._cleanup.close()

    def _unrest(self) -> tuple[str, ...]:
        session = self._session
        if self._own:
            return quiescence.own_unrest(self._own, self._ops.all(), session, before=self._before)
        rows = session.all_state()
        if session.missing_parts():
            # An outbox towards a broker that cannot be had here never drains: that is no unrest of the system.
            rows = [row for row in rows if row.ledger != "outbox"]
        return quiescence.unrest(self._ops.open, session.recorder.open_attempts(), session.backlog(), rows)

    def _driver_link(self, node: str, port: str) -> str:
        self._session.topology.node(node)
        named = f"{DRIVER} -> {node}.{port}"
        if port and any(link.name == named for link in self._session.topology.links):
            return named
        link = self._session.topology.link(f"{DRIVER} -> {node}")
        if port and link.port != port:
            msg = f"{node} has no port called {port!r}; its links are: {', '.join(self._session.driver_links(node))}"
            raise TopologyError(msg)
        return link.name


def broken(died: Sequence[str], seen: str = "") -> str:
    """Say in an error which of the harness's own parts died in a test, and what the test saw of it."""
    story = "\n".join((*died, "It was started anew: this test decides nothing, the next one has a stack that works."))
    return f"{story}\nThe test saw: {seen}" if seen else story
