"""What a session reads of services that come and go."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pytest_chaos.engine import session as sessions
from pytest_chaos.engine.session import Session
from pytest_chaos.errors import ChaosError
from pytest_chaos.keeper.client import StackState
from pytest_chaos.model.topology import Http, Service, Topology


class Keeper:
    """Says of each moment which nodes run; the last answer stays."""

    def __init__(self, *running: set[str]) -> None:
        self.answers = list(running)

    def running(self) -> set[str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def session_with(keeper: Keeper, address: str) -> Session:
    topology = Topology(Service("a", command=("true",), ports={"http": "PORT"}, state=Http("/effects")))
    state = StackState(ports={"a": {"http": address}})
    made = Session(None, topology, keeper, state)  # type: ignore[arg-type]
    made.canary.stop()
    return made


def test_a_service_that_dies_while_it_is_asked_has_no_state():
    keeper = Keeper({"a"}, {"a"}, set())
    assert session_with(keeper, "127.0.0.1:1").all_state() == []
    assert keeper.answers == [set()]


def test_one_that_runs_and_cannot_be_asked_is_an_error(monkeypatch):
    monkeypatch.setattr(sessions, "_DYING_NS", 0)
    with pytest.raises(ChaosError, match="a: its state could not be read from"):
        session_with(Keeper({"a"}), "127.0.0.1:1").all_state()


def test_what_a_service_answers_wrongly_is_an_error_at_once():
    class Wrong(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self):
            Wrong.asked += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"no": "list"}).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Wrong) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ChaosError, match="must give a list of ledger rows"):
            session_with(Keeper({"a"}), f"127.0.0.1:{server.server_port}").all_state()
        server.shutdown()
    assert Wrong.asked == 1
