"""Lakes of older versions, whose rows lack columns that this one writes, tell nothing that is not so."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.running import process
from tests.support.pcap import pcap_bytes, tcp_frame

Ends = tuple[str, str, int, int]
MS = 1_000_000
CLIENT: Ends = ("10.0.0.1", "10.0.0.9", 40000, 80)
SERVER: Ends = ("10.0.0.9", "10.0.0.1", 80, 40000)
YOUNGER = {
    "network": ["repeated_syns", "repeated_syn_acks", "stepped_back_ns", "unseen_pause_ns", "doubtful_pause_ns"],
    "connections": ["server_handshake_least_ns", "client_handshake_least_ns"],
    "policed": ["rate_low_bits_per_s", "rate_high_bits_per_s"],
}
"""Columns that came later, by table."""


def conversation() -> bytes:
    """Write one whose SYN was late: the server answers both copies, and the client takes both."""
    talk: list[tuple[int, Ends, int, int, str, bytes]] = [
        (0, CLIENT, 1000, 0, "S", b""),
        (1000, CLIENT, 1000, 0, "S", b""),
        (1200, SERVER, 5000, 1001, "SA", b""),
        (1201, CLIENT, 1001, 5001, "A", b""),
        (2200, SERVER, 5000, 1001, "SA", b""),
        (2201, CLIENT, 1001, 5001, "A", b""),
        (2210, CLIENT, 1001, 5001, "PA", b"?" * 100),
        (2410, SERVER, 5001, 1101, "PA", b"!" * 100),
        (2411, CLIENT, 1101, 5101, "A", b""),
    ]
    return pcap_bytes(
        [(at * MS, tcp_frame(*ends, seq, ack, flags, payload)) for at, ends, seq, ack, flags, payload in talk]
    )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Give a lake of that conversation."""
    capture = tmp_path / "late.pcap"
    capture.write_bytes(conversation())
    assert process("ingest", capture, "-o", tmp_path / "lake").status == 0
    return tmp_path / "lake"


def make_old(lake: Path) -> int:
    """Take the younger columns away; give how many were there."""
    taken = 0
    for table, names in YOUNGER.items():
        for part in lake.glob(f"{table}/*/*/*.parquet"):
            rows = pq.ParquetFile(part).read()
            there = [name for name in names if name in rows.schema.names]
            taken += len(there)
            pq.write_table(rows.drop_columns(there), part)
    return taken


def told(lake: Path) -> list[tuple[str, str]]:
    done = process("findings", lake, "--format", "jsonl")
    assert done.status in (0, 1), done.err
    return [(row["kind"], row["severity"]) for row in map(json.loads, done.text.splitlines())]


def test_an_old_lake_tells_no_full_queue_where_a_syn_was_repeated(lake: Path):
    before = told(lake)
    assert make_old(lake) == len(YOUNGER["network"] + YOUNGER["connections"])
    assert before == told(lake) == [("syn_loss", "warning")]


def test_an_old_lake_tells_the_same_rates(lake: Path):
    before = process("network", lake, "--format", "csv").text
    make_old(lake)
    assert process("network", lake, "--format", "csv").text == before
