"""Captures of the laboratory that begin within the connections: what is told of outstanding time is so, or null.

The beginning is cut off at the same instant at both ends. What the sender's own capture shows from
there on is the truth; the sockets confirm that of whole captures (docs/methods/accuracy.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tcpsight
from tests.truth.lab.rewriting import read, write

CAPTURES = Path(__file__).parent / "lab" / "captures"
RUNS = ("bufferbloat", "clean_bulk", "clean_exchanges", "jitter", "policing", "random_loss", "reordering", "shaping")
PLACES = ("client", "server")
MOST_OFF = 0.04
"""The rule's 3 %, of the longer time."""


def rows_at(place: str, run: str, part: float, folder: Path) -> list[dict[str, Any]]:
    """Measure one capture of a run without what came before a part of its time."""
    _, middle = read(CAPTURES / run / "middle.pcap.xz")
    begin = middle[int(part * len(middle))].time_ns
    header, frames = read(CAPTURES / run / f"{place}.pcap.xz")
    path = folder / f"{place}.pcap"
    write(path, header, [f for f in frames if f.time_ns >= begin])
    rows: list[dict[str, Any]] = tcpsight.open(path).network.to_arrow().to_pylist()
    return [row for row in rows if row["bytes"]]


@pytest.mark.parametrize("part", [0.2, 0.45, 0.7])
@pytest.mark.parametrize("run", RUNS)
def test_outstanding_time_is_right_or_null(run, part, tmp_path):
    found = {place: rows_at(place, run, part, tmp_path) for place in PLACES}
    own = {
        (row["client_port"], side): row["non_idle_ns"]
        for side in ("client", "server")
        for row in found[side]
        if row["direction"] == side
    }
    for side in ("client", "server"):
        other = {"client": "server", "server": "client"}[side]
        for row in found[other]:
            if row["direction"] == side and row["non_idle_ns"] is not None and row["vantage"] == "unknown":
                assert row["non_idle_ns"] == pytest.approx(own[row["client_port"], side], rel=MOST_OFF)


def test_a_sender_that_sees_its_peer_answer_is_believed(tmp_path):
    told = [row for row in rows_at("server", "clean_bulk", 0.45, tmp_path) if row["direction"] == "server"]
    seen = [row for row in rows_at("client", "clean_bulk", 0.45, tmp_path) if row["direction"] == "server"]
    assert [row["vantage"] for row in told + seen] == ["unknown"] * (len(told) + len(seen))
    assert all(row["non_idle_goodput_bits_per_s"] for row in told)
    assert [row["non_idle_goodput_bits_per_s"] for row in seen] == [None] * len(seen)
    assert [row["non_idle_ns"] for row in seen] == [None] * len(seen)
    assert all(row["goodput_bits_per_s"] for row in seen)
