"""Counts for a picture: nothing is lost, nothing grows, and the order of rows changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model.density import BUCKET_EDGES_NS
from tcpsight.model.growing_density import FEW, MOST_SLICES, GrowingDensity

SECOND = 10**9
ROWS = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(-1, 2**62)), max_size=40)


def fed(rows: np.ndarray, parts: int = 1) -> GrowingDensity:
    density = GrowingDensity()
    for part in np.array_split(rows, parts):
        density.feed(part[:, 0], part[:, 1])
    return density


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_every_request_is_in_a_cell_however_rows_are_cut(rows, parts):
    table = np.array(rows, np.int64).reshape(-1, 2)
    whole, cut = fed(table), fed(table, parts)
    known = int((table[:, 1] >= 0).sum())
    first_ns, counts = cut.cells()
    assert counts.sum() == cut.total == known
    assert len(counts) <= MOST_SLICES
    assert first_ns == whole.cells()[0]
    assert (counts == whole.cells()[1]).all()
    assert cut.by_time.sum() == known


def test_an_outlier_among_very_many_has_a_cell_of_its_own():
    count = 300_000
    times = np.full(count, 1_000_000)
    times[12_345] = 5 * SECOND
    density = fed(np.stack([np.arange(count) * 1_000_000, times], axis=1), 5)
    _, counts = density.cells()
    bucket = int(np.searchsorted(BUCKET_EDGES_NS, 5 * SECOND, side="right")) - 1
    assert counts[:, bucket].sum() == 1
    assert density.points() is None


def test_few_requests_are_kept_as_they_are():
    rows = np.stack([np.arange(FEW) * 1000, np.arange(FEW)], axis=1)
    points = fed(rows, 3).points()
    assert points is not None
    assert (points[0] == rows[:, 0]).all()
    assert (points[1] == rows[:, 1]).all()


def test_the_distribution_ends_at_all_requests_and_is_within_two_percent():
    times = np.random.default_rng(1).lognormal(14, 1, 50_000).astype(np.int64)
    values, share = fed(np.stack([times, times], axis=1)).distribution()
    assert share[-1] == pytest.approx(1)
    median = values[int(np.searchsorted(share, 0.5))]
    assert median == pytest.approx(np.median(times), rel=0.02)


def test_nothing_at_all_has_no_cell():
    density = GrowingDensity()
    density.feed(np.zeros(0, np.int64), np.zeros(0, np.int64))
    density.feed(np.zeros(2, np.int64), np.full(2, -1, np.int64))
    assert density.total == 0
    assert density.cells()[1].shape == (0, len(BUCKET_EDGES_NS))
