"""``tcpsight watch --screen`` on a real terminal: keys, signals, pipes, and what is left on it afterwards."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60
"""Until a screen shows what it should, on a machine that has much else to do."""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *arguments: str, stdin: int | None = None) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (30, 110))
        self.usual = termios.tcgetattr(slave)
        self.slave = slave
        command = (
            "import fcntl,os,sys,termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, sys.executable, "-m", "tcpsight", "watch", *arguments],
            stdin=slave if stdin is None else stdin,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"},
        )
        self.written = b""

    def wait_for(self, pattern: str) -> str:
        """Read until the screen was told to show this."""
        return self._read(lambda text: re.search(pattern, text) is not None, pattern)

    def ended(self) -> str:
        """Read until the program has ended; give what it wrote after it left the screen."""
        self._read(lambda text: self.process.poll() is not None, "its end")
        return self.text.rsplit("\x1b[?1049l", 1)[-1]

    @property
    def text(self) -> str:
        return self.written.decode(errors="replace")

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def _read(self, is_enough, what: str) -> str:
        for _ in range(SECONDS * 10):
            if select.select([self.master], [], [], 0.1)[0]:
                self.written += os.read(self.master, 65536)
            elif is_enough(self.text):
                return self.text
        raise AssertionError(f"no {what} in {self.text[-3000:]!r}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str, **how: int) -> Terminal:
        opened.append(Terminal(*arguments, **how))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def assert_left_as_it_was(terminal: Terminal) -> None:
    assert terminal.text.count("\x1b[?1049h") == terminal.text.count("\x1b[?1049l") == 1
    assert "\x1b[?25h" in terminal.text.rsplit("\x1b[?1049h", 1)[-1]
    assert termios.tcgetattr(terminal.slave) == terminal.usual


def test_q_leaves_the_last_interval_and_the_terminal_as_it_was(on_terminal, examples_dir):
    terminal = on_terminal(str(examples_dir / "mariadb-lock.pcap"), "--screen")
    terminal.wait_for("ENDED")
    assert "10.1.1.1:3306" in terminal.text
    terminal.type("q")
    left = terminal.ended()
    assert "22:50:33Z     351/s" in left
    assert terminal.process.returncode == 0
    assert_left_as_it_was(terminal)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_as_the_key_does(on_terminal, examples_dir, number):
    terminal = on_terminal(str(examples_dir / "mariadb-lock.pcap"), "--screen")
    terminal.wait_for("ENDED")
    terminal.process.send_signal(number)
    assert "22:50:33Z     351/s" in terminal.ended()
    assert terminal.process.returncode == 0
    assert_left_as_it_was(terminal)


def test_keys_come_from_the_terminal_where_standard_input_is_the_capture(on_terminal, examples_dir):
    read, write = os.pipe()
    whole = (examples_dir / "mariadb-lock.pcap").read_bytes()
    with os.fdopen(write, "wb", buffering=0) as writer:
        # Open while the screen is looked at, as that of a tcpdump is.
        terminal = on_terminal("-", "--screen", stdin=read)
        os.close(read)
        for begin in range(0, len(whole), 4096):
            writer.write(whole[begin : begin + 4096])
        terminal.wait_for("standard input")
        terminal.wait_for("22:50:3")
        terminal.type("q")
        left = terminal.ended()
    assert "req/s" in left
    assert terminal.process.returncode == 0
    assert_left_as_it_was(terminal)


def test_a_capture_that_breaks_off_is_shown_and_told_at_the_end(on_terminal, examples_dir, tmp_path, monkeypatch):
    # A short name, so that no line breaks in the middle of what is waited for.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.pcap").write_bytes((examples_dir / "mariadb-lock.pcap").read_bytes()[:100_001])
    terminal = on_terminal("cut.pcap", "--screen")
    terminal.wait_for("ENDED")
    terminal.wait_for("cut short")
    terminal.type("q")
    assert "cut short" in terminal.ended()
    assert terminal.process.returncode == 2
    assert_left_as_it_was(terminal)


def run(*arguments: str, **how) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tcpsight", "watch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **how)


def test_without_a_terminal_it_says_so(examples_dir):
    done = run(str(examples_dir / "mariadb-lock.pcap"), "--screen")
    assert done.returncode == 2
    assert "--screen needs a terminal" in done.stderr
    assert done.stdout == ""


def test_what_belongs_to_lines_is_refused(examples_dir):
    done = run(str(examples_dir / "mariadb-lock.pcap"), "--screen", "--columns", "time")
    assert done.returncode == 2
    assert "leave out --json and --columns" in done.stderr


def test_without_the_library_it_says_how_to_install_it(examples_dir, tmp_path):
    program = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'textual' else find(name, *more)\n"
        "from tcpsight.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    path = Path(examples_dir, "mariadb-lock.pcap")
    command = [sys.executable, "-c", program, "watch", str(path), "--screen"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'tcpsight[screen]'" in done.stderr
    assert done.stderr.count("\n") == 1
