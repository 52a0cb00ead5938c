"""``--workers`` changes how long it takes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Here

EXAMPLE = Path("examples/postgresql-pgbench.pcap")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("requests", ["--format", "csv", "--account"]),
        ("connections", ["--format", "parquet", "--server", ":5432"]),
        ("network", ["--format", "arrow"]),
        ("network", ["--format", "jsonl", "--record", "flow"]),
        ("findings", ["--format", "csv"]),
        ("intervals", ["--format", "csv", "--by", "client"]),
        ("buckets", ["--format", "csv"]),
        ("usl", ["--format", "json"]),
        ("report", ["--format", "json"]),
        ("report", []),
    ],
)
def test_every_answer_is_the_same_to_the_byte(here: Here, command: str, options: list[str]):
    told = [here(command, EXAMPLE, *options, "--workers", count) for count in ("1", "2", "6")]
    assert {each.status for each in told} == {0}
    assert len(told[0].out) > 100
    assert told[0].out == told[1].out == told[2].out
    assert told[0].err == told[1].err == told[2].err
