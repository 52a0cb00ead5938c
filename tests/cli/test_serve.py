"""``tcpsight serve`` as it is started: where it listens, who needs a token, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60


class Serving:
    """The command, under way."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tcpsight", "serve", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        self.said = ""
        while "serving at" not in self.said:
            line = self.process.stderr.readline()
            assert line, f"it ended: {self.said}"
            self.said += line
        found = re.search(r"serving at (http://\S+)", self.said)
        assert found is not None
        self.url = found[1]

    def ask(self, path: str = "") -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url.partition("?")[0] + path, timeout=SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def end(self, number: int = signal.SIGTERM) -> str:
        """End it; give everything that it said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        assert out == ""
        return self.said + err


@pytest.fixture
def serving() -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(*arguments: str) -> Serving:
        started.append(Serving(*arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


@pytest.fixture
def example(examples_dir: Path) -> str:
    return str(examples_dir / "mariadb-lock.pcap")


def refused(*arguments: str, program: str = "") -> str:
    """Run it where it cannot go on; give the line that it says."""
    command = ["-c", program] if program else ["-m", "tcpsight"]
    done = subprocess.run(
        [sys.executable, *command, "serve", *arguments], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_this_machine_needs_no_token_and_a_signal_ends_it(serving, example, number):
    page = serving(example, "--listen", "127.0.0.1:0")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", page.url)
    status, text = page.ask()
    assert status == 200
    assert b"mariadb-lock.pcap" in text
    said = page.end(number)
    assert page.process.returncode == 0
    assert "Traceback" not in said


def test_any_other_address_needs_the_token_that_is_printed_once(serving, example):
    page = serving(example, "--listen", "0.0.0.0:0")
    token = page.url.partition("?token=")[2]
    assert len(token) >= 32
    page.url = page.url.replace("0.0.0.0", "127.0.0.1")
    assert page.ask()[0] == 401
    assert page.ask(f"?token={token}x")[0] == 401
    said = page.end()
    assert said.count(token) == 1


def test_a_token_of_a_file_is_not_printed(serving, example, tmp_path):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef-secret\n")
    path.chmod(0o600)
    page = serving(example, "--listen", "127.0.0.1:0", "--token-file", str(path))
    assert page.ask()[0] == 401
    said = page.end()
    assert "secret" not in said
    assert "chmod" not in said


def test_a_token_that_others_can_read_is_told(serving, example, tmp_path):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef-secret\n")
    path.chmod(0o644)
    assert "others can read the token" in serving(example, "--listen", "127.0.0.1:0", "--token-file", str(path)).end()


@pytest.mark.parametrize("content", [b"short\n", b"\n" + b"x" * 40, b"\xff" * 40, "ä".encode() * 40, None])
def test_what_is_no_token_is_refused(example, tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    assert "--token-file" in refused(example, "--token-file", str(path))


def test_an_address_that_is_taken_or_is_none_is_refused(example):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in refused(example, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "write HOST:PORT" in refused(example, "--listen", "9471")
    assert "--listen" in refused(example, "--listen", "203.0.113.7:9471")


def test_what_cannot_be_read_is_told_at_once(tmp_path):
    assert "cannot be opened" in refused(str(tmp_path / "none.pcap"), "--listen", "127.0.0.1:0")


@pytest.mark.parametrize("name", ["starlette", "uvicorn", "plotly"])
def test_without_a_library_it_says_how_to_install_it(example, name):
    program = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        f"u.find_spec = lambda name, *more: None if name == '{name}' else find(name, *more)\n"
        "from tcpsight.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    assert "pip install 'tcpsight[" in refused(example, program=program)


def test_a_pipe_is_served_while_it_lasts_and_after(serving, examples_dir, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with (examples_dir / "mariadb-lock.pcap").open("rb") as whole:
        writer = subprocess.Popen(["tee", str(path)], stdin=whole, stdout=subprocess.DEVNULL)
    page = serving(str(path), "--listen", "127.0.0.1:0")
    writer.wait(SECONDS)
    for _ in range(200):
        rows = page.ask("connections?service=10.1.1.1:3306")[1]
        if rows.count(b'"connection_id"') == 9:
            break
    assert rows.count(b'"connection_id"') == 9
    page.end()
    assert page.process.returncode == 0
