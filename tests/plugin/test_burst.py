"""Load on a running stack: of a burst every call is an operation of its own, the failed ones too."""

from __future__ import annotations

import pytest

TEST = """
from collections import Counter
import pytest
from pytest_chaos import FailFirst

@pytest.mark.chaos(allow_inconclusive=True)
def test_a_burst(chaos):
    client = chaos.client("front")
    with chaos.fault(FailFirst("front -> bank", 5, status=503)):
        found = chaos.burst(
            30, lambda n: client.post("/charges", json={"order": f"o-{n}"}).status_code, concurrency=10
        )
    assert Counter(found) == {201: 25, 502: 5}
    history = chaos.history()
    assert len(history.ops) == 30
    assert len({op.correlation_id for op in history.ops}) == 30
    assert Counter(op.status for op in history.ops) == {201: 25, 502: 5}
    driven = [one for one in history.attempts if one.link == "test -> front"]
    assert {one.correlation_id for one in driven} == {op.correlation_id for op in history.ops}
"""


def test_every_call_of_a_burst_is_recorded(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    project.runpytest_subprocess("--chaos", "-p", "no:cacheprovider").assert_outcomes(passed=1)
