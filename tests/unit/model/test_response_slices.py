"""Response times in slices: quantiles that requests had, and how their share varies from slice to slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model.distribution import Distribution
from tcpsight.model.response_slices import BUCKETS, MOST_SLICES, ResponseSlices, buckets_of


def nearest_rank(values: Any, p: float) -> int:
    told = Distribution()
    told.add(values)
    return told.quantile(p)


def sliced(values: Any, *p: float, tick_ns: int = 1000) -> ResponseSlices:
    slices = ResponseSlices(len(values), [nearest_rank(values, each) for each in p])
    arrival_ns = np.arange(1, len(values) + 1) * tick_ns
    slices.feed(arrival_ns, arrival_ns + np.asarray(values, np.int64))
    return slices


def quantiles(values: Any, *p: float) -> Any:
    return sliced(values, *p).quantiles_ns(np.array(p)).tolist()


def test_equal_values_have_that_value_at_every_quantile():
    assert quantiles([123_457] * 1000, 0.01, 0.5, 0.99) == pytest.approx([123_457] * 3, abs=0.5)


def test_quantiles_are_those_of_nearest_rank():
    values = np.exp(np.random.default_rng(1).normal(14, 1, 100_000)).astype(np.int64)
    p = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
    assert quantiles(values, *p) == pytest.approx([nearest_rank(values, each) for each in p], rel=5e-4)


@given(
    st.lists(st.sampled_from([5_200_000, 205_000_000, 31, 1_000_000_007]), min_size=1, max_size=300),
    st.sampled_from([0.1, 0.5, 0.95, 0.99]),
)
def test_a_quantile_of_few_distinct_values_is_one_of_them(values, p):
    assert quantiles(values, p)[0] == pytest.approx(nearest_rank(values, p), abs=501)


def test_between_two_heaps_lies_no_quantile():
    values = [5_200_000] * 960 + [205_000_000] * 40
    assert quantiles(values, 0.95, 0.97) == pytest.approx([5_200_000, 205_000_000], abs=501)


def test_a_clock_of_microseconds_makes_a_heap_as_wide_as_a_tick():
    low, high = quantiles([20_000] * 500 + [21_000] * 500, 0.5)[0], quantiles([20_000] * 250 + [21_000] * 750, 0.5)[0]
    assert (low, high) == pytest.approx((20_500, 20_833), abs=1)
    assert sliced([20_000, 21_000]).tick_ns == 1000
    assert sliced([20_000, 21_001]).tick_ns == 1


@pytest.mark.parametrize("tick_ns", [10**power for power in range(10)])
def test_a_tick_is_the_longest_that_all_instants_are_multiples_of(tick_ns):
    values = np.random.default_rng(2).integers(1, 1000, 500) * tick_ns
    assert sliced(values, tick_ns=tick_ns).tick_ns == tick_ns


def test_equal_response_times_are_no_tick():
    assert sliced([5_000_000] * 200, tick_ns=7).tick_ns == 1


@pytest.mark.parametrize("took_ms", [0.3, 3.04, 3.06, 3.1, 3.41, 12.2])
def test_what_a_clock_of_milliseconds_leaves_open_holds_the_truth(took_ms):
    random = np.random.default_rng(3)
    arrival = np.cumsum(random.exponential(20e6, 5000))
    took = took_ms * 1e6 * np.exp(random.normal(0, 0.01, 5000))
    began, ended = (np.floor(each / 1e6).astype(np.int64) * 10**6 for each in (arrival, arrival + took))
    slices, p = ResponseSlices(5000), np.array([0.05, 0.5, 0.95])
    slices.feed(began, ended)
    low, high = slices.known_within_ns(p)
    truth = np.quantile(took, p)
    assert (low <= truth).all()
    assert (truth <= high).all()
    assert ((high - low) <= 2.1e6).all()


def test_what_is_below_a_tick_of_the_clock_counts_as_half_a_tick():
    assert quantiles([0] * 200, 0.1) == [500]


def test_no_request_has_no_quantile():
    assert np.isnan(ResponseSlices(0).quantiles_ns(np.array([0.5]))).all()


def test_slices_hold_equally_many_requests_in_order_of_arrival():
    # One slow request in every hundredth of ten thousand is in another slice each time.
    values = np.full(10_000, 1000)
    values[::100] = 9_000_000
    slices = sliced(values, 0.995)
    influence = slices.influence(0, 0.995)
    assert len(influence) == slices.slices == MOST_SLICES
    assert influence.sum() == pytest.approx(0, abs=1e-6)
    assert set(np.round(influence * 2).tolist()) <= {-1, 0, 1}


@given(st.lists(st.integers(1, 10**6), min_size=100, max_size=400), st.sampled_from([0.25, 0.5, 0.9]))
def test_the_influence_of_a_slice_is_how_many_lie_below_the_quantile(values, p):
    slices = sliced(values, p)
    at = slices.quantiles_ns(np.array([p]))[0]
    bounds = [-(-i * len(values) // slices.slices) for i in range(slices.slices + 1)]
    for i, told in enumerate(slices.influence(0, p).tolist()):
        own = np.array(values[bounds[i] : bounds[i + 1]])
        # What is within a cell of the quantile may count in part.
        cell = at / 2000 + 1
        low, high = ((own < at + sign * cell).sum() - p * len(own) for sign in (-1, 1))
        assert low - 1e-6 <= told <= high + 1e-6


@given(st.lists(st.integers(1, 2**62), min_size=1, max_size=50))
def test_buckets_ascend_with_values_and_there_is_one_for_each(values):
    ordered = np.array(sorted(values), np.float64)
    buckets = buckets_of(ordered)
    assert (np.diff(buckets) >= 0).all()
    assert buckets[0] >= 0
    assert buckets[-1] < BUCKETS


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200), st.integers(1, 5))
def test_how_values_are_cut_into_calls_changes_nothing(values, parts):
    p = (0.5, 0.95)
    one, several = (ResponseSlices(len(values), [nearest_rank(values, each) for each in p]) for _ in range(2))
    arrival_ns = np.arange(len(values))
    both = np.array([arrival_ns, arrival_ns + np.array(values, np.int64)])
    one.feed(*both)
    for part in np.array_split(both, parts, axis=1):
        several.feed(*part)
    assert one.quantiles_ns(np.array(p)) == pytest.approx(several.quantiles_ns(np.array(p)), rel=1e-9)
    for i, each in enumerate(p):
        assert one.influence(i, each) == pytest.approx(several.influence(i, each))
