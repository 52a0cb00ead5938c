"""Throughput at equal concurrency: load makes no server worse, and what does not overlap is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcpsight.model.equal_load import Series, compare_at_equal_load


def series(seed: int, low: float, high: float, speed: float = 1.0, slices: int = 400) -> Series:
    """Make slices of a server that answers each of n requests after (1 + 0.05 n) / speed ms."""
    random = np.random.default_rng(seed)
    n = random.uniform(low, high, slices)
    x = 1000 * speed * n / (1 + 0.05 * n) * np.exp(random.normal(0, 0.05, slices))
    return Series(n, x)


def test_more_load_is_no_difference():
    found = compare_at_equal_load(series(1, 1, 8), series(2, 2, 16))
    assert found.shift is not None
    low, high = found.shift.interval(0.99)
    assert low < 0 < high
    assert high - low < 0.15


def test_a_slower_server_has_less_throughput_at_equal_load():
    found = compare_at_equal_load(series(1, 1, 8), series(2, 2, 16, speed=0.8))
    assert found.shift is not None
    assert found.shift.value == pytest.approx(math.log(0.8), abs=0.03)
    assert found.shift.interval(0.99)[1] < 0


def test_levels_are_no_wider_than_twice_their_least():
    found = compare_at_equal_load(series(1, 1, 20), series(2, 1, 20))
    assert len(found.levels) >= 4
    assert all(level.high <= 2 * level.low * 1.0001 for level in found.levels)


def test_ranges_that_do_not_overlap_are_refused_with_the_reason():
    found = compare_at_equal_load(series(1, 1, 2), series(2, 5, 9))
    assert found.shift is None
    assert "does not overlap" in (found.refusal or "")


def test_few_slices_are_refused_with_the_reason():
    found = compare_at_equal_load(series(1, 1, 2, slices=5), series(2, 1, 2))
    assert "too few" in (found.refusal or "")


def test_a_common_range_with_next_to_nothing_in_it_is_refused():
    one, two = series(1, 1, 2), series(2, 3, 4)
    two.concurrency[:20] = 1.9
    found = compare_at_equal_load(
        Series(np.append(one.concurrency, [3.5] * 20), np.append(one.throughput_per_s, [9.0] * 20)), two
    )
    assert found.shift is not None or "hardly" in (found.refusal or "")


def test_one_level_of_concurrency_is_enough():
    constant = Series(np.full(100, 4.0), np.full(100, 1000.0))
    found = compare_at_equal_load(constant, Series(np.full(100, 4.0), np.full(100, 500.0)))
    assert found.shift is not None
    assert math.exp(found.shift.value) == pytest.approx(0.5)


def test_a_server_that_completes_nothing_is_refused():
    stuck = Series(np.full(100, 4.0), np.zeros(100))
    assert "nothing was completed" in (compare_at_equal_load(stuck, stuck).refusal or "")


def test_what_ticks_of_the_clock_leave_open_is_in_the_interval():
    one, two = series(1, 1, 8), series(2, 1, 8)
    ticking = [Series(each.concurrency, each.throughput_per_s, tick_ns=100_000) for each in (one, two)]
    exact, rough = compare_at_equal_load(one, two).shift, compare_at_equal_load(*ticking).shift
    assert exact is not None
    assert rough is not None
    # About 1.2 ms each, give or take a tenth of a millisecond.
    assert rough.interval(0.99)[1] - exact.interval(0.99)[1] == pytest.approx(2 * math.log1p(0.1 / 1.2), rel=0.05)
