"""How many messages wait in each queue of a RabbitMQ, unacknowledged ones included, as the node itself says.

AMQP does not tell. A small Erlang process stays connected to the node and answers in milliseconds; the command line
tool takes half a second a call. It ends when its input does, so it cannot outlive its owner.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
from dataclasses import dataclass
from typing import IO

from pytest_chaos.parts.rabbitmq import NODE_NAME

_ANSWER_S = 3.0
_START_S = 10.0
# Where the images keep the cookie.
_HOME = "/var/lib/rabbitmq"
_PROGRAM = """
Node = '%s',
Say = fun(Row) ->
  {resource, _, _, Name} = proplists:get_value(name, Row),
  io:format("~s ~p ~p~n", [binary:encode_hex(Name), proplists:get_value(messages_ready, Row),
    proplists:get_value(messages_unacknowledged, Row)])
end,
Loop = fun Loop() ->
  case io:get_line("") of
    "?\\n" ->
      case rpc:call(Node, rabbit_amqqueue, info_all, [<<"/">>, [name, messages_ready, messages_unacknowledged]], 2000)
      of
        Rows when is_list(Rows) -> lists:foreach(Say, Rows), io:format("end~n");
        _ -> io:format("away~n")
      end,
      Loop();
    _ -> halt(0, [{flush, false}])
  end
end,
Loop().
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Messages of one queue: ``ready`` to be delivered, ``unacked`` at a consumer."""

    ready: int
    unacked: int


class Queues:
    """Counts what waits in every queue of a node.

    Of a local node ``home`` (its cookie) and ``dist_port`` are told; else the name of its ``container``, where the
    process then runs (through Docker's command line tool).
    """

    def __init__(self, *, home: str = "", dist_port: int = 0, container: str = "") -> None:
        self._home = home
        self._dist_port = dist_port
        self._container = container
        self._process: subprocess.Popen[bytes] | None = None

    def count(self) -> dict[str, Waiting] | None:
        """Give every queue's numbers by its name, or None when the node does not answer or there is no Erlang here."""
        process = self._running()
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(b"?\n")
            process.stdin.flush()
            return _read(process.stdout)
        except (BrokenPipeError, TimeoutError):
            self.close()
            return None

    def close(self) -> None:
        """End the process; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None and process.stdout is not None:
            with process.stdout:
                process.stdin.close()
        try:
            process.wait(_ANSWER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        program = shutil.which("docker" if self._container else "erl")
        if program is None:
            return None
        network: list[str] = []
        command = [program]
        if self._container:
            command += ["exec", "-i", "-e", f"HOME={_HOME}", self._container, "erl"]
        else:
            network = f"-start_epmd false -erl_epmd_port {self._dist_port} -dist_listen false".split()
        name = f"observer{os.getpid()}-{id(self) & 0xFFFFFF:x}@localhost"
        command += ["-noshell", "-hidden", "-sname", name, *network, "+S", "1:1", "+sbwt", "none"]
        self._process = subprocess.Popen(
            [*command, "-eval", _PROGRAM % NODE_NAME],
            env={**os.environ, "HOME": self._home} if self._home else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process


def _read(output: IO[bytes]) -> dict[str, Waiting] | None:
    found: dict[str, Waiting] = {}
    for line in _lines(output):
        if line == "away":
            return None
        if line == "end":
            return found
        name, ready, unacked = line.split()
        if ready.isdigit() and unacked.isdigit():
            queue = bytes.fromhex(name).decode(errors="replace")
            found[queue] = Waiting(ready=int(ready), unacked=int(unacked))
    return None


def _lines(output: IO[bytes]) -> list[str]:
    """Read lines until the answer is whole; raise TimeoutError when it does not come."""
    rest = b""
    with selectors.DefaultSelector() as ready:
        ready.register(output, selectors.EVENT_READ)
        while not rest.endswith((b"end\n", b"away\n")):
            if not ready.select(_START_S):
                raise TimeoutError
            chunk = os.read(output.fileno(), 65536)
            if not chunk:
                raise BrokenPipeError
            rest += chunk
    return rest.decode().splitlines()
