"""Which segments of two captures are the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.network import matching
from tcpsight.network.matching import Covered, Side, match
from tcpsight.tables import FLAG_ACK, Sightings


def side(*rows: tuple[int, int, int, int]) -> Side:
    """Make segments of one stream from (offset, payload, IP identification, timestamp)."""
    table = Sightings.allocate(len(rows))
    for i, (offset, payload, ip_id, stamp) in enumerate(rows):
        table.offset[i], table.payload_bytes[i], table.ip_id[i], table.timestamp_value[i] = (
            offset,
            payload,
            ip_id,
            stamp,
        )
    table.flags[:] = FLAG_ACK
    return Side(table, np.zeros(len(rows), np.int64))


def test_a_retransmission_is_not_what_it_repeats():
    ours, theirs = side((0, 100, 1, 5), (0, 100, 2, 5)), side((0, 100, 2, 5))
    matched = match(ours, theirs)
    assert [rows.tolist() for rows in matched.rows] == [[1], [0]]
    assert matched.seen_bytes[0].tolist() == [-1, 100]


def test_of_segments_alike_in_everything_none_is_a_time_if_one_was_lost():
    assert match(side((0, 0, 0, 5), (0, 0, 0, 5)), side((0, 0, 0, 5))).is_timed.tolist() == [False]
    assert match(side((0, 0, 0, 5), (0, 0, 0, 5)), side((0, 0, 0, 5), (0, 0, 0, 5))).is_timed.all()


def test_where_identifications_are_written_anew_segments_are_matched_without():
    ours = side(*((100 * i, 100, i, 5) for i in range(20)))
    theirs = side(*((100 * i, 100, 999 - i, 5) for i in range(20)))
    matched = match(ours, theirs)
    assert len(matched.rows[0]) == 20
    assert matched.is_timed.all()


def test_an_offloaded_segment_is_matched_by_its_bytes():
    ours, theirs = side((0, 3000, 1, 5)), side((0, 1000, 1, 5), (2000, 1000, 3, 5))
    matched = match(ours, theirs)
    assert matched.seen_bytes[0].tolist() == [2000]
    assert matched.seen_bytes[1].tolist() == [1000, 1000]


def test_of_an_offloaded_segment_that_was_sent_twice_what_came_once_was_lost_once():
    """Without timestamps, the copies are alike: of the first one a third came, of the second one the rest."""
    ours = side((0, 3000, 1, 0), (0, 3000, 4, 0))
    theirs = side((0, 1000, 1, 0), (1000, 1000, 5, 0), (2000, 1000, 6, 0))
    matched = match(ours, theirs)
    assert matched.seen_bytes[0].tolist() == [-1, 3000]
    assert matched.seen_bytes[1].tolist() == [1000, 1000, 1000]
    both = match(ours, side(*((at, 1000, at, 0) for at in (0, 2000, 0, 1000, 2000))))
    assert both.seen_bytes[0].tolist() == [2000, 3000]


def test_what_the_far_point_has_more_often_than_it_was_sent_was_seen():
    ours, theirs = side((0, 2000, 1, 0)), side((0, 1000, 1, 0), (1000, 1000, 2, 0), (1000, 1000, 3, 0))
    matched = match(ours, theirs)
    assert matched.seen_bytes[0].tolist() == [2000]
    assert matched.seen_bytes[1].tolist() == [1000, 1000, 1000]


runs_of_bytes = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=12)


@given(runs_of_bytes, runs_of_bytes)
def test_of_copies_the_last_are_those_that_came(sent, seen):
    def bounds(runs):
        return np.array([b for b, _ in runs], np.int64), np.array([b + n for b, n in runs], np.int64)

    left = Counter(byte for begin, length in seen for byte in range(begin, begin + length))
    truth = []
    for begin, length in reversed(sent):
        came = [byte for byte in range(begin, begin + length) if left[byte] > 0]
        left.subtract(came)
        truth.append(len(came))
    found = matching._seen_of_copies(bounds(sent), bounds(seen))
    assert found is not None
    assert found.tolist() == truth[::-1]


def test_runs_that_overlap_too_often_are_not_counted_one_by_one():
    begins = np.arange(2000)
    assert matching._seen_of_copies((begins, begins + 2000), (begins, begins + 1)) is None
    # Told of as if the copies were one.
    ours = side(*((i, 20_000, i, 0) for i in range(2000)))
    assert match(ours, side(*((10 * i, 10, i + 9000, 0) for i in range(200)))).seen_bytes[0][0] == 2000


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20))), st.integers(0, 90))
def test_covered_bytes_are_those_of_a_set(runs, place):
    begins = np.array([begin for begin, _ in runs], np.int64)
    ends = begins + np.array([length for _, length in runs], np.int64)
    truth = {byte for begin, length in runs for byte in range(begin, begin + length) if byte < place}
    assert Covered(begins, ends).below(np.array([place])).tolist() == [len(truth)]
