"""SafeResend: runs with every test, fails only where two keys were sent for one intent, on any link."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.safe_resend import SafeResend
from pytest_chaos.testing import HistoryBuilder, assert_laws


@pytest.mark.parametrize(
    ("keys", "expected"),
    [(("k", "k"), "PASS"), (("k1", "k2"), "FAIL"), (("", ""), "INCONCLUSIVE"), (("k",), "INCONCLUSIVE")],
)
def test_r5_on_every_link(keys: tuple[str, ...], expected: str) -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number, key in enumerate(keys):
        builder.attempt(
            "email -> mailgate", "POST /mails", op=op, at=100 * number, key=key, error="reset", upstream=200
        )
    assert assert_laws(SafeResend(), builder.build()).outcome == expected


def test_reads_may_be_repeated() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number in range(2):
        builder.attempt(operation="GET /payments/1", op=op, at=100 * number, error="reset", upstream=200)
    assert assert_laws(SafeResend(), builder.build()).outcome == "INCONCLUSIVE"
