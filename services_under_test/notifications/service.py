"""The notifications service: takes a message for a user, once for each key."""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services_under_test.common.http_app import Refused, Rows, idempotency_key, json_object, text_field
from services_under_test.common.idempotency import Keys, KeyState, fingerprint
from services_under_test.common.runner import Built, Host

_SCOPE = "POST /api/notifications"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS notifications (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, message TEXT NOT NULL, marker TEXT NOT NULL
);
"""


def build(host: Host) -> Built:
    """Put the notifications service together."""
    store, keys = host.store, Keys(host.store)
    store.schema(_SCHEMA)

    async def notify(request: Request) -> JSONResponse:
        payload = await json_object(request)
        user_id, message = text_field(payload, "userId"), text_field(payload, "message")
        marker = text_field(payload, "marker", default="") or user_id
        key = idempotency_key(request)
        body = {"success": True, "id": uuid.uuid4().hex}
        with store.transaction():
            if key:
                claim = keys.claim(_SCOPE, key, fingerprint(payload), str(body["id"]))
                if claim.state is KeyState.CLASH:
                    raise Refused(422, "key_reused", "this Idempotency-Key came with another payload before")
                if claim.state is not KeyState.NEW:
                    return JSONResponse(claim.body, status_code=claim.status, headers={"idempotency-replayed": "true"})
            store.run("INSERT INTO notifications VALUES (?, ?, ?, ?)", body["id"], user_id, message, marker)
            keys.settle(_SCOPE, str(body["id"]), 201, body)
        return JSONResponse(body, status_code=201)

    def effects() -> Rows:
        return [
            {
                "ledger": "notifications",
                "key": row["id"],
                "marker": row["marker"],
                "amount_minor": None,
                "state": "SENT",
                "count": 1,
            }
            for row in store.rows("SELECT * FROM notifications ORDER BY rowid")
        ]

    return Built(routes=[Route("/api/notifications", notify, methods=["POST"])], effects=effects)
