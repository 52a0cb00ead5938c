"""Runs the older tools' faces, and knows which of their genuine outputs are not repeated on purpose."""

from __future__ import annotations

import gzip
from pathlib import Path

from tests.cli.running import Outcome, environment, process

ACCEPTED = Path(__file__).parent / "accepted.tsv"


def compat(tool: str, *arguments: str | Path, stdin: bytes = b"", zone: str = "UTC", **options: str | Path) -> Outcome:
    """Run a tool as a process of its own, in a time zone."""
    return process("compat", tool, *arguments, stdin=stdin, env=environment(TZ=zone, LC_ALL="C"), **options)


def accepted(folder: str) -> dict[str, str]:
    """Give the rows of a folder's commands whose genuine output is not repeated, each with the difference."""
    rows = [line.split("\t") for line in ACCEPTED.read_text("utf-8").splitlines()]
    return {row: difference for where, row, difference in rows if where == folder}


def lines_of(path: Path) -> list[str]:
    """Read a genuine output, plain or compressed."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
