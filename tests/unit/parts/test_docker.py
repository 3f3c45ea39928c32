from __future__ import annotations

import socket
import threading

import pytest

from pytest_chaos.parts import docker


@pytest.fixture
def engine(tmp_path):
    """A socket that answers one request with the given text, as an engine would."""
    path = tmp_path / "engine.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threads = []

    def answering(text):
        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(text)

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return {"DOCKER_HOST": f"unix://{path}"}

    yield answering
    for thread in threads:
        thread.join(5)
    listener.close()


def test_an_engine_that_answers_is_found_with_its_own_version(engine):
    body = b'{"Version": "20.10.24"}'
    environ = engine(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    part = docker.find(environ)
    assert (part.found, part.version) == (environ["DOCKER_HOST"], "20.10.24")


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"nonsense\r\n\r\n"])
def test_a_socket_that_talks_nonsense_is_no_engine(engine, text):
    assert docker.find(engine(text)).found is None
