"""The ladder's relative numbers are those of tshark, line by line, or the difference is listed with its reason."""

from __future__ import annotations

import csv
import subprocess

import pytest

import tcpsight
from tcpsight.conversations.ladder import LadderMaking
from tcpsight.errors import TcpsightError
from tcpsight.tables import INT64_MIN, SegmentDetails

pytestmark = pytest.mark.peers

EVERY = 12
"""One in so many captures is read by tshark: all of them take minutes."""

MOST_CONNECTIONS = 60

DIFFERS = {
    "arkime_arkime/tests/pcap/tcpseq_synthetic.pcap": "data on a SYN, with an urgent pointer and no ACK",
}


def told_by_tshark(program, path):
    """Give of each frame with one TCP segment its relative sequence and acknowledgment number, and the raw one."""
    fields = [word for name in ("frame.number", "tcp.seq", "tcp.ack", "tcp.seq_raw") for word in ("-e", name)]
    command = [program, "-nr", str(path), "-Y", "tcp", "-T", "fields", "-E", "occurrence=l", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout.splitlines()
    cells = (line.split("\t") for line in lines)
    return {int(frame): (int(seq), int(ack or 0), int(raw)) for frame, seq, ack, raw in cells if seq and raw}


def told_here(path):
    making = LadderMaking()
    names = ("frame_number", "relative_sequence", "relative_acknowledgment", "sequence_number")
    with tcpsight.open(path).run(SegmentDetails) as run:
        for batch in run:
            table = making.of_batch(batch)
            yield from zip(*(table.rows[name].tolist() for name in names), strict=True)


def test_relative_numbers_are_those_of_tshark(corpus_dir, require_program):
    program = require_program("tshark")
    with (corpus_dir / "INDEX.csv").open() as index:
        rows = [row for row in csv.DictReader(index) if 0 < int(row["tcp_connections"] or 0) <= MOST_CONNECTIONS]
    compared, differences = 0, []
    for name in sorted(row["path"] for row in rows)[::EVERY]:
        path = corpus_dir / "captures" / name
        theirs = told_by_tshark(program, path)
        try:
            ours = list(told_here(path))
        except TcpsightError:
            continue
        for frame, sequence, acknowledgment, raw in ours:
            if frame not in theirs or theirs[frame][2] != raw:
                continue
            compared += 1
            # Without ACK the field means nothing; tshark shows it all the same.
            ack = theirs[frame][1] if acknowledgment == INT64_MIN else acknowledgment % 2**32
            if (sequence % 2**32, ack) != theirs[frame][:2] and name not in DIFFERS:
                differences.append((name, frame, sequence, acknowledgment, theirs[frame]))
    assert not differences
    assert compared > 1_000
