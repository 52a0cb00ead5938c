"""Captures of real servers: what the tools find in them is what the old rules find in the text that tcpdump prints."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import Here, environment
from tests.compat.old_requests import LINE, length_of, old_requests

EXAMPLES = {
    "apache-wrk": ("10.1.1.1", 80),
    "mariadb-lock": ("10.1.1.1", 3306),
    "memcached-memcslap": ("10.1.1.1", 11211),
    "nginx-wrk": ("10.1.1.1", 80),
    "postgresql-pgbench": ("fd00:1::1", 5432),
    "redis-benchmark": ("127.0.0.1", 6379),
}


@pytest.fixture(params=EXAMPLES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def text(name: str, examples_dir: Path, require_program: Callable[[str], str]) -> str:
    command = [require_program("tcpdump"), "-nn", "-q", "-tttt", "-r", str(examples_dir / f"{name}.pcap")]
    return subprocess.run(command, capture_output=True, check=True, text=True, env=environment(TZ="UTC")).stdout


def by_id(lines: list[str]) -> list[str]:
    return sorted(lines, key=lambda line: int(line.split()[0]))


def bracketed(line: str) -> str:
    """Write the client of a request as it is written here where it is IPv6."""
    head, client = line.rsplit(" ", 1)
    host, port = client.rsplit(":", 1)
    return f"{head} [{host}]:{port}" if ":" in host else line


@pytest.mark.parametrize(("words", "start", "end"), [((), "ts", "end"), (("--start-end", "ts0,end1"), "ts0", "end1")])
def test_requests_of_a_capture_are_those_of_its_text(
    here: Here, tmp_path: Path, examples_dir: Path, name: str, text: str, words: tuple[str, ...], start: str, end: str
):
    port = EXAMPLES[name][1]
    printed = tmp_path / "dump.txt"
    printed.write_text(text)
    expected = [bracketed(line) for line in old_requests(text.splitlines(), str(port), start, end)]
    assert len(expected) > 1000
    for path in (examples_dir / f"{name}.pcap", printed):
        done = here("compat", "mk-tcp-model", "--config", "/dev/null", "--watch-server", f"any:{port}", *words, path)
        assert (done.status, done.err) == (0, "")
        assert by_id(done.text.splitlines()) == expected


def response_times(text: str, server: str, port: int) -> list[int]:
    """Give what tcprstat measured, by its rule: data in stores a time, data out uses it up."""
    asked: dict[str, int] = {}
    found = []
    for line in text.splitlines():
        parts = LINE.search(line)
        if parts is None or not length_of(parts[5]):
            continue
        hours, minutes, seconds = parts[1].split()[1].split(":")
        us = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 10**6 + int(parts[2])
        if parts[3] == f"{server}.{port}":
            if parts[4] in asked:
                found.append(us - asked.pop(parts[4]))
        elif parts[4] == f"{server}.{port}":
            asked[parts[3]] = us
    return found


def test_response_times_of_a_capture_are_those_of_its_text(here: Here, examples_dir: Path, name: str, text: str):
    server, port = EXAMPLES[name]
    expected = response_times(text, server, port)
    words = ["-t", "86400", "--tail", "--no-header", "-f", "%n %s %x %m %M"]
    done = here("compat", "tcprstat", "-r", examples_dir / f"{name}.pcap", "-l", server, "-p", str(port), *words)
    squares = sum(value * value for value in expected)
    assert list(map(int, done.text.split())) == [
        len(expected), sum(expected), squares, min(expected), max(expected),
    ]  # fmt: skip
