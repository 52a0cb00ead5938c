"""Lines to sockets: real receivers that come, go, and do not read."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tcpsight.output.feeds import feed as feeds_feed
from tcpsight.output.feeds import open_feed, sockets
from tcpsight.output.feeds.lines import UpdateLines
from tests.support.updates import updates, wait_until


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(feeds_feed, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(feeds_feed, "LONGEST_PAUSE_S", 0.01)


class Listener:
    """Reads all that comes, connection after connection."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.received = b""
        self.connection: socket.socket | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                self.connection, _ = self.listening.accept()
                while data := self.connection.recv(65_536):
                    self.received += data
                self.connection.close()
        except OSError:
            pass

    def kill(self) -> None:
        wait_until(lambda: self.connection is not None)
        assert self.connection is not None
        self.connection.shutdown(socket.SHUT_RDWR)

    @property
    def starts(self) -> list[int]:
        return [json.loads(line)["start_ns"] for line in self.received.splitlines()]


def listening_socket() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with closing(listening_socket()) as made:
        yield made


def port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def all_lines() -> bytes:
    return b"".join(UpdateLines().encode(update) for update in updates())


def test_a_tcp_receiver_gets_every_line(listening):
    listener = Listener(listening)
    feed = open_feed(f"tcp://127.0.0.1:{port_of(listening)}")
    for update in updates():
        feed.send(update)
    feed.close(10)
    wait_until(lambda: len(listener.received) >= len(all_lines()))
    assert listener.received == all_lines()
    assert feed.counts == (len(updates()), 0, 0)


def test_a_unix_receiver_gets_every_line(tmp_path: Path):
    path = tmp_path / "feed.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen()
        listener = Listener(listening)
        feed = open_feed(f"unix://{path}")
        for update in updates():
            feed.send(update)
        feed.close(10)
        wait_until(lambda: len(listener.received) >= len(all_lines()))
        assert listener.received == all_lines()


def test_a_receiver_that_was_killed_is_found_again_and_loses_nothing(listening):
    listener = Listener(listening)
    feed = open_feed(f"tcp://127.0.0.1:{port_of(listening)}")
    first, *others = updates()
    feed.send(first)
    wait_until(lambda: len(listener.starts) == 2)
    listener.kill()
    for update in others:
        feed.send(update)
        wait_until(lambda: feed.waiting == 0)
    feed.close(10)
    wait_until(lambda: len(listener.received) >= len(all_lines()))
    assert listener.received == all_lines()


def test_a_receiver_that_comes_late_gets_what_waited():
    with closing(listening_socket()) as listening:
        port = port_of(listening)
    feed = open_feed(f"tcp://127.0.0.1:{port}")
    for update in updates():
        feed.send(update)
    wait_until(lambda: feed.counts.failures >= 3)
    assert feed.counts.sent == 0
    assert "refused" in feed.last_failure
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        listener = Listener(listening)
        wait_until(lambda: feed.counts.sent == len(updates()))
        feed.close(10)
        wait_until(lambda: len(listener.received) >= len(all_lines()))
    assert listener.received == all_lines()


def test_a_port_that_stays_closed_costs_updates_that_are_counted():
    with closing(listening_socket()) as listening:
        port = port_of(listening)
    feed = open_feed(f"tcp://127.0.0.1:{port}", most_waiting=4)
    for _ in range(100):
        feed.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 2)
    assert feed.waiting <= 4
    feed.close(5)
    assert feed.counts[:2] == (0, 100)


def test_a_receiver_that_accepts_and_never_reads_holds_up_nobody(listening, monkeypatch):
    monkeypatch.setattr(sockets, "SEND_S", 0.05)
    feed = open_feed(f"tcp://127.0.0.1:{port_of(listening)}", most_waiting=4)
    # More than the buffers of a connection hold soon.
    services = updates()[0].services
    many = updates()[0]._replace(services=services[np.zeros(2_000, int)])
    for _ in range(200):
        feed.send(many)
        if feed.counts.failures:
            break
        wait_until(lambda: feed.waiting < 4 or feed.counts.failures > 0)
    assert feed.counts.failures > 0
    assert feed.waiting <= 4
    feed.close(0.2)
    assert feed.counts.dropped > 0


def test_closing_breaks_off_a_receiver_that_never_reads(listening):
    feed = open_feed(f"tcp://127.0.0.1:{port_of(listening)}")
    many = updates()[0]._replace(services=updates()[0].services[np.zeros(50_000, int)])
    feed.send(many)
    feed.close(0.2)
    assert feed.counts[:2] == (0, 1)


def test_an_unknown_host_is_a_failure_like_any_other():
    feed = open_feed("tcp://no-such-host.invalid:9")
    feed.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 1)
    feed.close(0.2)
    assert feed.counts[:2] == (0, 1)
    assert feed.last_failure


def test_what_a_receiver_says_is_thrown_away(listening):
    feed = open_feed(f"tcp://127.0.0.1:{port_of(listening)}")
    feed.send(updates()[0])
    connection, _ = listening.accept()
    with closing(connection):
        connection.sendall(b"x" * 100_000)
        for update in updates()[1:]:
            feed.send(update)
        received = b""
        while len(received) < len(all_lines()):
            received += connection.recv(65_536)
    feed.close(5)
    assert received == all_lines()
