"""Shifts of quantiles: what they are, how sure, and what tells nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcpsight.model.response_slices import ResponseSlices
from tcpsight.model.shifting import QuantileShift, Shift, quantiles_of, shifts_between, times_drawn

P = np.array([0.5, 0.95])


def sliced(values: np.ndarray, arrival_ns: np.ndarray | None = None) -> ResponseSlices:
    values = values.astype(np.int64)
    about = np.quantile(values, P, method="inverted_cdf") if len(values) else np.ones(len(P))
    slices = ResponseSlices(len(values), about)
    # Without instants, those of a clock of microseconds.
    arrival_ns = np.arange(1, len(values) + 1) * 1000 if arrival_ns is None else arrival_ns
    slices.feed(arrival_ns, arrival_ns + values)
    return slices


def shifts(before: np.ndarray, after: np.ndarray) -> list[QuantileShift]:
    return shifts_between(quantiles_of(sliced(before), P), quantiles_of(sliced(after), P))


def length(shift: QuantileShift) -> float:
    low, high = shift.interval(0.95)
    return high - low


def lognormal(seed: int, n: int = 20_000, spread: float = 0.5) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(14, spread, n))


def test_a_capture_against_itself_has_no_shift():
    values = lognormal(1)
    assert [shift.value for shift in shifts(values, values)] == [0.0, 0.0]


def test_ten_percent_slower_is_a_shift_of_ten_percent_at_every_quantile():
    values = lognormal(1)
    assert [shift.value for shift in shifts(values, 1.1 * values)] == pytest.approx([math.log(1.1)] * 2, abs=2e-3)


def test_the_interval_of_a_median_is_that_of_theory():
    # Of a normal logarithm, √(π/2)·σ/√n on either side.
    found = np.mean([length(shifts(lognormal(seed), lognormal(100 + seed))[0]) for seed in range(10)]) / 2
    assert found == pytest.approx(1.96 * math.sqrt(2 * math.pi / 2) * 0.5 / math.sqrt(20_000), rel=0.15)


def test_what_is_related_to_what_was_before_is_less_sure():
    random = np.random.default_rng(5)
    steps, level = random.normal(0, 0.05, 20_000), np.zeros(20_000)
    for i in range(1, len(level)):
        level[i] = 0.995 * level[i - 1] + steps[i]
    related = np.exp(14 + level)
    shuffled = random.permutation(related)
    assert length(shifts(related, related)[0]) > 3 * length(shifts(shuffled, shuffled)[0])


@pytest.mark.parametrize("requests", [1, 3, 99])
def test_few_requests_have_quantiles_and_no_error(requests):
    found = quantiles_of(sliced(lognormal(1, requests)), P)
    assert np.isfinite(found.log_ns).all()
    assert np.isnan(found.share_error).all()


def test_no_request_has_no_quantile():
    found = quantiles_of(ResponseSlices(0, [-1, -1]), P)
    assert np.isnan(found.log_ns).all()
    assert np.isnan(shifts_between(found, found)[0].detectable(0.95))


def test_a_quantile_with_few_requests_beyond_it_has_no_error():
    found = quantiles_of(sliced(lognormal(1, 300)), P)
    assert np.isfinite(found.share_error[0])
    assert np.isnan(found.share_error[1])


def test_constant_response_times_differ_beyond_doubt():
    shift = shifts(np.full(500, 1_000_000.0), np.full(500, 1_200_000.0))[0]
    assert shift.interval(0.99) == pytest.approx((math.log(1.2),) * 2, abs=2e-3)


def two_valued(seed: int, slow_share: float, n: int = 2000, factor: float = 1.0) -> np.ndarray:
    slow = np.random.default_rng(seed).random(n) < slow_share
    return np.where(slow, 205_000_000, 5_200_000) * factor


def test_two_heaps_of_response_times_have_a_percentile_in_one_of_them():
    shift = shifts(two_valued(1, 0.03), two_valued(2, 0.035))[1]
    assert shift.value == pytest.approx(0, abs=1e-4)
    low, high = shift.interval(0.9975)
    # A microsecond of 5.2 ms, on both sides.
    assert -4e-4 < low < 0 < high < 4e-4


def test_how_many_others_are_slow_changes_no_percentile_among_equal_ones():
    # So many requests that every share is known to a hair; 3 % are slow, then 3.4 %.
    for low, high in (
        each.interval(0.9975) for each in shifts(*(two_valued(i, 0.03 + 0.004 * i, 90_000) for i in (0, 1)))
    ):
        assert low < 0 < high


def test_what_a_clock_of_microseconds_cannot_tell_is_in_the_interval():
    # One has 10 µs where the other has 11: it may be a microsecond, or next to nothing.
    random = np.random.default_rng(4)
    before, after = (np.floor(at + random.random(20_000) * 0.2) * 1000 for at in (10.7, 10.9))
    low, high = shifts(before, after)[0].interval(0.9975)
    assert low <= 0
    assert high >= math.log(11 / 10)


def recorded(seed: int, took_ns: float, tick_ns: int, n: int = 20_000) -> ResponseSlices:
    """Give requests that took so long, give or take a percent, as a clock of such ticks records them."""
    random = np.random.default_rng(seed)
    arrival = np.cumsum(random.exponential(20 * took_ns, n))
    ends = arrival + took_ns * np.exp(random.normal(0, 0.01, n))
    began, ended = (np.floor(each / tick_ns).astype(np.int64) * tick_ns for each in (arrival, ends))
    return sliced(ended - began, began)


@pytest.mark.parametrize("tick_ns", [1_000_000, 100_000, 10_000_000])
@pytest.mark.parametrize("ticks", [1.2, 3.06, 3.1, 12.2])
@pytest.mark.parametrize("factor", [1.0, 1.1, 1.32])
def test_what_a_clock_of_longer_ticks_cannot_tell_is_in_the_interval(tick_ns, ticks, factor):
    before, after = (
        quantiles_of(recorded(i, ticks * tick_ns * each, tick_ns), P) for i, each in enumerate((1, factor))
    )
    for shift in shifts_between(before, after):
        low, high = shift.interval(0.9975)
        assert low <= math.log(factor) <= high
        # Nor is it said that a tenth would have been found, where ticks are longer than that.
        assert not shift.detectable(0.9975) <= math.log(1.1)


def test_where_a_tick_is_short_beside_response_times_a_tenth_is_found():
    before, after = (quantiles_of(recorded(i, each * 1e6, 1_000_000), P) for i, each in enumerate((200, 220)))
    shift = shifts_between(before, after)[0]
    low, high = shift.interval(0.9975)
    assert 0 < low < math.log(1.1) < high
    assert shift.detectable(0.9975) < math.log(1.05)


def test_a_share_near_the_gap_between_two_heaps_leaves_the_percentile_unknown():
    low, high = shifts(two_valued(1, 0.048), two_valued(2, 0.052))[1].interval(0.9975)
    assert low <= 0.001
    assert high >= math.log(205 / 5.2) - 0.001


def test_a_slow_down_of_two_heaps_is_found_at_its_size():
    shift = shifts(two_valued(1, 0.03), two_valued(2, 0.03, factor=1.1))[0]
    assert shift.interval(0.9975) == pytest.approx((math.log(1.1),) * 2, abs=4e-4)


@pytest.mark.parametrize(
    "values",
    [
        lambda random: np.where(random.random(1000) < 0.05, 205e6, 5.2e6),
        lambda random: np.exp(random.normal(3, 0.3, 1000)) // 1 * 1000,
        lambda random: np.exp(random.normal(14, 0.5, 1000)),
    ],
)
def test_intervals_of_captures_alike_hold_no_change_as_often_as_they_say(values):
    random = np.random.default_rng(3)
    missed = np.zeros(len(P))
    for _ in range(100):
        for i, shift in enumerate(shifts(values(random), values(random))):
            low, high = shift.interval(0.95)
            missed[i] += low > 1e-9 or high < -1e-9
    # Of 100, five are expected; 12 or more come by chance once in two hundred.
    assert (missed < 12).all(), missed


def test_an_interval_has_no_end_where_errors_reach_beyond_all_requests():
    # Slow ones come all at once: of how many there are nothing is known.
    values = np.full(1000, 1_000_000.0)
    values[500:560] = np.linspace(2e6, 3e6, 60)
    shift = shifts(values, values)[1]
    assert shift.interval(0.9975) == (-math.inf, math.inf)
    assert math.isnan(shift.detectable(0.9975))


def test_an_interval_grows_with_confidence_and_holds_the_value():
    shift = Shift(0.1, 0.02, 30.0)
    (low, high), (lower, higher) = shift.interval(0.95), shift.interval(0.99)
    assert lower < low < 0.1 < high < higher


def test_blocks_of_neighbours_are_drawn_and_the_end_is_joined_to_the_beginning():
    times = times_drawn(np.random.default_rng(1), 50, 10, (1, 4))
    for row in times:
        drawn = np.flatnonzero(row)
        assert len(drawn) == 4
        assert any(set(drawn) == {(start + i) % 10 for i in range(4)} for start in range(10))
