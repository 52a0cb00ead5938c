"""A queue between the sender and the capture point, as of the sender's own host, whose device is captured behind it.

The sender has data all the time and a window of 64 KB; the queue lets them pass at its rate, the receiver answers at
once. At the sender data are outstanding from the first byte to the last acknowledgment; at the capture point for
moments only. What is told of outstanding time is right within 3 %, or null.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import tcpsight
from tests.support.pcap import pcap_bytes, tcp_frame

START_NS = 1_700_000_000_000_000_000
US, MS = 1000, 1_000_000
SERVER, CLIENT = ("10.0.0.9", "10.0.0.1", 80, 40_000), ("10.0.0.1", "10.0.0.9", 40_000, 80)
SIZE, IN_FLIGHT, SEGMENTS = 1448, 44, 700
TO_SENDER_NS = 2 * US
"""From the capture point to the sender; back it is the queue."""


def options(has_timestamps: bool, value_ns: int, echo_ns: int) -> bytes:
    """Linux counts milliseconds."""
    return b"\1\1\x08\x0a" + struct.pack(">II", 5000 + value_ns // MS, 5000 + echo_ns // MS) if has_timestamps else b""


def download(rate: int, answer_ns: int, segments_at_once: int, *, has_timestamps: bool) -> tuple[bytes, int]:
    """Write what passes behind the queue; give it with the time in which data were outstanding at the sender."""
    step_ns = SIZE * 8 * 10**9 // rate * segments_at_once
    frames = [
        (0, tcp_frame(*CLIENT, 99, 0, "S", options=options(has_timestamps, 0, -5000 * MS))),
        (2 * TO_SENDER_NS, tcp_frame(*SERVER, 499, 100, "SA", options=options(has_timestamps, 0, 0))),
    ]
    begin_ns = 2 * TO_SENDER_NS + answer_ns
    frames.append((begin_ns, tcp_frame(*CLIENT, 100, 500, "A", options=options(has_timestamps, begin_ns, 0))))
    acked_ns = [begin_ns]  # at the capture point, of each
    for i in range(SEGMENTS // segments_at_once):
        behind = i - IN_FLIGHT // segments_at_once
        stamped_ns = acked_ns[behind + 1] + TO_SENDER_NS if behind >= 0 else begin_ns + TO_SENDER_NS
        echo_ns = acked_ns[behind + 1] if behind >= 0 else begin_ns
        passed_ns = begin_ns + TO_SENDER_NS + (i + 1) * step_ns
        payload = bytes(SIZE * segments_at_once)
        sent = 500 + i * len(payload)
        stamps = options(has_timestamps, stamped_ns, echo_ns)
        frames.append((passed_ns, tcp_frame(*SERVER, sent, 100, "A", payload, options=stamps)))
        acked_ns.append(passed_ns + answer_ns)
        stamps = options(has_timestamps, acked_ns[-1], stamped_ns)
        frames.append((acked_ns[-1], tcp_frame(*CLIENT, 100, sent + len(payload), "A", options=stamps)))
    # Where acknowledgments overtake what is sent next, they are in the order of time.
    frames.sort(key=lambda frame: frame[0])
    outstanding_ns = acked_ns[-1] - begin_ns
    return pcap_bytes([(START_NS + at, frame) for at, frame in frames], nanoseconds=True), outstanding_ns


@pytest.mark.parametrize("has_timestamps", [True, False])
@pytest.mark.parametrize("segments_at_once", [1, 4])
@pytest.mark.parametrize(("answer_us", "vantage"), [(60, "unknown"), (90, "unknown"), (150, "server"), (700, "server")])
@pytest.mark.parametrize("rate", [2_000_000, 8_000_000, 40_000_000])
def test_outstanding_time_behind_a_queue_is_right_or_null(
    rate: int, answer_us: int, vantage: str, segments_at_once: int, has_timestamps: bool, tmp_path: Path
):
    data, outstanding_ns = download(rate, answer_us * US, segments_at_once, has_timestamps=has_timestamps)
    path = tmp_path / "behind.pcap"
    path.write_bytes(data)
    (row,) = (r for r in tcpsight.open(path).network.to_arrow().to_pylist() if r["direction"] == "server")
    assert row["vantage"] == vantage
    if has_timestamps:  # which tell, though the handshake does not, that no pause was one
        assert row["non_idle_ns"] == pytest.approx(outstanding_ns, rel=0.03)
        assert row["non_idle_goodput_bits_per_s"] == pytest.approx(rate, rel=0.05)
    elif row["non_idle_ns"] is not None:
        assert row["non_idle_ns"] == pytest.approx(outstanding_ns, rel=0.03)


@pytest.mark.parametrize("has_timestamps", [True, False])
def test_a_begin_that_was_not_captured_changes_nothing(has_timestamps: bool, tmp_path: Path):
    data, outstanding_ns = download(8_000_000, 150 * US, 1, has_timestamps=has_timestamps)
    frame_bytes = 16 + 54 + (12 if has_timestamps else 0)
    path = tmp_path / "behind.pcap"
    path.write_bytes(data[:24] + data[24 + 3 * frame_bytes :])
    (row,) = (r for r in tcpsight.open(path).network.to_arrow().to_pylist() if r["direction"] == "server")
    assert row["vantage"] == "unknown"
    assert row["goodput_bits_per_s"] > 0
    expected = pytest.approx(outstanding_ns, rel=0.03) if has_timestamps else None
    assert row["non_idle_ns"] in (None, expected)
