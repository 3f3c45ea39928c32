"""The effect comes before the ack and nothing remembers it: a message that comes again is a mail that goes out again.

Service: email. The gateway gets a fresh key each time, so its own deduplication does not help. Provoked by: email
killed between the mail and the ack (the gateway has done the work, its answer is held); RabbitMQ delivers the message
again.
"""

from __future__ import annotations

import uuid

from services_under_test.defects import Defect


def _fresh(_: str) -> str:
    return uuid.uuid4().hex


def _never_seen(_: bool) -> bool:  # noqa: FBT001 - the seam's shape
    return False


DEFECT = Defect(
    id="RMQ-11",
    service="email",
    rules=("D3",),
    scenario="email killed while the answer to POST /mails is held, then started",
    also={
        "I1": "two mails for one event",
        "I9": "a fresh key for each attempt of one intent",
        "R5": "the second POST /mails is a repetition after an unknown outcome under another key",
        "R9": "the key differs between the attempts for one event",
    },
    replaces={"mail_key": _fresh, "mail_seen": _never_seen},
)
