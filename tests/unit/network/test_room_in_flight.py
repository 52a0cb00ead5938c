"""Memory for what is in flight: so much for the connections of a share, and given back to the last byte."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network import NetworkMeasuring
from tcpsight.tables import BOUNDARIES, Boundaries, Headers, Network, Segments

SIZE = 10
MOST = 4096
"""Segments in flight that are remembered of a direction, of 32 bytes each: eight directions fill the MiB of a share."""
FEW = 4
"""As many as need no memory of a share."""


class Traffic:
    """Segments and boundaries of connections, each in the slot of its number, a microsecond apart."""

    def __init__(self) -> None:
        self.now_ns, self.position = 1_000_000, 0
        self.parts: list[Segments] = []
        self.bounds: list[tuple[str, int, int, int, int]] = []

    def bound(self, which: str, slot: int, share: int = 7) -> None:
        self.bounds.append((which, slot, share, self.position, self.now_ns))

    def send(self, slot: int, segments: int) -> None:
        """Let the client send so many segments."""
        part = self._segments(slot, segments)
        part.offset[:] = SIZE * np.arange(segments)
        part.payload_bytes[:] = part.new_bytes[:] = SIZE
        part.acked_offset[:] = 0

    def acknowledge(self, slot: int, segments: int) -> None:
        """Let the server acknowledge them one by one."""
        part = self._segments(slot, segments)
        part.direction[:] = 1
        part.acked_offset[:] = SIZE * (1 + np.arange(segments))

    def _segments(self, slot: int, count: int) -> Segments:
        part = Segments.allocate(count)
        part.slot[:], part.connection_id[:], part.flags[:], part.window_bytes[:] = slot, 1 + slot, 16, 10**6
        part.time_ns[:] = self.now_ns + 1000 * np.arange(count)
        self.now_ns += 1000 * count
        self.position += count
        self.parts.append(part)
        return part

    def measured(self) -> Network:
        segments = Segments.concatenate(self.parts)
        boundaries = Boundaries.allocate(len(self.bounds))
        for i, (which, slot, share, position, now_ns) in enumerate(self.bounds):
            boundaries.boundary[i], boundaries.slot[i], boundaries.share[i] = BOUNDARIES.index(which), slot, share
            boundaries.position[i], boundaries.time_ns[i], boundaries.connection_id[i] = position, now_ns, 1 + slot
        headers = Headers.allocate(len(segments))
        headers.window[:] = 65535
        return NetworkMeasuring().feed(segments, headers, boundaries)


def samples(traffic: Traffic, slots: list[int]) -> list[int]:
    """Acknowledge all in these slots and end them; give how many round trips each client has: what was remembered."""
    for slot in slots:
        traffic.acknowledge(slot, MOST)
        traffic.bound("ended", slot)
    table = traffic.measured()
    clients = table.rows[table.direction == 0][-len(slots) :]
    assert clients["connection_id"].tolist() == [1 + slot for slot in slots]
    counts: list[int] = clients["rtt_samples"].tolist()
    return counts


def test_what_is_in_flight_is_remembered_of_eight_full_directions_of_a_share():
    traffic = Traffic()
    for slot in range(10):
        traffic.bound("opened", slot, share=8 if slot == 9 else 7)
        traffic.send(slot, MOST)
    assert samples(traffic, list(range(10))) == [MOST] * 8 + [FEW, MOST]


@pytest.mark.parametrize("in_flight", [5, 17, 65, MOST])
def test_what_connections_had_in_flight_when_they_ended_is_given_back(in_flight: int):
    """After so many that a byte too few or too many for each would be as much as one grows by, or all there is."""
    traffic = Traffic()
    for _ in range(600 if in_flight < MOST else 9):
        traffic.bound("opened", 0)
        traffic.send(0, in_flight)
        traffic.bound("ended", 0)
    for slot in range(9):
        traffic.bound("opened", slot)
        traffic.send(slot, MOST)
    assert samples(traffic, list(range(9))) == [MOST] * 8 + [FEW]


def test_what_grew_and_was_acknowledged_is_given_back_while_the_connection_goes_on():
    traffic = Traffic()
    traffic.bound("opened", 0)
    for _ in range(20):  # of more than 64 in flight nothing is kept when all is acknowledged
        traffic.send(0, MOST)
        traffic.acknowledge(0, MOST)
        for part in traffic.parts[-2:]:
            begun = SIZE * MOST * (len(traffic.parts) // 2 - 1)
            part.acked_offset[part.direction == 1] += begun
            part.offset[part.direction == 0] += begun
    for slot in range(1, 10):
        traffic.bound("opened", slot)
        traffic.send(slot, MOST)
    assert samples(traffic, list(range(1, 10))) == [MOST] * 8 + [FEW]
