"""Response times in slices: quantiles that are right, and smooth where there are ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model.response_slices import BUCKETS, MOST_SLICES, ResponseSlices, buckets_of, mid_quantiles


def quantiles(values: list[int], *p: float) -> Any:
    slices = ResponseSlices(len(values))
    slices.feed(np.array(values, np.int64))
    counts, log_values = slices.filled()
    return np.exp(mid_quantiles(counts.sum(axis=0, keepdims=True), log_values, np.array(p))[0]).tolist()


def test_equal_values_have_that_value_at_every_quantile():
    assert quantiles([123_457] * 1000, 0.01, 0.5, 0.99) == pytest.approx([123_457] * 3, rel=1e-12)


def test_quantiles_of_a_smooth_distribution_are_within_one_percent():
    values = np.sort(np.exp(np.random.default_rng(1).normal(14, 1, 100_000)).astype(np.int64))
    p = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
    exact = [values[int(np.ceil(each * len(values))) - 1] for each in p]
    assert quantiles(values.tolist(), *p) == pytest.approx(exact, rel=0.01)


def test_a_tie_that_moves_half_of_its_values_moves_the_median_part_of_the_way():
    low, high = quantiles([20_000] * 500 + [21_000] * 500, 0.5)[0], quantiles([20_000] * 250 + [21_000] * 750, 0.5)[0]
    assert 20_000 < low < high <= 21_000


def test_what_is_below_a_tick_of_the_clock_counts_as_a_nanosecond():
    assert quantiles([0] * 200, 0.5) == pytest.approx([1.0])


def test_slices_hold_equally_many_requests_in_order_of_arrival():
    slices = ResponseSlices(10_000)
    for part in np.array_split(np.arange(1, 10_001), 7):
        slices.feed(part)
    sizes = slices.counts.sum(axis=1)
    assert len(sizes) == MOST_SLICES
    assert sizes.max() - sizes.min() <= 1
    assert slices.counts.sum() == 10_000


@given(st.lists(st.integers(1, 2**62), min_size=1, max_size=50))
def test_buckets_ascend_with_values_and_there_is_one_for_each(values):
    ordered = np.array(sorted(values), np.float64)
    buckets = buckets_of(ordered)
    assert (np.diff(buckets) >= 0).all()
    assert buckets[0] >= 0
    assert buckets[-1] < BUCKETS


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200), st.integers(1, 5))
def test_how_values_are_cut_into_calls_changes_nothing(values, parts):
    one, several = ResponseSlices(len(values)), ResponseSlices(len(values))
    one.feed(np.array(values, np.int64))
    for part in np.array_split(np.array(values, np.int64), parts):
        several.feed(part)
    assert (one.counts == several.counts).all()
    assert np.allclose(one.log_values, several.log_values)
