"""Which connections a page lists."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model.worst import WorstConnections, trouble
from tcpsight.tables import STATES, Connections, Network


def connections(n):
    made = Connections.allocate(n)
    made.connection_id[:] = np.arange(1, n + 1)
    made.state[:] = STATES.index("closed")
    made.duration_ns[:] = 10
    return made


def test_trouble_comes_first_then_the_longest():
    made = connections(5)
    made.client_retransmissions[:] = [0, 3, 0, 0, 0]
    made.unanswered[:] = [0, 0, 1, 0, 0]
    made.duration_ns[:] = [10, 10, 10, 500, 20]
    worst = WorstConnections(10)
    worst.feed(made, Network())
    assert worst.rows()["connection"]["connection_id"].tolist() == [2, 3, 4, 5, 1]


@pytest.mark.parametrize("state", ["unanswered", "refused", "server_reset", "client_reset", "handshaking"])
def test_a_failed_connection_is_trouble(state):
    made = connections(2)
    made.state[1] = STATES.index(state)
    assert trouble(made).tolist() == [0, 1]


def test_unknown_counts_are_no_trouble():
    made = connections(1)
    made.client_retransmissions[:] = made.server_retransmissions[:] = -1
    assert trouble(made).tolist() == [0]


def test_only_so_many_are_kept_however_they_are_cut():
    made = connections(1000)
    made.server_retransmissions[:] = (np.arange(1000) * 7919) % 1000
    for cut in (1, 7, 1000):
        worst = WorstConnections(20)
        for begin in range(0, 1000, cut):
            worst.feed(made[begin : begin + cut], Network())
        kept = worst.rows()["connection"]["server_retransmissions"]
        assert kept.tolist() == list(range(999, 979, -1))
        assert worst.seen == 1000


def test_what_the_network_did_is_the_worse_of_both_directions():
    network = Network.allocate(2)
    network.rtt_p50_ns[:] = [-1, 40]
    network.zero_window_ns[:] = [0, 7]
    worst = WorstConnections(5)
    worst.feed(connections(1), network)
    row = worst.rows()[0]
    assert (row["rtt_p50_ns"], row["zero_window_ns"]) == (40, 7)


def test_without_connections_there_are_no_rows():
    assert len(WorstConnections(5).rows()) == 0
