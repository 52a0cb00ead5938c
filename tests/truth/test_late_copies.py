"""A mirror port shows every frame twice, with a queue between: of the network the same is told as without.

The captures are those of the laboratory, of real kernels with real losses.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

import tcpsight
from tests.truth.lab.rewriting import Frame, read, write

CAPTURES = Path(__file__).parent / "lab" / "captures"
# Of that whose clock goes back, the order of frames and of times differs, copies or not.
NAMES = sorted(p.name for p in CAPTURES.iterdir() if p.name not in ("clock_backwards", "mid_stream"))
LAGS_NS = (1_100_000, 5_000_000, 20_000_000)
COUNTED = (
    "segments", "bytes", "retransmissions", "retransmitted_bytes", "timeout_retransmissions", "fast_retransmissions",
    "tail_loss_probes", "spurious_retransmissions", "control_retransmissions", "out_of_order", "reordered",
    "duplicate_acks", "keep_alives", "zero_window_probes", "zero_windows", "rtt_samples", "rtt_min_ns", "rtt_max_ns",
)  # fmt: skip


def twice(frames: list[Frame], lags_ns: list[int]) -> list[Frame]:
    """Give each frame and its copy, in the order of time."""
    late = [f._replace(time_ns=f.time_ns + lag) for f, lag in zip(frames, lags_ns, strict=True)]
    return sorted([*frames, *late], key=lambda f: f.time_ns)


def told(path: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    capture = tcpsight.open(path)
    rows = capture.network.to_arrow().to_pylist()
    findings = capture.findings.to_arrow().to_pylist()
    return [{name: row[name] for name in COUNTED} for row in rows], sorted((f["kind"], f["subject"]) for f in findings)


@pytest.mark.parametrize("name", NAMES)
def test_counts_and_findings_are_those_of_the_capture_without_copies(name: str, tmp_path: Path):
    (path,) = (CAPTURES / name).glob("client.pcap.xz")
    header, frames = read(path)
    copied = tmp_path / "copied.pcap"
    for lag in LAGS_NS:
        write(copied, header, twice(frames, [lag] * len(frames)))
        assert told(copied) == told(path), lag


@pytest.mark.parametrize("name", ["random_loss", "burst_loss", "syn_loss", "tail_loss", "clean_exchanges"])
def test_so_they_are_where_the_queue_was_never_the_same(name: str, tmp_path: Path):
    (path,) = (CAPTURES / name).glob("server.pcap.xz")
    header, frames = read(path)
    random, lags, last = Random(name), [], 0
    for f in frames:
        last = max(f.time_ns + random.randrange(1_000, 20_000_000), last)  # a queue keeps its order
        lags.append(last - f.time_ns)
    copied = tmp_path / "copied.pcap"
    write(copied, header, twice(frames, lags))
    assert told(copied) == told(path)
