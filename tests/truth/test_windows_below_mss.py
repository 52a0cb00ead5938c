"""How long a receiver kept its window below one MSS: of receivers whose windows are drawn, and of real kernels."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from random import Random

import pytest

import tcpsight
from tests.support.pcap import as_frames, pcap_bytes, tcp_frame

START_NS = 1_700_000_000_000_000_000
CLIENT, SERVER = ("10.0.0.1", "10.0.0.9", 40_000, 80), ("10.0.0.9", "10.0.0.1", 80, 40_000)
STALL = Path(__file__).parent / "lab" / "captures" / "zero_window_stall"


def mss(size: int, scale: int) -> bytes:
    return bytes((2, 4, size >> 8, size & 255, 3, 3, scale))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_time_in_which_the_receiver_had_no_room_for_a_segment(seed, tmp_path):
    random = Random(seed)
    size, scale = random.choice([536, 1220, 1460, 8960]), random.randrange(8)
    frames = [
        (START_NS, tcp_frame(*CLIENT, 99, 0, "S", options=mss(size, scale))),
        (START_NS + 10, tcp_frame(*SERVER, 499, 100, "SA", options=mss(1460, 7))),
        (START_NS + 20, tcp_frame(*CLIENT, 100, 500, window=65_535)),
    ]
    now, sent, free, truth_ns = START_NS + 20, 500, 65_535 << scale, 0
    for _ in range(300):
        passed = random.randrange(1, 10**7)
        truth_ns += passed if free < size else 0
        now += passed
        if random.random() < 0.5:
            frames.append((now, tcp_frame(*SERVER, sent, 100, payload=bytes(random.randrange(1, 500)))))
            sent += len(frames[-1][1]) - 54
        else:
            window = random.choice([0, size >> scale, (size >> scale) + 1, random.randrange(2 * size)])
            free = min(window, 65_535) << scale
            frames.append((now, tcp_frame(*CLIENT, 100, sent, window=free >> scale)))
    path = tmp_path / "windows.pcap"
    path.write_bytes(pcap_bytes(as_frames(frames), nanoseconds=True))
    client, server = tcpsight.open(path).network.to_numpy()["window_below_mss_ns"]
    assert 0 < truth_ns < now - START_NS
    assert (client, server) == (truth_ns, 0)


@pytest.mark.parametrize("vantage", ["client", "middle", "server"])
def test_of_a_kernel_that_announces_whole_segments_or_nothing_it_is_the_time_that_its_window_was_closed(vantage):
    truth = json.loads(lzma.decompress((STALL / "truth.json.xz").read_bytes()))
    (connection,) = truth["connections"]
    client, server = tcpsight.open(STALL / f"{vantage}.pcap.xz").network.to_numpy()["window_below_mss_ns"]
    assert client == pytest.approx(connection["client"]["zero_window_ns"], rel=0.001)
    assert 0 < client < truth["parameters"]["pause_ns"]
    assert server == 0
