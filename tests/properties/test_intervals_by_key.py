"""A keyed series is so many series of their own, side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model import IntervalKey, IntervalSeries, KeyedIntervalSeries
from tcpsight.tables import KeyedIntervals
from tests.support.intervals import Stay, answered, never_answered, plain, rows_of

ADDRESSES = [bytes([i]) + bytes(15) for i in range(4)]
KEYS = [IntervalKey(address) for address in ADDRESSES[1:3]]

stays = st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(0, 3)).map(lambda s: (s[0], s[0] + s[1], s[2]))


def own_key(key: int) -> int:
    """Tell which series a client belongs to."""
    return key - 1 if key in (1, 2) else 2


@given(st.lists(stays, max_size=10).map(sorted), st.lists(stays, max_size=4).map(sorted), st.data())
def test_each_key_has_the_rows_of_its_own_requests(requests, waiting, data):
    table, lost = answered([s[:2] for s in requests]), never_answered([s[:2] for s in waiting])
    for i, stay in enumerate(requests):
        table.client_address[i] = np.frombuffer(ADDRESSES[stay[2]], np.uint8)
    for i, stay in enumerate(waiting):
        lost.client_address[i] = np.frombuffer(ADDRESSES[stay[2]], np.uint8)
    series = KeyedIntervalSeries("client", KEYS, 7, first_ns=0, last_ns=60)
    at = data.draw(st.integers(0, len(requests)))
    fed = [series.feed(table[:at], lost).copy(), series.feed(table[at:]).copy(), series.finish()]
    rows = KeyedIntervals.concatenate(fed)
    for key in range(3):
        own = IntervalSeries(7, first_ns=0, last_ns=60)
        mine: list[Stay] = [s[:2] for s in requests if own_key(s[2]) == key]
        unanswered: list[Stay] = [s[:2] for s in waiting if own_key(s[2]) == key]
        wanted = rows_of([own.feed(answered(mine), never_answered(unanswered))]) + rows_of([own.finish()])
        assert [plain(row) for row in rows[key::3]] == wanted
