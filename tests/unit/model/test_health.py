"""Health of services: segments of a part of a capture, and services beyond those that are kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tcpsight.model import health
from tcpsight.model.health import HealthSummary, SentWithin
from tcpsight.tables import KINDS, Connections, Network, Segments

SERVICE = (b"\x00" * 10 + b"\xff\xff\x0a\x00\x00\x09", 3306, 4)


def segments(*rows: tuple[int, int, str]) -> Segments:
    """Segments of (connection, direction, kind)."""
    table = Segments.allocate(len(rows))
    for i, (connection_id, direction, kind) in enumerate(rows):
        table.connection_id[i], table.direction[i], table.kind[i] = connection_id, direction, KINDS.index(kind)
    return table


def network(*rows: tuple[int, int]) -> Network:
    """Both directions of connections are of one service; of 20 segments each 5 were sent again in their whole life."""
    table = Network.allocate(len(rows))
    for i, (connection_id, direction) in enumerate(rows):
        table.connection_id[i], table.direction[i] = connection_id, direction
    table.server_address[:] = np.frombuffer(SERVICE[0], np.uint8)
    table.server_port[:], table.ip_version[:] = SERVICE[1:]
    table.retransmissions[:], table.segments[:], table.rtt_p50_ns[:] = 5, 20, 7
    table.start_ns[:], table.end_ns[:] = 10, 20
    return table


PART = [(1, 0, "new"), (1, 1, "retransmission"), (1, 0, "retransmission"), (2, 0, "new"), (1, 0, "duplicate")]


def test_segments_of_a_part_count_by_direction_however_they_are_cut_and_copies_do_not():
    for cut in range(len(PART) + 1):
        sent = SentWithin()
        sent.feed(segments(*PART[:cut]))
        sent.feed(segments(*PART[cut:]))
        again, all_of_them = sent.take(network((1, 0), (1, 1), (2, 0), (3, 0)))
        assert again.tolist() == [1, 1, 0, 0]
        assert all_of_them.tolist() == [2, 1, 1, 0]


def test_a_connection_that_ended_is_given_up():
    sent = SentWithin()
    sent.feed(segments(*PART))
    sent.take(network((1, 0), (1, 1)))
    assert [each.tolist() for each in sent.take(network((1, 0), (2, 0)))] == [[0, 0], [0, 1]]


def said(is_within: bool, start_ns: Any, end_ns: Any) -> Any:
    return np.full(len(start_ns), is_within)


def retransmissions(summary: HealthSummary) -> tuple[int, int]:
    again, all_of_them = next(iter(summary.services.values())).retransmissions.sums
    return again, all_of_them


def test_of_a_part_segments_count_instead_of_whole_connections_and_round_trips_only_of_those_within():
    whole = HealthSummary()
    whole.feed_network(network((1, 0), (1, 1)))
    for is_within in (True, False):
        part = HealthSummary(partial(said, is_within))
        part.feed_segments(segments(*PART))
        part.feed_network(network((1, 0), (1, 1)))
        (found,) = part.services.values()
        assert [each.count for each in found.round_trips] == [int(is_within)] * 2
    assert (retransmissions(whole), retransmissions(part)) == ((10, 40), (2, 3))


def test_services_beyond_the_most_are_not_kept(monkeypatch):
    monkeypatch.setattr(health, "MOST_SERVICES", 2)
    connections = Connections.allocate(3)
    connections.server_port[:] = [1, 2, 3]
    connections.ip_version[:] = 4
    summary = HealthSummary()
    summary.feed_connections(connections)
    summary.feed_connections(connections)
    assert [endpoint[1] for endpoint in summary.services] == [1, 2]
