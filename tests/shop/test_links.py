"""The law of links to brokers: one that was cut and mended has lost nothing, in either direction."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.shop.conftest import NOWHERE
from tests.shop.kit import Relay, Service, Stub, eventually


def test_a_link_that_was_cut_loses_nothing(
    service: Callable[..., Service], stub: Callable[..., Stub], amqp_url: str, redis_url: str
) -> None:
    links = [Relay(("127.0.0.1", httpx.URL(url).port or 0)) for url in (amqp_url, redis_url)]
    through = [
        str(httpx.URL(url).copy_with(port=link.port)) for url, link in zip((amqp_url, redis_url), links, strict=True)
    ]
    mailgate, warehouse = stub(), stub()
    email = service("email", AMQP_URL=through[0], MAILGATE_URL=mailgate.url).start()
    analytics = service("analytics", REDIS_URL=through[1], WAREHOUSE_URL=warehouse.url).start()
    users = service(
        "users", ORDERS_URL=NOWHERE, NOTIFICATIONS_URL=NOWHERE, AMQP_URL=through[0], REDIS_URL=through[1]
    ).start()

    def create(*markers: str) -> set[str]:
        for marker in markers:
            assert users.post("/api/users", {"email": "a@example.org", "marker": marker}).status_code == 201
        return set(markers)

    first = create("cut-1")

    def arrived(wanted: set[str]) -> bool:
        mailed = {row["marker"] for row in email.rows("mails") if row["state"] == "SENT"}
        stored = {row["marker"] for row in analytics.rows("rows")}
        return wanted <= mailed and wanted <= stored

    eventually(lambda: arrived(first), within_s=15)
    for link in links:
        link.cut()
    wanted = create("cut-2", "cut-3")
    assert sum(row["count"] for row in users.rows("outbox")) == 4
    for link in links:
        link.mend()
    eventually(lambda: arrived(wanted) and not users.rows("outbox"), within_s=15)
    assert len(mailgate.effects) == len({request.json["marker"] for request in mailgate.effects.values()})
    for link in links:
        link.cut()
