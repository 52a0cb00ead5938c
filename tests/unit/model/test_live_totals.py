"""Totals since a watch began: they only rise, whatever happens to connections and places."""

from __future__ import annotations

from tcpsight.model.live_totals import LiveTotals
from tcpsight.model.service_places import IDLE_NS, ServicePlaces
from tcpsight.tables import RESPONSE_TIME_BOUNDS_NS, STATES, Connections, Unanswered
from tests.unit.model.test_live_slices import NOBODY, S, answered, unanswered


def connections(*states: str, port: int = 80, **columns: int) -> Connections:
    table = Connections.allocate(len(states))
    table.server_address[:, 10:] = [255, 255, 10, 0, 0, 1]
    table.server_port[:] = port
    table.ip_version[:] = 4
    table.state[:] = [STATES.index(state) for state in states]
    for name, value in columns.items():
        table.rows[name] = value
    return table


def test_an_open_connection_counts_with_what_it_did_so_far_and_once():
    places = ServicePlaces()
    places.admit(answered((0, 1)), NOBODY)
    totals = LiveTotals(places)
    so_far = totals.table(connections("open", client_bytes=100, server_segments=7), NOBODY)
    assert (so_far.connections[0], so_far.open_connections[0], so_far.client_bytes[0]) == (1, 1, 100)
    totals.end(connections("closed", client_bytes=150, server_segments=9))
    ended = totals.table(Connections(), NOBODY)
    assert (ended.connections[0], ended.open_connections[0], ended.client_bytes[0]) == (1, 0, 150)
    assert ended.server_segments[0] == 9


def test_connections_are_counted_by_how_they_ended():
    places = ServicePlaces()
    places.admit(answered((0, 1)), NOBODY)
    totals = LiveTotals(places)
    totals.end(connections("refused", "client_reset", "server_reset", "server_reset", "unanswered", "closed"))
    table = totals.table(connections("half_closed", "handshaking"), NOBODY)
    names = ("connections", "refused_connections", "client_resets", "server_resets", "unanswered_connections")
    assert [int(table.rows[name][0]) for name in names] == [8, 1, 1, 2, 1]
    assert table.open_connections[0] == 2


def test_unknown_counts_add_nothing():
    places = ServicePlaces()
    places.admit(answered((0, 1)), NOBODY)
    totals = LiveTotals(places)
    totals.end(connections("open", client_retransmissions=-1, client_gap_bytes=-1, server_gap_bytes=5))
    table = totals.table(Connections(), NOBODY)
    assert (table.client_retransmissions[0], table.gap_bytes[0]) == (0, 5)


def test_response_times_are_counted_by_bounds_that_never_move():
    places = ServicePlaces()
    requests = answered((0, 0.00001), (1, 1.00002), (2, 2.7), (3, 500))
    places.admit(requests, NOBODY)
    totals = LiveTotals(places)
    totals.take(requests, NOBODY, 2 * S)
    buckets = totals.histogram[0]
    assert buckets.sum() == 4
    assert buckets[RESPONSE_TIME_BOUNDS_NS.index(10_000)] == 1
    assert buckets[RESPONSE_TIME_BOUNDS_NS.index(25_000)] == 1
    assert buckets[RESPONSE_TIME_BOUNDS_NS.index(S)] == 1
    assert buckets[-1] == 1
    table = totals.table(Connections(), unanswered((0, 1)))
    assert (table.requests[0], table.late[0], table.waiting[0]) == (4, 2, 1)
    assert table.response_time_sum_ns[0] == requests.response_time_ns.sum()


def test_what_a_service_had_goes_to_the_others_when_it_loses_its_place():
    places = ServicePlaces(1)
    first = answered((0, 1), port=80)
    places.admit(first, NOBODY)
    totals = LiveTotals(places)
    totals.take(first, NOBODY, 0)
    totals.end(connections("closed"))
    assert totals.table(Connections(), NOBODY).requests.tolist() == [1, 0]
    later_s = IDLE_NS / S + 10
    second = answered((later_s, later_s + 1), (later_s, later_s + 2), port=443)
    places.admit(second, NOBODY)
    totals.take(second, NOBODY, 0)
    table = totals.table(Connections(), NOBODY)
    assert table.server_port.tolist() == [443, -1]
    assert table.requests.tolist() == [2, 1]
    assert table.connections.tolist() == [0, 1]
    assert totals.histogram.sum(axis=1).tolist() == [2, 1]


def test_an_open_connection_of_a_service_without_a_row_counts_when_it_ends():
    places = ServicePlaces()
    totals = LiveTotals(places)
    assert totals.table(connections("open"), Unanswered()).connections.tolist() == [0]
    totals.end(connections("closed"))
    assert totals.table(Connections(), NOBODY).connections.tolist() == [1]
