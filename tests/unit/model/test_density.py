"""Cells and slowest requests against counting them one by one."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model import _density
from tcpsight.model.density import BUCKET_EDGES_NS, PER_OCTAVE, Grid, ResponseTimeDensity, SlowestRequests, buckets_of
from tcpsight.tables import Requests
from tests.support.thorough import up_to

GRID = Grid(100, 1_030, 1_500)
EDGES = BUCKET_EDGES_NS.tolist()


def requests_of(rows):
    """Make requests of (completion, response time)."""
    requests = Requests.allocate(len(rows))
    requests.request_index[:] = np.arange(len(rows))
    for i, (completion, time) in enumerate(rows):
        requests.completion_ns[i], requests.response_time_ns[i] = completion, time
    return requests


def test_slices_are_aligned_to_the_epoch_and_the_last_holds_the_end():
    assert GRID.origin_ns == 1_000
    assert GRID.slices == 5
    assert GRID.places(np.array([1_029, 1_030, 1_099, 1_100, 1_499, 1_500, 1_501])).tolist() == [-1, 0, 0, 1, 4, 4, -1]


def test_a_capture_of_one_instant_is_one_slice():
    assert Grid(100, 1_000, 1_000).slices == 1
    assert Grid(100, 1_000, 1_000).places(np.array([1_000])).tolist() == [0]


def test_times_before_the_epoch_have_their_slices():
    assert Grid(100, -250, 50).places(np.array([-250, -201, -200, -1, 0, 50])).tolist() == [0, 0, 1, 2, 3, 3]


def test_buckets_divide_every_octave_and_hold_every_time():
    assert (np.diff(BUCKET_EDGES_NS) >= 0).all()
    assert BUCKET_EDGES_NS[0] == 0
    powers = BUCKET_EDGES_NS[1::PER_OCTAVE]
    assert powers.tolist() == [2**i for i in range(len(powers))]
    wide = BUCKET_EDGES_NS[BUCKET_EDGES_NS > 1000]
    assert (wide[1:] / wide[:-1]).max() < 1.092


ROWS = st.lists(st.tuples(st.integers(900, 1_600), st.integers(-1, 2**40), st.integers(0, 3)), max_size=25)


@settings(max_examples=up_to(60), deadline=None)
@given(
    times=st.lists(
        st.one_of(st.integers(-2, 300), st.integers(-(2**63), 2**63 - 1), st.sampled_from(EDGES)), max_size=60
    )
)
def test_a_bucket_is_the_last_whose_edge_is_not_above_a_time(times):
    values = np.array(times, np.int64)
    assert buckets_of(values).tolist() == [bisect_right(EDGES, time) - 1 for time in times]
    # Columns of tables have gaps between their values.
    assert buckets_of(values[::2]).tolist() == [bisect_right(EDGES, time) - 1 for time in times[::2]]


def test_cells_that_do_not_exist_are_refused():
    one = np.zeros(1, np.int64)
    for series, places, buckets in [(one + 2, one, one), (one, one + 3, one), (one, one, one + 4), (one, one[:0], one)]:
        with pytest.raises(ValueError, match="a cell does not exist"):
            _density.count(series, places, buckets, np.zeros((2, 3, 4), np.int32))
    with pytest.raises(ValueError, match="no grid"):
        _density.places_of(one, np.array([0, 0, 1, 0, 10]), one.copy())
    with pytest.raises(ValueError, match="edges"):
        _density.buckets_of(one, one, one.copy())


def test_what_ended_together_is_not_left_out_for_the_slowest_of_quiet_slices():
    """Four waited and ended in the second of five slices; 16 are kept of 24."""
    quiet = [(1_050, 8), (1_250, 5), (1_350, 6), (1_450, 7)] * 5
    requests = requests_of([*((1_110 + i, 900 - i) for i in range(4)), *quiet])
    slowest = SlowestRequests(GRID, 8)
    slowest.feed(np.zeros(24, np.int64), requests.completion_ns, requests.response_time_ns, requests)
    kept = slowest.best(16)[1].response_time_ns.tolist()
    assert len(kept) == 16
    assert [time for time in kept if time > 8] == [900, 899, 898, 897]
    assert set(kept) >= {5, 6, 7, 8}


def test_times_of_days_are_ranked_like_short_ones():
    slowest = SlowestRequests(GRID, 2)
    requests = requests_of([(1_050, 5), (1_060, 2**62), (1_070, 5), (1_080, 2**62), (1_150, 7)])
    slowest.feed(np.zeros(5, np.int64), requests.completion_ns, requests.response_time_ns, requests)
    assert slowest.best(9)[1].completion_ns.tolist() == [1_060, 1_080, 1_150]


@given(ROWS, st.integers(1, 7))
def test_cells_are_what_counting_one_by_one_gives_however_rows_are_cut(rows, cut):
    density = ResponseTimeDensity(GRID, 3)
    expected: Counter[tuple[int, int, int]] = Counter()
    outside = 0
    for instant, time, series in rows:
        if series > 0 and time >= 0:
            if not 1_030 <= instant <= 1_500:
                outside += 1
                continue
            place = min((instant - 1_000) // 100, 4)
            expected[series - 1, place, bisect_right(EDGES, time) - 1] += 1
    for begin in range(0, len(rows), cut):
        part = np.array(rows[begin : begin + cut], np.int64).reshape(-1, 3)
        density.feed(part[:, 2] - 1, part[:, 0], buckets_of(part[:, 1]))
    found: Counter[tuple[int, int, int]] = Counter()
    for series in range(3):
        cells = density.cells(series)
        for place, bucket, count in zip(cells.slice.tolist(), cells.bucket.tolist(), cells.count.tolist(), strict=True):
            found[series, place, bucket] = count
    assert found == expected
    assert density.outside == outside


@settings(max_examples=up_to(60), deadline=None)
@given(ROWS, st.integers(1, 7), st.integers(1, 4))
def test_the_slowest_of_every_slice_are_kept_however_rows_are_cut(rows, cut, most):
    rows = [(instant, max(time, 0), series - 1) for instant, time, series in rows]
    slowest = SlowestRequests(GRID, most)
    for begin in range(0, len(rows), cut):
        part = rows[begin : begin + cut]
        series = np.array([row[2] for row in part], np.int64)
        requests = requests_of([row[:2] for row in part])
        slowest.feed(series, requests.completion_ns, requests.response_time_ns, requests)
    expected = defaultdict(list)
    for instant, time, series in rows:
        if series >= 0 and 1_030 <= instant <= 1_500:
            expected[series, min((instant - 1_000) // 100, 4)].append(time)
    series, kept = slowest.best(10_000)
    found = defaultdict(list)
    for each, instant, time in zip(
        series.tolist(), kept.completion_ns.tolist(), kept.response_time_ns.tolist(), strict=True
    ):
        found[each, min((instant - 1_000) // 100, 4)].append(time)
    assert found == {key: sorted(times, reverse=True)[:most] for key, times in expected.items()}


def test_a_budget_takes_the_slowest_of_every_slice_before_the_second_of_any():
    slowest = SlowestRequests(GRID, 5)
    requests = requests_of([(1_050, 900), (1_051, 800), (1_150, 3), (1_151, 2), (1_250, 1)])
    slowest.feed(np.zeros(5, np.int64), requests.completion_ns, requests.response_time_ns, requests)
    assert slowest.best(3)[1].response_time_ns.tolist() == [900, 3, 1]
    assert slowest.best(4)[1].response_time_ns.tolist() == [900, 800, 3, 1]


def test_a_pool_that_is_settled_often_keeps_the_same(monkeypatch):
    monkeypatch.setattr("tcpsight.model.density._POOL_ROWS", 10)
    slowest = SlowestRequests(GRID, 2)
    for i in range(200):
        requests = requests_of([(1_100 + i, (i * 37) % 211)])
        slowest.feed(np.zeros(1, np.int64), requests.completion_ns, requests.response_time_ns, requests)
    times = [sorted(((i * 37) % 211 for i in range(200) if i // 100 == k), reverse=True)[:2] for k in range(2)]
    assert slowest.best(100)[1].response_time_ns.tolist() == [each for pair in times for each in pair]
