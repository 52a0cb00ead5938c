"""Requests of a real conversation, from tcpdump's text, against those that mk-tcp-model found in it.

The old tool took every line for data, so its genuine output was made from the text without its ``tcp 0`` lines; here
the text is read whole, and pure ACKs are ignored because they are empty. It dropped a request without an answer in
silence and printed in no order; numbers and instants of every answered request must be the same.
"""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import pytest

import tcpsight

NS = Decimal(10**9)


def old_rows(path: Path) -> list[tuple[int, int, str]]:
    """Read ``id start end elapsed client``; seconds become nanoseconds without rounding."""
    with gzip.open(path, "rt") as file:
        fields = [line.split() for line in file]
    return sorted((int(Decimal(f[1]) * NS), int(Decimal(f[2]) * NS), f[4]) for f in fields)


def new_rows(path: Path, start: str, end: str) -> list[tuple[int, int, str]]:
    capture = tcpsight.open(path, servers=[":3306"], start_end=(start, end))
    table = capture.requests.to_arrow().to_pydict()
    clients = map("{}:{}".format, table["client_address"], table["client_port"])
    return sorted(zip(table["arrival_ns"], table["completion_ns"], clients, strict=True))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("request_last", "response_first", "conv003.nonzero.requests.sorted-by-id.txt.gz"),
        ("request_first", "response_last", "conv003.nonzero.requests.ts0-end1.sorted-by-id.txt.gz"),
    ],
)
def test_every_request_has_the_old_tool_s_instants(fixtures_dir: Path, start: str, end: str, expected: str) -> None:
    folder = fixtures_dir / "pt-tcp-model"
    ours = new_rows(folder / "in" / "mysql-tcp-conversation-003.txt.gz", start, end)
    assert len(ours) == 12_507
    assert ours == old_rows(folder / "run-expected" / expected)


def test_response_times_known_by_construction_come_out_exactly(fixtures_dir: Path) -> None:
    """The one difference: a request that was sent again is as old as its first copy; the old tool took the last."""
    lines = (fixtures_dir / "pt-tcp-model" / "run-expected" / "synthetic-reqresp.ts,end.requests.txt").read_text()
    expected = [(int(Decimal(f[1]) * NS), int(Decimal(f[2]) * NS), f[4]) for f in map(str.split, lines.splitlines())]
    start = 1_700_000_000 * 10**9
    expected.remove((start + 1_250_000_000, start + 1_251_000_000, "10.0.0.1:50001"))
    expected.append((start + 1_000_000_000, start + 1_251_000_000, "10.0.0.1:50001"))
    ours = new_rows(fixtures_dir / "synthetic" / "reqresp-3306.pcap", "request_last", "response_first")
    assert ours == sorted(expected)


def test_text_without_its_empty_lines_gives_the_same_requests_as_the_pcap(fixtures_dir: Path) -> None:
    """From its first segment on: text can't tell a request that was sent again, yet its first copy is the same."""
    text = new_rows(fixtures_dir / "synthetic" / "reqresp-3306.tcpdump-nonzero.txt", "request_first", "response_first")
    pcap = new_rows(fixtures_dir / "synthetic" / "reqresp-3306.pcap", "request_first", "response_first")
    assert text == pcap
