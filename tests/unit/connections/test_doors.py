"""What the room checks at its door."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.connections import ConnectionTracking
from tcpsight.connections._kernel import STATE_BYTES, Tracker
from tcpsight.tables import Headers, Segments, UnseenCounter
from tests.support.headers import follow, headers

TIMES = (1, 1, 1)


def test_rows_that_do_not_fit_are_refused():
    tracker, counts = Tracker(TIMES, [], 0, 1000), UnseenCounter().counts
    one, room = Headers.allocate(1).rows.view(np.uint8), Segments.allocate(1).rows.view(np.uint8)
    with pytest.raises(ValueError, match="row buffers"):
        tracker.feed(one[:-1], room, counts, None)
    with pytest.raises(ValueError, match="row buffers"):
        tracker.feed(one, room[:-1], counts, None)


def test_counts_that_do_not_fit_are_refused():
    tracker, nothing = Tracker(TIMES, [], 0, 1000), np.zeros(0, np.uint8)
    with pytest.raises(ValueError, match="counts"):
        tracker.feed(nothing, nothing, np.zeros((1, 3), np.int64), None)
    with pytest.raises(ValueError, match="counts"):
        tracker.finish(np.zeros((19, 2), np.int64))


def test_nothing_in_nothing_out():
    tracking = ConnectionTracking()
    for tracked in (tracking.feed(Headers()), tracking.finish(), tracking.finish()):
        assert [len(table) for table in tracked[:3]] == [0, 0, 0]
        assert tracked.is_whole


def test_columns_of_a_wider_table_are_taken_too():
    table = headers("0 > S seq=1 \n 1 > S seq=1 \n 2 > S seq=1 \n 3 > S seq=1")
    assert follow([table[::2]]).one("client_segments") == 2


def test_tables_given_are_kept_until_the_next_call():
    tracking = ConnectionTracking()
    first = tracking.feed(headers("0 > S seq=1"))
    kept = first.segments.copy()
    tracking.feed(headers("5 > S seq=9 port=7"))
    assert kept.time_ns.tolist() == [0]


def test_a_finished_tracker_begins_anew():
    tracking = ConnectionTracking()
    tracking.feed(headers("0 > S seq=1"))
    assert len(tracking.finish().connections) == 1
    assert tracking.open_connections == 0
    tracking.feed(headers("5 > S seq=1"))
    assert len(tracking.finish().connections) == 1


def test_the_state_of_a_connection_is_whole_cache_lines():
    assert STATE_BYTES == 640
