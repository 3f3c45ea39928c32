"""The users service: creates users, tells the others about them, and asks orders on their behalf."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services_under_test.common import deadline
from services_under_test.common.bulkhead import Bulkhead
from services_under_test.common.http_app import Refused, Rows, idempotency_key, json_object, text_field
from services_under_test.common.http_client import HttpClient
from services_under_test.common.idempotency import Keys, KeyState, fingerprint
from services_under_test.common.outbox import Outbox
from services_under_test.common.outcome import Outcome
from services_under_test.common.retry import RetryPolicy
from services_under_test.common.runner import Built, Host
from services_under_test.common.strategies import SideLimits
from services_under_test.users.orders_client import OrdersClient
from services_under_test.users.relays import AMQP, REDIS, start_relays

_SCOPE = "POST /api/users"
_SCHEMA = "CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, data TEXT NOT NULL, marker TEXT NOT NULL)"
_GRACE_S = 2.0


class _Users:
    def __init__(
        self, host: Host, outbox: Outbox, channels: Mapping[str, str], created: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._store = host.store
        self._keys = Keys(host.store)
        self._outbox = outbox
        self._channels = channels
        self._created = created
        host.store.schema(_SCHEMA)

    def create(self, data: Mapping[str, str], key: str) -> tuple[int, Mapping[str, Any], bool]:
        """Create a user and its events in one transaction; give status, body and whether the answer is an old one."""
        user_id = uuid.uuid4().hex
        user = {"id": user_id, **data, "marker": data["marker"] or user_id}
        with self._store.transaction():
            if key:
                claim = self._keys.claim(_SCOPE, key, fingerprint(data), user_id)
                if claim.state is KeyState.CLASH:
                    raise Refused(422, "key_reused", "this Idempotency-Key came with another user before")
                if claim.state is not KeyState.NEW:
                    return claim.status, claim.body or {}, True
            self._store.run("INSERT INTO users VALUES (?, ?, ?)", user_id, json.dumps(user), user["marker"])
            payload = {
                "userId": user_id,
                "email": user["email"],
                "firstName": user["firstName"],
                "marker": user["marker"],
            }
            for channel, type_ in self._channels.items():
                self._outbox.add(channel, type_, user_id, payload)
            self._keys.settle(_SCOPE, user_id, 201, {"data": user})
        self._created(user)
        return 201, {"data": user}, False

    def find(self, user_id: str) -> Mapping[str, Any]:
        """Give a user; Refused with 404 when there is none."""
        row = self._store.row("SELECT data FROM users WHERE id = ?", user_id)
        if row is None:
            raise Refused(404, "not_found", "there is no such user")
        found: Mapping[str, Any] = json.loads(row["data"])
        return found

    def effects(self) -> Rows:
        """Give the ledger of users."""
        return [
            {
                "ledger": "users",
                "key": row["id"],
                "marker": row["marker"],
                "amount_minor": None,
                "state": "CREATED",
                "count": 1,
            }
            for row in self._store.rows("SELECT id, marker FROM users ORDER BY rowid")
        ]


class _Api:
    def __init__(self, users: _Users, orders: OrdersClient) -> None:
        self._users = users
        self._orders = orders

    async def create(self, request: Request) -> JSONResponse:
        """POST /api/users."""
        payload = await json_object(request)
        data = {
            "email": text_field(payload, "email"),
            "firstName": text_field(payload, "firstName", default=""),
            "lastName": text_field(payload, "lastName", default=""),
            "marker": text_field(payload, "marker", default=""),
        }
        status, body, replayed = self._users.create(data, idempotency_key(request))
        return JSONResponse(
            dict(body), status_code=status, headers={"idempotency-replayed": "true"} if replayed else {}
        )

    async def show(self, request: Request) -> JSONResponse:
        """GET /api/users/{id}."""
        return JSONResponse({"data": self._users.find(request.path_params["user_id"])})

    async def orders(self, request: Request) -> JSONResponse:
        """GET /api/users/{id}/orders: as orders has them; 503 when it does not say."""
        self._users.find(request.path_params["user_id"])
        return _passed_on(await self._orders.list_orders(request.path_params["user_id"]))

    async def order(self, request: Request) -> JSONResponse:
        """POST /api/users/{id}/orders.

        Place an order; the caller's own Idempotency-Key makes a repeat the same intent.
        """
        user_id = request.path_params["user_id"]
        self._users.find(user_id)
        payload = await json_object(request)
        order = {"userId": user_id, "items": payload.get("items"), "marker": text_field(payload, "marker", default="")}
        theirs = idempotency_key(request)
        # Made once, before the first attempt. From the caller's key it follows, so it is the same after a crash as
        # well.
        key = hashlib.sha256(f"{user_id} {theirs}".encode()).hexdigest() if theirs else uuid.uuid4().hex
        return _passed_on(await self._orders.place_order(order, key))


def _passed_on(outcome: Outcome) -> JSONResponse:
    headers = {} if outcome.retry_after_s is None else {"retry-after": str(max(1, math.ceil(outcome.retry_after_s)))}
    if outcome.ok or outcome.refused:
        return JSONResponse(dict(outcome.body), status_code=outcome.status, headers=headers)
    if outcome.status == 503:
        return JSONResponse(dict(outcome.body) or {"error": "unavailable"}, status_code=503, headers=headers)
    body = {"error": "unavailable", "detail": f"orders did not say: {outcome.code}", "effect": outcome.effect.value}
    return JSONResponse(body, status_code=503, headers=headers)


class _Notifier:
    """Tells notifications of new users, on the side.

    Bounded, best effort, never a reason for a user not to be created.
    """

    def __init__(self, host: Host, client: HttpClient) -> None:
        limits = SideLimits(
            limit=host.env.count("NOTIFY_CONCURRENCY", 8),
            backlog=host.env.count("NOTIFY_BACKLOG", 32),
            timeout_s=host.env.seconds("NOTIFY_TIMEOUT_S", 2.0),
        )
        limits = host.strategies.side_limits(limits)
        self._client = client
        self.bulkhead = Bulkhead(limit=limits.limit, backlog=limits.backlog, timeout_s=limits.timeout_s)

    def welcome(self, user: Mapping[str, Any]) -> None:
        """Send a user's welcome."""
        payload = {
            "userId": user["id"],
            "message": f"Welcome, {user['firstName']}!",
            "type": "info",
            "marker": user["marker"],
        }

        async def send() -> bool:
            with deadline.bound(math.inf):
                outcome = await self._client.send(
                    "POST", "/api/notifications", payload=payload, key=f"welcome-{user['id']}", timeout_s=None
                )
            return outcome.ok

        self.bulkhead.spawn(f"welcome of user {user['id']}", send)

    def effects(self) -> Rows:
        """Give what did not work, so that it can be seen."""
        counts = {"DROPPED": self.bulkhead.dropped, "FAILED": self.bulkhead.failed}
        return [
            {
                "ledger": "welcomes",
                "key": state.lower(),
                "marker": "",
                "amount_minor": None,
                "state": state,
                "count": count,
            }
            for state, count in counts.items()
            if count
        ]


def build(host: Host) -> Built:
    """Put the users service together."""
    outbox = Outbox(host.store, host.telemetry)
    urls = {AMQP: host.env.text("AMQP_URL"), REDIS: host.env.text("REDIS_URL")}
    types = {AMQP: "user.created", REDIS: "user.registered"}
    to_notifications = HttpClient(
        host.env.required("NOTIFICATIONS_URL"), strategies=host.strategies, telemetry=host.telemetry
    )
    to_orders = HttpClient(host.env.required("ORDERS_URL"), strategies=host.strategies, telemetry=host.telemetry)
    notifier = _Notifier(host, to_notifications)
    users = _Users(host, outbox, {channel: types[channel] for channel, url in urls.items() if url}, notifier.welcome)
    api = _Api(users, OrdersClient(host, to_orders, RetryPolicy.from_env(host.env, "ORDERS")))

    async def start() -> None:
        start_relays(host, outbox, urls)

    async def stop() -> None:
        await notifier.bulkhead.drain(_GRACE_S)
        await to_notifications.close()
        await to_orders.close()

    return Built(
        routes=[
            Route("/api/users", api.create, methods=["POST"]),
            Route("/api/users/{user_id}", api.show),
            Route("/api/users/{user_id}/orders", api.orders),
            Route("/api/users/{user_id}/orders", api.order, methods=["POST"]),
        ],
        effects=lambda: [*users.effects(), *notifier.effects(), *outbox.effects()],
        start=start,
        stop=stop,
    )
