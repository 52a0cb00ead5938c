"""Percentiles, sums and histograms of durations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcpsight.model import Distribution, HistogramStep


def of(values, *, exact_limit: int = 100_000) -> Distribution:
    distribution = Distribution(exact_limit=exact_limit)
    distribution.add(values)
    return distribution


def test_a_quantile_is_at_the_nearest_rank():
    distribution = of([50, 10, 40, 20, 30])
    wanted = {0.0: 10, 0.2: 10, 0.21: 20, 0.5: 30, 0.8: 40, 0.81: 50, 1.0: 50}
    assert {p: distribution.quantile(p) for p in wanted} == wanted


def test_a_quantile_means_what_is_written_not_its_binary_neighbour():
    assert of(range(1, 101)).quantile(0.07) == 7
    assert of(range(1, 101)).quantile(0.29) == 29


def test_an_empty_distribution_knows_nothing():
    distribution = of([])
    assert (distribution.count, distribution.sum, distribution.min, distribution.max) == (0, 0, -1, -1)
    assert distribution.quantile(0.5) == -1
    assert math.isnan(distribution.mean)
    assert distribution.histogram() == []


def test_unknown_durations_are_left_out():
    distribution = of([-1, 5, -1])
    assert (distribution.count, distribution.min, distribution.sum) == (1, 5, 5)


def test_sums_have_no_limit():
    largest = 2**63 - 1
    assert of([largest] * 5).sum == 5 * largest
    assert of([largest] * 5).mean == pytest.approx(largest)


def test_values_are_kept_exactly_up_to_the_limit():
    distribution = of([3, 1, 2], exact_limit=3)
    assert distribution.is_exact
    distribution.add([4])
    assert not distribution.is_exact


def test_beyond_the_limit_least_and_greatest_stay_exact():
    distribution = of([1_000_003, 5_000_011, 9_000_017], exact_limit=2)
    assert (distribution.quantile(0.0), distribution.quantile(1.0)) == (1_000_003, 9_000_017)
    assert distribution.quantile(0.5) == pytest.approx(5_000_011, rel=0.01)
    assert distribution.quantile(0.5) != 5_000_011


@pytest.mark.parametrize("largest", [100, 10**6, 2**63 - 1])
def test_beyond_the_limit_quantiles_are_within_a_hundredth(largest):
    values = np.random.default_rng(1).integers(0, largest, 10_000)
    distribution, ordered = of(values, exact_limit=10), np.sort(values)
    for p in (0.001, 0.25, 0.5, 0.9, 0.99, 0.999):
        wanted = int(ordered[math.ceil(p * 10_000 - 1e-9) - 1])
        assert abs(distribution.quantile(p) - wanted) <= 0.01 * wanted


def test_the_histogram_has_steps_of_1_2_5():
    assert of([3, 4, 25, 25, 1000]).histogram() == [
        HistogramStep(2, 5, 2),
        HistogramStep(5, 10, 0),
        HistogramStep(10, 20, 0),
        HistogramStep(20, 50, 2),
        HistogramStep(50, 100, 0),
        HistogramStep(100, 200, 0),
        HistogramStep(200, 500, 0),
        HistogramStep(500, 1000, 0),
        HistogramStep(1000, 2000, 1),
    ]


def test_the_histogram_begins_at_zero_where_there_is_a_zero():
    assert of([0]).histogram() == [HistogramStep(0, 1, 1)]
    assert of([0, 1]).histogram() == [HistogramStep(0, 1, 1), HistogramStep(1, 2, 1)]


def test_the_histogram_reaches_the_largest_number():
    steps = of([2**63 - 1]).histogram()
    assert [step.count for step in steps] == [1]
    assert steps[0].low_ns < 2**63 <= steps[0].high_ns


def test_the_histogram_holds_every_value_beyond_the_limit_too():
    values = np.random.default_rng(2).integers(1, 10**9, 5000)
    exact, counted = of(values).histogram(), of(values, exact_limit=10).histogram()
    assert [(s.low_ns, s.high_ns) for s in exact] == [(s.low_ns, s.high_ns) for s in counted]
    assert sum(s.count for s in counted) == 5000
    assert max(abs(a.count - b.count) for a, b in zip(exact, counted, strict=True)) < 50


def test_merging_with_another_limit_is_refused():
    with pytest.raises(ValueError, match="exact_limit"):
        of([1]).merge(of([2], exact_limit=5))


def test_merging_leaves_the_other_as_it_was():
    first, second = of([1, 2]), of([3])
    first.merge(second)
    first.add([9])
    assert (second.count, second.sum, second.quantile(1.0)) == (1, 3, 3)


def test_a_quantile_beyond_1_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        of([1]).quantile(95)


def test_the_array_given_may_change_afterwards():
    values = np.array([1, 2, 3])
    distribution = of(values)
    values[:] = 100
    assert distribution.quantile(1.0) == 3


def test_values_that_come_in_parts_add_up():
    parts = of([5, 7])
    parts.add(np.array([1, 30], np.int64))
    assert (parts.count, parts.sum, parts.min, parts.max) == (4, 43, 1, 30)
    assert parts.mean == pytest.approx(43 / 4)
