"""Which stretch of a connection a time–sequence graph shows."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model.excerpts import SegmentExcerpt, notable
from tcpsight.tables import FLAG_FIN, FLAG_RST, KINDS, SegmentDetails


def segments(n, again=()):
    made = SegmentDetails.allocate(n)
    made.frame_number[:] = np.arange(n)
    made.window_bytes[:] = 1000
    for i in again:
        made.kind[i] = KINDS.index("retransmission")
    return made


def test_few_segments_are_shown_all():
    excerpt = SegmentExcerpt(100)
    excerpt.feed(segments(60))
    assert excerpt.segments().frame_number.tolist() == list(range(60))


@pytest.mark.parametrize("cut", [1, 33, 5000])
def test_of_many_the_run_with_most_trouble_is_shown(cut):
    made = segments(5000, again=[3201, 3204, 3260, 40])
    excerpt = SegmentExcerpt(100)
    for begin in range(0, 5000, cut):
        excerpt.feed(made[begin : begin + cut])
    shown = excerpt.segments().frame_number
    assert len(shown) == 100
    assert {3201, 3204, 3260} <= set(shown.tolist())
    assert excerpt.seen == 5000


def test_trouble_at_the_very_end_is_shown():
    excerpt = SegmentExcerpt(100)
    excerpt.feed(segments(1030, again=[1029]))
    assert 1029 in excerpt.segments().frame_number


def test_a_closed_window_is_notable_unless_the_segment_ends_or_opens_the_connection():
    made = segments(4)
    made.window_bytes[:] = [0, 0, 0, -1]
    made.flags[:] = [16, FLAG_FIN | 16, FLAG_RST, 16]
    assert notable(made).tolist() == [True, False, False, False]
