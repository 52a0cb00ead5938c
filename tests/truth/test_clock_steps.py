"""A clock that is set back shortens no shortest round trip, though within a connection times may only grow."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

import tcpsight
from tests.truth.lab.rewriting import Frame, read, write

CAPTURES = Path(__file__).parent / "lab" / "captures"
NAMES = ("random_loss", "burst_loss", "listed_loss", "several_clients", "clean_exchanges", "clean_bulk")
SEEDS = 4
MOST_LOW = 0.01
"""A step shorter than the pause in which it falls cannot be seen."""


def set_back(frames: list[Frame], random: Random) -> list[Frame]:
    """Set the clock back twice, by 2 to 20 ms or by up to 300 ms."""
    steps, shift, found = set(random.sample(range(len(frames)), 2)), 0, []
    for i, f in enumerate(frames):
        if i in steps:
            shift += random.choice((random.randrange(2_000_000, 20_000_000), random.randrange(5_000_000, 300_000_000)))
        found.append(f._replace(time_ns=f.time_ns - shift))
    return found


def shortest(path: Path, workers: int = 1) -> dict[tuple[int, str], int | None]:
    rows: list[dict[str, Any]] = tcpsight.open(path, workers=workers).network.to_arrow().to_pylist()
    return {(row["connection_id"], row["direction"]): row["rtt_min_ns"] for row in rows}


def test_the_shortest_round_trip_is_as_long_as_without(tmp_path: Path):
    given = low = 0
    for name in NAMES:
        for path in (CAPTURES / name).glob("*.pcap.xz"):
            header, frames = read(path)
            true = shortest(path)
            for seed in range(SEEDS):
                write(tmp_path / "back.pcap", header, set_back(frames, Random(seed)))
                for key, ns in shortest(tmp_path / "back.pcap").items():
                    expected = true[key]
                    if expected is not None and ns is not None:
                        given += 1
                        low += ns < 0.98 * expected - 100_000
    assert given > 300
    assert low <= MOST_LOW * given


@pytest.mark.parametrize("workers", [2, 5])
def test_it_is_the_same_however_many_work(workers: int, tmp_path: Path):
    header, frames = read(CAPTURES / "several_clients" / "server.pcap.xz")
    write(tmp_path / "back.pcap", header, set_back(frames, Random(1)))
    assert shortest(tmp_path / "back.pcap", workers) == shortest(tmp_path / "back.pcap")


@pytest.mark.parametrize("seed", range(6))
def test_one_frame_that_is_late_in_the_file_hides_no_policing(seed: int, tmp_path: Path):
    header, frames = read(CAPTURES / "policing" / "client.pcap.xz")
    late = frames.pop(Random(seed).randrange(len(frames) // 4, len(frames) // 2))
    at = next(i for i, f in enumerate(frames) if f.time_ns > late.time_ns + 5_000_000)
    write(tmp_path / "late.pcap", header, [*frames[:at], late, *frames[at:]])
    findings = tcpsight.open(tmp_path / "late.pcap").findings.to_arrow().to_pylist()
    assert [f["kind"] for f in findings if f["kind"] == "policing"] == ["policing"]
