"""A page that is served in a thread, and visitors that ask for it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tcpsight.ui.board import Board
from tcpsight.ui.web_server import PageServer

SECONDS = 30


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server, and where it is."""

    server: PageServer
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for something; headers are named with ``_`` for ``-``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def visit(self, **headers: str) -> Visitor:
        """Have the news told."""
        return Visitor(self.port, headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)


class Visitor:
    """Somebody who listens to the news."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        self.connection.request("GET", "/events", headers={k.replace("_", "-"): v for k, v in headers.items()})
        self.answer = self.connection.getresponse()

    def next(self) -> Any:
        """Give the next message; None at the end."""
        while line := self.answer.readline():
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
        return None

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@contextmanager
def served(board: Board, token: str | None = None, names: tuple[str, ...] = ()) -> Iterator[Served]:
    """Serve a board while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = PageServer(board, listener, token, names)
    begun = threading.Event()
    thread = threading.Thread(target=server.run, args=(begun.set,))
    thread.start()
    try:
        assert begun.wait(SECONDS)
        yield Served(server, listener.getsockname()[1])
    finally:
        server.stop()
        thread.join()
        listener.close()
