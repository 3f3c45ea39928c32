"""Expressions of Erlang, evaluated by the node itself: what AMQP does not tell, and does not let anybody do.

A small Erlang process stays connected to the node and answers in milliseconds; the command line tool takes half a
second a call. It ends when its input does, so it cannot outlive its owner.
"""

from __future__ import annotations

import base64
import os
import selectors
import shutil
import subprocess
import urllib.parse
from typing import IO

from pytest_chaos.errors import ChaosError
from pytest_chaos.parts.rabbitmq import NODE_NAME

_ANSWER_S = 3.0
_START_S = 10.0
# Where the images keep the cookie.
_HOME = "/var/lib/rabbitmq"
# Asked for in base64, a line each; the value is iodata.
_PROGRAM = """
Node = '%s',
Say = fun(Word, Text) -> io:format("~s ~s~n", [Word, base64:encode(Text)]) end,
Ask = fun(Line) ->
  {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(base64:decode(string:trim(Line)))),
  {ok, Parsed} = erl_parse:parse_exprs(Tokens),
  case rpc:call(Node, erl_eval, exprs, [Parsed, []], 2500) of
    {value, Value, _} -> Say("ok", iolist_to_binary(Value));
    {badrpc, {'EXIT', Why}} -> Say("error", iolist_to_binary(io_lib:format("~0p", [Why])));
    {badrpc, _} -> Say("away", "")
  end
end,
Loop = fun Loop() ->
  case io:get_line("") of
    Line when is_list(Line) -> Ask(Line), Loop();
    _ -> halt(0, [{flush, false}])
  end
end,
Loop().
"""


class Erlang:
    """Asks a node.

    Of a local node ``home`` (its cookie) and ``dist_port`` are told; else the name of its ``container``, where the
    process then runs (through Docker's command line tool).
    """

    def __init__(self, *, home: str = "", dist_port: int = 0, container: str = "") -> None:
        self._home = home
        self._dist_port = dist_port
        self._container = container
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def of(direct: str) -> Erlang:
        """Take from a plan's ``direct`` where the node is; raise ChaosError when it does not say."""
        told = urllib.parse.parse_qs(urllib.parse.urlsplit(direct).query)
        if "dist" in told:
            return Erlang(home=told["home"][0], dist_port=int(told["dist"][0]))
        if "container" in told:
            return Erlang(container=told["container"][0])
        msg = f"{direct}: does not say where its node can be asked"
        raise ChaosError(msg)

    def ask(self, expressions: str) -> list[str] | None:
        """Give the lines of what the node makes of this (iodata); None when it does not answer or there is no Erlang.

        Raises ChaosError with the node's own words for what it cannot evaluate.
        """
        process = self._running()
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(base64.b64encode(expressions.encode()) + b"\n")
            process.stdin.flush()
            word, _, told = _line(process.stdout).partition(" ")
        except (BrokenPipeError, TimeoutError):
            self.close()
            return None
        if word not in {"ok", "error"}:
            return None  # the node is away
        text = base64.b64decode(told).decode(errors="replace")
        if word == "error":
            msg = f"RabbitMQ could not do it: {text[:400]}"
            raise ChaosError(msg)
        return text.splitlines()

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
            # When it breaks, it leaves no dump in whatever folder the tests run in.
            env={**os.environ, "ERL_CRASH_DUMP_SECONDS": "0", **({"HOME": self._home} if self._home else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process


def binary(text: str) -> str:
    """Give an expression whose value is this text as a binary, whatever is in it."""
    return f'base64:decode("{base64.b64encode(text.encode()).decode()}")'


def term(token: str) -> str:
    """Give an expression whose value is the term that a node has told as base64 of its external form."""
    return f'binary_to_term(base64:decode("{token}"))'


def _line(output: IO[bytes]) -> str:
    """Read one line; raise TimeoutError when it does not come."""
    rest = b""
    with selectors.DefaultSelector() as ready:
        ready.register(output, selectors.EVENT_READ)
        while not rest.endswith(b"\n"):
            if not ready.select(_START_S):
                raise TimeoutError
            chunk = os.read(output.fileno(), 65536)
            if not chunk:
                raise BrokenPipeError
            rest += chunk
    return rest.decode().rstrip("\n")
