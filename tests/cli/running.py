"""Runs the command: as a process of its own, or, where that is enough, in this one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tcpsight.cli.main import main

COMMAND = (sys.executable, "-m", "tcpsight")
TABLES = ("requests", "intervals", "connections", "buckets", "segments")
FORMATS = ("table", "csv", "jsonl", "parquet", "arrow")


class Outcome(NamedTuple):
    """What a command did."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    def rows(self) -> list[dict[str, str]]:
        """Give the rows of a CSV."""
        lines = self.text.splitlines()
        names = lines[0].split(",")
        return [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]

    def column(self, name: str) -> list[str]:
        """Give one column of a CSV."""
        return [row[name] for row in self.rows()]


def process(*arguments: str | Path, stdin: bytes = b"", **options: Any) -> Outcome:
    """Run the command as a process."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, timeout=60, check=False, **options
    )
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


SIZES_AND_COLOURS = ("NO_COLOR", "COLUMNS", "FORCE_COLOR")
"""Variables of the environment that size or colour a page."""


def environment(**changes: str) -> dict[str, str]:
    """Give this process's environment with changes, and without what colours or sizes a page."""
    return {name: value for name, value in os.environ.items() if name not in SIZES_AND_COLOURS} | changes


class Here:
    """Runs the command in this process; pytest captures what it writes."""

    def __init__(self, capsysbinary: Any) -> None:
        self._capture = capsysbinary

    def __call__(self, *arguments: str | Path) -> Outcome:
        self._capture.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        return Outcome(status, out, err.decode())


def assert_one_line(err: str, *words: str) -> None:
    """Check that the last line of standard error is a message that says these words, and nothing is a traceback."""
    lines = err.splitlines()
    assert "Traceback" not in err
    assert lines, "nothing was said"
    assert lines[-1].startswith("tcpsight: ")
    assert not lines[-1].startswith("tcpsight: note:")
    # What comes before it are notes.
    assert all(line.startswith("tcpsight: note:") for line in lines[:-1]), err
    for word in words:
        assert word in lines[-1], lines[-1]


def on_a_terminal(*arguments: str) -> bytes:
    """Run the command with a terminal for its output."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, *arguments, "--no-progress"]
    done = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return all_of(ours, done)


def typed_on_a_terminal(command: list[str]) -> bytes:
    """Run a command with a terminal for everything."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return all_of(ours, done)


def all_of(ours: int, done: subprocess.Popen[bytes]) -> bytes:
    """Read what is said until it ends."""
    seen = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:
            break
        if not part:
            break
        seen += part
    done.wait(60)
    os.close(ours)
    return seen
