"""Faults of a test that shares the stack: aimed at its own requests, or refused with what to do."""

from __future__ import annotations

import dataclasses

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import Installed, WireRule
from pytest_chaos.model.topology import Backing, Broker, Topology
from pytest_chaos.wire.kinds import phase_of


class Aim:
    """Keeps one test's faults to its own requests; ``test`` is its 12 hex digits."""

    def __init__(self, topology: Topology, test: str) -> None:
        self._topology = topology
        self._test = test
        self._stateful = {
            link: type(policy).__name__
            for link, policy in topology.policies()
            if getattr(policy, "shared_state", False)
        }

    def own(self, fault: Installed) -> Installed:
        """Aim a fault that is for everybody at the test's own requests; raise FaultError about one that cannot be."""
        refused = self._refused(fault)
        if refused:
            msg = (
                f"{fault.kind} on {fault.target}: {refused}. This test shares the stack (isolation='shared'): its "
                "faults may touch its own requests only. Use a fault on requests of such a link, or give the test the "
                "stack alone: @pytest.mark.chaos(isolation='exclusive')"
            )
            raise FaultError(msg)
        rules = tuple(self._aimed(rule) for rule in fault.rules)
        return dataclasses.replace(fault, rules=rules, params={"whom": str(rules[0].whom), **fault.params})

    def _aimed(self, rule: WireRule) -> WireRule:
        return dataclasses.replace(rule, whom=dataclasses.replace(rule.whom, test=self._test))

    def _refused(self, fault: Installed) -> str:
        """Say why a fault would touch others, or nothing."""
        if fault.nodes:
            return "it acts on a node, which all tests use"
        if fault.toxics:
            return "it acts on the bytes of connections, whosever requests they carry"
        why = [self._touches_others(rule) for rule in fault.rules] or ["it acts on no request"]
        return next(filter(None, why), "")

    def _touches_others(self, rule: WireRule) -> str:
        if phase_of(rule) not in ("request", "response"):
            return "it acts on connections, before anybody can tell whose they are"
        if rule.whom.test not in ("", self._test):
            return f"it is for another test's requests ({rule.whom})"
        callee = self._topology.node(self._topology.link(rule.link).callee)
        if isinstance(callee, (Broker, Backing)):
            return f"connections to {callee.name} carry several tests' requests, in order"
        return self._guarded(rule.link)

    def _guarded(self, link: str) -> str:
        """Say which policy with a state that all tests share would notice a fault on a link; none: nothing."""
        if link in self._stateful:
            return f"{self._stateful[link]} is declared there, whose state all tests share"
        reached = {self._topology.link(link).caller}
        while True:
            leading = [one for one in self._topology.links if one.callee in reached]
            for one in leading:
                if one.name in self._stateful:
                    policy = self._stateful[one.name]
                    return f"{policy} is declared on {one.name}, which leads there and whose state all tests share"
            callers = {one.caller for one in leading} - reached
            if not callers:
                return ""
            reached |= callers
