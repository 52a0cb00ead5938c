"""Shifts of quantiles: what they are, how sure, and what tells nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcpsight.model.response_slices import ResponseSlices
from tcpsight.model.shifting import SEED, Shift, quantiles_of, shifts_between, times_drawn

P = np.array([0.5, 0.95])


def sliced(values: np.ndarray) -> ResponseSlices:
    slices = ResponseSlices(len(values))
    slices.feed(values.astype(np.int64))
    return slices


def shifts(before: np.ndarray, after: np.ndarray) -> list[Shift]:
    return shifts_between(quantiles_of(sliced(before), P), quantiles_of(sliced(after), P, seed=SEED + 1))


def lognormal(seed: int, n: int = 20_000, spread: float = 0.5) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(14, spread, n))


def test_a_capture_against_itself_has_no_shift():
    values = lognormal(1)
    assert [shift.value for shift in shifts(values, values)] == [0.0, 0.0]


def test_ten_percent_slower_is_a_shift_of_ten_percent_at_every_quantile():
    values = lognormal(1)
    assert [shift.value for shift in shifts(values, 1.1 * values)] == pytest.approx([math.log(1.1)] * 2, abs=2e-3)


def test_the_error_of_a_median_is_that_of_theory():
    # Of a normal logarithm, √(π/2)·σ/√n on either side.
    found = np.mean([shifts(lognormal(seed), lognormal(100 + seed))[0].error for seed in range(10)])
    assert found == pytest.approx(math.sqrt(2 * math.pi / 2) * 0.5 / math.sqrt(20_000), rel=0.15)


def test_what_is_related_to_what_was_before_is_less_sure():
    random = np.random.default_rng(5)
    steps, level = random.normal(0, 0.05, 20_000), np.zeros(20_000)
    for i in range(1, len(level)):
        level[i] = 0.995 * level[i - 1] + steps[i]
    related = np.exp(14 + level)
    shuffled = random.permutation(related)
    assert shifts(related, related)[0].error > 3 * shifts(shuffled, shuffled)[0].error


def test_the_same_captures_give_the_same_errors():
    first, again = (shifts(lognormal(1), lognormal(2)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("requests", [1, 3, 99])
def test_few_requests_have_quantiles_and_no_error(requests):
    found = quantiles_of(sliced(lognormal(1, requests)), P)
    assert np.isfinite(found.log_ns).all()
    assert np.isnan(found.error).all()


def test_no_request_has_no_quantile():
    found = quantiles_of(ResponseSlices(0), P)
    assert np.isnan(found.log_ns).all()
    assert np.isnan(shifts_between(found, found)[0].detectable(0.95))


def test_a_quantile_with_few_requests_beyond_it_has_no_error():
    found = quantiles_of(sliced(lognormal(1, 300)), P)
    assert np.isfinite(found.error[0])
    assert np.isnan(found.error[1])


def test_constant_response_times_differ_beyond_doubt():
    shift = shifts(np.full(500, 1_000_000.0), np.full(500, 1_200_000.0))[0]
    assert shift.interval(0.99) == pytest.approx((math.log(1.2),) * 2)


def test_an_interval_grows_with_confidence_and_holds_the_value():
    shift = Shift(0.1, 0.02, 30.0)
    (low, high), (lower, higher) = shift.interval(0.95), shift.interval(0.99)
    assert lower < low < 0.1 < high < higher


def test_what_could_be_found_is_beyond_the_reach_of_the_interval():
    shift = Shift(0.0, 0.02, 30.0)
    assert shift.detectable(0.99) > shift.interval(0.99)[1]


def test_blocks_of_neighbours_are_drawn_and_the_end_is_joined_to_the_beginning():
    times = times_drawn(np.random.default_rng(1), 50, 10, (1, 4))
    for row in times:
        drawn = np.flatnonzero(row)
        assert len(drawn) == 4
        assert any(set(drawn) == {(start + i) % 10 for i in range(4)} for start in range(10))
