"""Whether a sender began slowly after a pause: a pause is what may have made its congestion window small."""

from __future__ import annotations

import pytest

from tests.support.network import measured

ROUND_TRIP_MS = 50
SIZE = 1448


def burst(begin_ms: float, sent: int, segments: int) -> list[str]:
    """Send so many segments at once, which are acknowledged a round trip later."""
    lines = [f"{begin_ms + 0.01 * i} < A {SIZE} off={SIZE * (sent + i)} acked=100 win=500" for i in range(segments)]
    return [*lines, f"{begin_ms + ROUND_TRIP_MS} > A acked={SIZE * (sent + segments)} win=9000"]


@pytest.mark.parametrize(("gap_ms", "restarts"), [(160, 0), (240, 0), (249, 0), (251, 1), (1500, 1)])
def test_a_pause_is_longer_than_two_hundred_milliseconds_and_a_round_trip(gap_ms: float, restarts: int):
    lines = [
        "0   > S  seq=1000 mss=1460 ws=7",
        "0   < SA seq=5000 mss=1460 ws=7",
        f"{ROUND_TRIP_MS} > A win=9000",
        "60  > PA 100 win=9000",
        *burst(100, 0, 20),
        *burst(150.3, 20, 40),
    ]
    last_ms = 150.3 + 0.01 * 39
    lines += [*burst(last_ms + gap_ms, 60, 10), *burst(last_ms + gap_ms + 50.3, 70, 20)]
    assert measured("\n".join(lines)).server("restart_count") == restarts
