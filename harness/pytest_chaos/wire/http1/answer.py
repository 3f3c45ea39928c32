"""The bytes of one HTTP/1.1 answer, sorted as they come: heads before it, its own, its body, what lies behind. Pure."""

from __future__ import annotations

from collections.abc import Callable

from pytest_chaos.wire.http1.messages import HEAD_LIMIT, BadMessage, Body, Head, parse_response


class AnswerReader:
    """Reads the answer to ``asked``. ``body`` is there once ``head`` is, which was ``head_size`` bytes."""

    __slots__ = ("_asked", "_unread", "body", "head", "head_size")

    def __init__(self, asked: Head) -> None:
        self._asked = asked
        self._unread = b""
        self.body: Body | None = None
        self.head: Head | None = None
        self.head_size = 0

    @property
    def done(self) -> bool:
        """Whether the answer is all there."""
        return self.body is not None and self.body.done

    def unread(self) -> bytes:
        """Give (and forget) bytes that were taken and belong to nothing: an unfinished head, what could not be read."""
        unread, self._unread = self._unread, b""
        return unread

    def take_whole(self, data: bytes) -> bool:
        """Take an answer that is all there in one piece, as most are; False: it is not, and nothing is taken."""
        if self.body is not None or self._unread:
            return False
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return False
        try:
            head = parse_response(data[:end])
            body = head.body(request=self._asked)
        except BadMessage:
            return False
        if head.status < 200 or not body.all_in(len(data) - end):
            return False
        self.head, self.body, self.head_size = head, body, end
        return True

    def read(self, data: bytes, parts: list[bytes], interim: Callable[[bytes], None]) -> bytes | None:
        """Sort bytes into the answer's ``parts`` and the heads before it, which are no answers yet (``interim``).

        Gives what lies behind its end. None after a switch of protocols: the head that says so (``head_size`` bytes)
        and what follows it are unread then. Raises BadMessage.
        """
        while data and not self.done:
            if self.body is not None:
                self._unread = data  # is passed on unread, should it be no body
                size, _ = self.body.feed(data)
                self._unread = b""
                parts.append(data[:size])
                data = data[size:]
                continue
            self._unread += data
            end = self._unread.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(self._unread) > HEAD_LIMIT:
                    raise BadMessage
                return b""
            raw, data = self._unread[:end], self._unread[end:]
            head = parse_response(raw)
            if head.switches:
                self.head_size = end
                return None
            self._unread = b""
            if head.status < 200:
                interim(raw)
                continue
            self.head, self.body, self.head_size = head, head.body(request=self._asked), end
            parts.append(raw)
        return data
