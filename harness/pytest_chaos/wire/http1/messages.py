"""HTTP/1.1 messages, sans I/O: heads read by httptools, bodies counted by their framing (RFC 9112), answers built."""

from __future__ import annotations

import functools
import http
import re

import httptools

from pytest_chaos.wire.record import RESPONSE_HEADERS, Told
from pytest_chaos.wire.stub import Answer

HEAD_LIMIT = 64 * 1024
_KEYS_KEPT = 1024
_SWITCHING, _NO_CONTENT, _NOT_MODIFIED, _OK = 101, 204, 304, 200
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")


class BadMessage(Exception):  # noqa: N818 - it is the message that is bad
    """The bytes are not HTTP/1.1; whoever sent them is passed through unread from here on."""


class Body:
    """How far a message's body has come: by length, chunked, or until the sender closes (``until_close``)."""

    __slots__ = ("_in_trailer", "_left", "_line", "chunked", "done", "until_close")

    def __init__(self, *, length: int = 0, chunked: bool = False, until_close: bool = False) -> None:
        self.chunked, self.until_close = chunked, until_close
        self.done = not (length or chunked or until_close)
        self._left = length
        self._line = b""
        self._in_trailer = False

    def feed(self, data: bytes) -> tuple[int, bytes]:
        """Take the body's next bytes: how many of them belong to it, and what they carry. Raises BadMessage."""
        if self.until_close:
            return len(data), data
        if self.chunked:
            return self._feed_chunks(data)
        part = data[: self._left]
        self._left -= len(part)
        self.done = self._left == 0
        return len(part), part

    def all_in(self, size: int) -> bool:
        """Whether just so many bytes are all of it, and then take them."""
        if self.chunked or self.until_close or self._left != size:
            return False
        self._left, self.done = 0, True
        return True

    def _feed_chunks(self, data: bytes) -> tuple[int, bytes]:
        at, content = 0, []
        while at < len(data) and not self.done:
            if self._left > 0:
                part = data[at : at + self._left]
                content.append(part)
                self._left -= len(part)
                at += len(part)
                if self._left == 0:
                    self._left = -1  # the line end behind a chunk
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end + 1 if end >= 0 else len(data)]
            if len(self._line) > HEAD_LIMIT:
                raise BadMessage
            if end < 0:
                return len(data), b"".join(content)
            at, line = end + 1, self._line.strip(b"\r\n")
            self._line = b""
            self._chunk_line(line)
        return at, b"".join(content)

    def _chunk_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.done = not line
        elif self._left < 0:
            if line:
                raise BadMessage
            self._left = 0
        else:
            size = line.partition(b";")[0].strip()
            if not _SIZE.match(size):
                raise BadMessage
            self._left = int(size, 16)
            self._in_trailer = self._left == 0


class _Keys(dict[bytes, str]):
    """Names in lower case, as text; the first few that come are remembered."""

    def __missing__(self, name: bytes) -> str:
        key = name.lower().decode("latin-1")
        if len(self) < _KEYS_KEPT:
            self[name] = key
        return key


_KEYS = _Keys()


class Head:
    """A message's head; ``fields`` are its headers with lower-case names, repeats joined with a comma."""

    __slots__ = ("_answered", "fields", "keep_alive", "length", "method", "status", "target")

    def __init__(self) -> None:
        self.method = self.target = ""
        self.status = 0
        self.keep_alive = True
        self.fields: dict[str, str] = {}
        self.length: int | None = None
        """Of an answer: the bytes of its body, where the head says so plainly (and the request was no HEAD)."""
        self._answered: dict[str, str] | None = None

    @property
    def answered(self) -> dict[str, str]:
        """Of an answer's headers, those that are recorded; not to be changed."""
        if self._answered is None:
            self._answered = Told({name: value for name, value in self.fields.items() if name in RESPONSE_HEADERS})
        return self._answered

    def on_url(self, url: bytes) -> None:
        """Take (a part of) the target."""
        self.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        key, text, fields = _KEYS[name], value.decode("latin-1"), self.fields
        fields[key] = f"{fields[key]}, {text}" if key in fields else text

    @property
    def operation(self) -> str:
        """``METHOD /path``, without query."""
        path = self.target.partition("?")[0]
        if path.startswith(("http://", "https://")):
            path = "/" + path.split("://", 1)[1].partition("/")[2]
        return f"{self.method} {path}"

    @property
    def expects_continue(self) -> bool:
        """Whether the sender waits for ``100 Continue`` before it sends the body."""
        return self.fields.get("expect", "").lower() == "100-continue"

    @property
    def switches(self) -> bool:
        """Whether what follows is no HTTP/1.1 any more."""
        return self.status == _SWITCHING

    def body(self, *, request: Head | None = None) -> Body:
        """Give the body's framing (RFC 9112, 6.3); for an answer, by the ``request`` that it is for."""
        if request is not None:
            bare = self.status < _OK or self.status in (_NO_CONTENT, _NOT_MODIFIED) or request.method == "HEAD"
            if bare:
                return Body()
        coding, length = self.fields.get("transfer-encoding"), self.fields.get("content-length")
        if coding is not None and coding.rpartition(",")[2].strip().lower() == "chunked":
            return Body(chunked=True)
        if coding is None and length is not None:
            length = length.partition(",")[0].strip()
            if not length.isdecimal():
                raise BadMessage
            return Body(length=int(length))
        return Body(until_close=request is not None)


def parse_request(raw: bytes) -> Head:
    """Read a request's head, up to and with its empty line; raise BadMessage when it is none."""
    head = Head()
    parser = httptools.HttpRequestParser(head)
    _feed(parser, raw)
    head.method = parser.get_method().decode("latin-1")
    head.keep_alive = parser.should_keep_alive()
    return head


@functools.lru_cache(maxsize=256)
def parse_response(raw: bytes) -> Head:
    """Read an answer's head, up to and with its empty line; raise BadMessage when it is none.

    Services give the same few heads again and again (their Date changes once a second), so they are remembered.
    """
    head = Head()
    parser = httptools.HttpResponseParser(head)
    _feed(parser, raw)
    head.status = parser.get_status_code()
    length = head.fields.get("content-length", "")
    plain = head.status >= _OK and head.status not in (_NO_CONTENT, _NOT_MODIFIED)
    if plain and "transfer-encoding" not in head.fields and length.isdecimal():
        head.length = int(length)
    return head


def _feed(parser: httptools.HttpRequestParser | httptools.HttpResponseParser, raw: bytes) -> None:
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        return
    except httptools.HttpParserError as wrong:
        raise BadMessage from wrong


def build(answer: Answer, *, request: Head) -> bytes:
    """Give the bytes of an answer to a request."""
    try:
        reason = http.HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Injected"
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in answer.headers.items())]
    bare = answer.status in (_NO_CONTENT, _NOT_MODIFIED)
    if not bare and not any(name.lower() == "content-length" for name in answer.headers):
        lines.append(f"content-length: {len(answer.body)}")
    if not request.keep_alive:
        lines.append("connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    return head if bare or request.method == "HEAD" else head + answer.body


def edited(raw: bytes, name: str, value: str | None) -> bytes:
    """Give a message's head (up to and with its empty line) with one header dropped (None), rewritten or added."""
    first, *lines = raw[:-4].split(b"\r\n")
    wanted = name.encode("latin-1", "replace")
    kept, mine, placed = [first], False, value is None
    for line in lines:
        if line[:1] not in (b" ", b"\t"):  # a line that begins so goes on with the header before it (obs-fold)
            mine = line.partition(b":")[0].strip().lower() == wanted.lower()
        if not mine:
            kept.append(line)
        elif not placed and value is not None:
            kept.append(line.partition(b":")[0] + b": " + value.encode("latin-1", "replace"))
            placed = True
    if not placed and value is not None:
        kept.append(wanted + b": " + value.encode("latin-1", "replace"))
    return b"\r\n".join(kept) + b"\r\n\r\n"


def reframed(head: bytes, body: bytes, *, chunked: bool, size: int | None, by: int) -> tuple[bytes, bytes]:
    """Give an answer's head and body, cut to ``size`` bytes, with a content length that says ``by`` bytes more."""
    content = Body(chunked=True).feed(body)[1] if chunked else body
    content = content[:size]
    plain = edited(edited(head, "transfer-encoding", None), "trailer", None)
    return edited(plain, "content-length", str(max(0, len(content) + by))), content
