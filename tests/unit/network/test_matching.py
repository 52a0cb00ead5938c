"""Which segments of two captures are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.network import copies
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


def test_copies_that_overlap_too_often_are_told_as_if_all_came_and_counted(monkeypatch: pytest.MonkeyPatch):
    ours = side(*((0, 3000, i, 0) for i in range(3)), (9000, 1000, 8, 0))
    theirs = side((0, 1000, 11, 0), (1000, 1000, 12, 0), (2000, 1000, 13, 0), (9000, 500, 14, 0))
    known = match(ours, theirs)
    assert known.seen_bytes[0].tolist() == [-1, -1, 3000, 500]
    assert known.copies_unknown == (0, 0)
    monkeypatch.setattr(copies, "MOST_PIECES", 2)
    unknown = match(ours, theirs)
    assert unknown.seen_bytes[0].tolist() == [3000, 3000, 3000, 500]
    assert unknown.copies_unknown == (3, 0)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20))), st.integers(0, 90))
def test_covered_bytes_are_those_of_a_set(runs, place):
    begins = np.array([begin for begin, _ in runs], np.int64)
    ends = begins + np.array([length for _, length in runs], np.int64)
    truth = {byte for begin, length in runs for byte in range(begin, begin + length) if byte < place}
    assert Covered(begins, ends).below(np.array([place])).tolist() == [len(truth)]


def test_segments_that_were_put_together_with_the_timestamp_of_the_last_are_matched_without():
    """What was sent at 5, 6 and 7 ms came as one of 7 ms; the first part had been lost and was sent again at 9 ms."""
    ours = side((0, 1400, 1, 5), (1400, 1400, 2, 6), (2800, 1400, 3, 7), (0, 1400, 4, 9))
    theirs = side((1400, 2800, 9, 7), (0, 1400, 4, 9))
    matched = match(ours, theirs)
    assert matched.seen_bytes[0].tolist() == [-1, 1400, 1400, 1400]
    assert matched.seen_bytes[1].tolist() == [2800, 1400]


def test_what_was_put_together_before_and_cut_again_is_matched_without_timestamps():
    ours = side((0, 4200, 1, 7))
    theirs = side((0, 1400, 2, 5), (2800, 1400, 3, 7))
    assert match(ours, theirs).seen_bytes[0].tolist() == [2800]


def test_a_retransmission_that_was_not_captured_does_not_make_the_first_copy_come():
    """No segment was put together: timestamps are believed."""
    ours = side((0, 1400, 1, 5), (1400, 1400, 2, 5))
    theirs = side((1400, 1400, 2, 5), (0, 1400, 3, 9))
    matched = match(ours, theirs)
    assert matched.seen_bytes[0].tolist() == [-1, 1400]
    assert matched.seen_bytes[1].tolist() == [1400, -1]
