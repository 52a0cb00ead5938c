"""However a watch is ended, the last interval is told: by signals, once and twice, and by terminals."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.cli.running import COMMAND
from tests.support.live_network import until
from tests.support.pcap import Frame, pcap_header, pcap_record
from tests.support.traffic import START_NS, Talk, answered

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

LONG = ("--interval", "1h")
"""No slice is over while a test runs: the only row is the one of the end."""


def talk() -> None:
    """Ask a server on loopback ten times."""
    where = ("127.0.0.1", 8000)
    with socket.create_server(where, reuse_port=True) as server, socket.create_connection(where) as client:
        peer, _ = server.accept()
        with peer:
            for _ in range(10):
                client.sendall(b"q")
                peer.sendall(peer.recv(1))
                client.recv(1)


@pytest.fixture(autouse=True)
def _none_outlives_its_test() -> Iterator[None]:
    yield
    for each in Apart.begun:
        if not each.has_ended():
            os.kill(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)
    Apart.begun.clear()


def settle() -> None:
    time.sleep(0.5)  # what was sent has come: a signal that overtakes it would only leave it to be drained


class Apart:
    """A command of a session of its own with a terminal, whose output goes to files."""

    begun: ClassVar[list[Apart]] = []

    def __init__(self, folder: Path, *arguments: str, is_ignoring: bool = False, is_redirected: bool = True) -> None:
        self.out, self.err = folder / "out", folder / "err"
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            if is_ignoring:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for number, path in ((1, self.out), (2, self.err)) if is_redirected else ():
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
            os.execv(COMMAND[0], [*COMMAND, *arguments])
        self._status: int | None = None
        Apart.begun.append(self)
        if is_redirected:
            until(lambda: self.err.exists() and b"ing" in self.err.read_bytes(), "its first line")

    def hang_up(self) -> None:
        os.close(self.terminal)

    def has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status is not None

    def status(self) -> int:
        until(self.has_ended, "its end")
        assert self._status is not None
        return self._status

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]


def test_a_terminal_that_goes_away_ends_a_watch_whose_output_goes_to_files(tmp_path):
    watch = Apart(tmp_path, "watch", "-i", "lo", "--json", *LONG, "tcp", "port", "8000")
    talk()
    settle()
    watch.hang_up()
    assert watch.status() == 0
    assert sum(row["completions"] for row in watch.rows()) == 10


def test_a_terminal_that_goes_away_ends_a_recording_whose_output_goes_to_files(tmp_path):
    recording = Apart(tmp_path, "capture", "-i", "lo", "-w", str(tmp_path / "x.pcap"), "tcp")
    talk()
    settle()
    recording.hang_up()
    assert recording.status() == 0
    assert b"written to" in recording.err.read_bytes()


def test_a_terminal_that_goes_away_ends_a_page_that_is_served(tmp_path):
    pytest.importorskip("uvicorn")
    served = Apart(tmp_path, "serve", "-i", "lo", "--listen", "127.0.0.1:0")
    until(lambda: b"serving at" in served.err.read_bytes(), "a page")
    served.hang_up()
    assert served.status() == 0


def test_a_watch_on_a_terminal_that_goes_away_ends_quietly_and_tells_others(tmp_path):
    feed = tmp_path / "lines.jsonl"
    watch = Apart(tmp_path, "watch", "-i", "lo", *LONG, "--feed", str(feed), is_redirected=False)
    said = b""
    while b"watching lo" not in said:
        said += os.read(watch.terminal, 1000)
    talk()
    settle()
    watch.hang_up()
    assert watch.status() == 0
    assert sum(json.loads(line)["completions"] for line in feed.read_text().splitlines()) == 10


def test_a_hang_up_while_the_terminal_is_there_means_nothing(tmp_path):
    watch = Apart(tmp_path, "watch", "-i", "lo", "--json", *LONG)
    os.kill(watch.pid, signal.SIGHUP)
    time.sleep(1)  # that nothing happens can only be waited for
    assert not watch.has_ended()
    os.kill(watch.pid, signal.SIGTERM)
    assert watch.status() == 0
    watch.hang_up()


def test_who_is_to_ignore_hang_ups_outlives_the_terminal(tmp_path):
    watch = Apart(tmp_path, "watch", "-i", "lo", "--json", *LONG, is_ignoring=True)
    watch.hang_up()
    time.sleep(1)  # that nothing happens can only be waited for
    assert not watch.has_ended()
    talk()
    settle()
    os.kill(watch.pid, signal.SIGTERM)
    assert watch.status() == 0
    assert sum(row["completions"] for row in watch.rows()) == 10


@pytest.mark.parametrize("numbers", [(signal.SIGINT,) * 3, (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)])
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_signals_that_come_while_the_end_is_told_change_nothing(tmp_path, numbers, pause_s):
    watch = Apart(tmp_path, "watch", "-i", "lo", "--json", *LONG)
    talk()
    settle()
    for number in numbers:
        if not watch.has_ended():
            os.kill(watch.pid, number)
        time.sleep(pause_s)  # how close they come is what is tried
    assert watch.status() == 0
    assert sum(row["completions"] for row in watch.rows()) == 10
    assert b"frames received" in watch.err.read_bytes()
    watch.hang_up()


def test_a_recording_that_is_told_twice_to_end_loses_nothing(tmp_path):
    recording = Apart(tmp_path, "capture", "-i", "lo", "-w", str(tmp_path / "x.pcap"), "tcp")
    talk()
    for _ in range(2):
        os.kill(recording.pid, signal.SIGINT)
        time.sleep(0.02)  # while the first is being answered
    assert recording.status() == 0
    assert b" more lay in the ring" not in recording.err.read_bytes()
    recording.hang_up()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT] * 2, [signal.SIGHUP, signal.SIGTERM]])
def test_the_last_slice_of_a_pipe_is_told_too(numbers):
    command = [*COMMAND, "watch", "-", "--json", *LONG]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(pcap_header(nanoseconds=True))
        for frame in Talk(answered(1, 2, 3), is_closed=False).frames():
            fresh = Frame(frame.time_ns + time.time_ns() - START_NS, frame.data)
            running.stdin.write(pcap_record(fresh, nanoseconds=True))
        running.stdin.flush()
        time.sleep(3)  # Python has begun, and read it
        for number in numbers:
            running.send_signal(number)
            time.sleep(0.2)  # one after the other: two at once are one
        assert running.stdout is not None
        rows = [json.loads(line) for line in running.stdout.read().splitlines()]
        assert running.wait(timeout=30) == 0
    assert sum(row["completions"] for row in rows) == 3
