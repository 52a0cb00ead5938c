"""Clients just large enough to time requests: one socket, one request at a time, the clock at both its ends.

`PostgreSQL` speaks the simple query protocol for users without a password, `Redis` its own, `Http` keeps one connection
alive. All have `port`, `execute` and `close`, as `mysql_client.Connection` has.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

from mysql_client import Answer

Row = list[str | None]


class Client(Protocol):
    """What every client can do."""

    port: int

    def execute(self, text: str) -> Answer:
        """Send one request and wait for its whole answer."""

    def close(self) -> None:
        """Close the connection."""


class _Stream:
    """A connection that is read by lines and by counts."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._buffer = b""

    def take(self, count: int) -> bytes:
        """Read so many bytes."""
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def line(self) -> bytes:
        """Read to the end of a line, which is left away."""
        while b"\r\n" not in self._buffer:
            self._more()
        taken, self._buffer = self._buffer.split(b"\r\n", 1)
        return taken

    def timed(self, wire: bytes, read: Callable[[], list[Row]]) -> Answer:
        """Send a request, read its answer, and read the clock right before and after."""
        tick, start = time.perf_counter_ns(), time.time_ns()  # what passes between makes the end later, not earlier
        self._socket.sendall(wire)
        rows = read()
        return Answer(start, start + time.perf_counter_ns() - tick, rows)

    def send(self, wire: bytes) -> None:
        self._socket.sendall(wire)

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> None:
        more = self._socket.recv(65536)
        if not more:
            raise ConnectionError("the server closed the connection")
        self._buffer += more


class PostgreSQL(_Stream):
    """One connection to a PostgreSQL server."""

    def __init__(self, port: int, user: str = "postgres") -> None:
        super().__init__(port)
        names = b"".join(each.encode() + b"\0" for each in ("user", user, "database", "postgres"))
        body = struct.pack(">I", 196608) + names + b"\0"
        self.send(struct.pack(">I", len(body) + 4) + body)
        self._read()

    def execute(self, text: str) -> Answer:
        """Run one statement and time it."""
        body = text.encode() + b"\0"
        return self.timed(b"Q" + struct.pack(">I", len(body) + 4) + body, self._read)

    def close(self) -> None:
        """Say goodbye and close."""
        self.send(b"X" + struct.pack(">I", 4))
        super().close()

    def _read(self) -> list[Row]:
        """Read messages until the server is ready for the next query."""
        rows: list[Row] = []
        while True:
            kind = self.take(1)
            body = self.take(struct.unpack(">I", self.take(4))[0] - 4)
            if kind == b"E":
                raise RuntimeError(body.decode(errors="replace"))
            if kind == b"D":
                rows.append(_fields(body))
            if kind == b"Z":
                return rows


def _fields(body: bytes) -> Row:
    fields: Row = []
    at = 2
    for _ in range(struct.unpack(">H", body[:2])[0]):
        size = struct.unpack(">i", body[at : at + 4])[0]
        at += 4
        fields.append(None if size < 0 else body[at : at + size].decode(errors="replace"))
        at += max(size, 0)
    return fields


class Redis(_Stream):
    """One connection to a Redis server."""

    def execute(self, text: str) -> Answer:
        """Run one command, its words apart by blanks; nested answers come as one row."""
        words = text.encode().split()
        wire = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        return self.timed(wire, lambda: [self._values()])

    def _values(self) -> Row:
        head = self.line()
        kind, rest = head[:1], head[1:].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"$":
            size = int(rest)
            return [None if size < 0 else self.take(size + 2)[:-2].decode(errors="replace")]
        if kind == b"*":
            return [value for _ in range(max(int(rest), 0)) for value in self._values()]
        return [rest]


class Http(_Stream):
    """One keep-alive connection to a web server."""

    def execute(self, text: str) -> Answer:
        """Get one page."""
        return self.timed(f"GET {text} HTTP/1.1\r\nHost: example\r\n\r\n".encode(), self._read)

    def _read(self) -> list[Row]:
        status, size = self.line().decode(), 0
        while head := self.line().decode():
            name, value = head.split(":", 1)
            if name.lower() == "content-length":
                size = int(value)
        self.take(size)
        return [[status]]
