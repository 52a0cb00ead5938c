"""The law through points: what is found again, what is refused, how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse

from tcpsight.model.forecasting import band, loads
from tcpsight.model.identifying import judge, negative, number, peak_of, refusal
from tcpsight.model.levelling import least_misfit, only_levels_off
from tcpsight.model.levelling import throughput_at as levelling_at
from tcpsight.model.queueing import better, criteria, fit_queue, misfit
from tcpsight.model.refitting import Refitting
from tcpsight.model.resampling import block_length, fitted_block_length, percentiles, resample
from tcpsight.model.residual_checks import order_of_load, r_squared, runs_p_value, spread_trend, warm_up
from tcpsight.model.scalability import Points, fit, predicted_at, solve
from tcpsight.model.scalability_curve import gradient_at, response_time_at, throughput_at

TRUTH = (0.04, 0.002, 900.0)
N = np.arange(1.0, 31.0)


def noisy(seed: int = 1, size: float = 0.02, truth: tuple[float, float, float] = TRUTH) -> Points:
    random = np.random.default_rng(seed)
    return Points(N, throughput_at(N, *truth) * (1 + size * random.normal(size=len(N))))


def slices(seed: int, count: int = 200, length_s: float = 0.1, truth: tuple[float, float, float] = TRUTH) -> Points:
    """Give slices that have two levels each, and Poisson completions."""
    random = np.random.default_rng(seed)
    low = random.integers(1, 25, count)
    levels = np.arange(1.0, 31.0)
    shares = np.zeros((count, len(levels)))
    part = random.uniform(0, 1, count)
    shares[np.arange(count), low - 1] = part
    shares[np.arange(count), low + 4] = 1 - part
    rates = shares @ throughput_at(levels, *truth)
    counts = random.poisson(rates * length_s)
    return Points(
        shares @ levels, counts / length_s, np.full(count, length_s), levels, sparse.csr_array(shares), is_series=True
    )


def test_exact_points_give_the_law_back():
    found = fit(Points(N, throughput_at(N, *TRUTH)))
    assert found.values == pytest.approx(TRUTH, rel=1e-6)
    assert found.used.all()


def test_without_outliers_it_is_the_ordinary_least_squares_fit():
    points = noisy()
    expected, _ = optimize.curve_fit(throughput_at, points.concurrency, points.throughput_per_s, (0.05, 0.001, 1000.0))
    assert fit(points).values == pytest.approx(expected, rel=1e-5)


def test_points_far_from_all_others_are_left_out_and_named():
    points = noisy()
    points.throughput_per_s[[4, 20]] = [50.0, 20.0]
    found = fit(points)
    assert np.flatnonzero(~found.used).tolist() == [4, 20]
    clean = np.ones(len(N), bool)
    clean[[4, 20]] = False
    assert found.values == pytest.approx(fit(points.where(clean)).values, rel=1e-5)


def test_coefficients_are_never_negative_and_what_they_would_be_is_kept():
    points = Points(N, 100 * N**1.2)
    found = fit(points)
    assert found.sigma >= 0
    assert found.kappa >= 0
    assert min(found.free[:2]) < 0
    assert negative(points, found)
    assert not negative(noisy(), fit(noisy()))


def test_exactly_linear_points_are_not_called_superlinear():
    points = Points(N, 100 * N)
    assert negative(points, fit(points)) == []


def test_the_mean_over_levels_is_what_a_slice_is_compared_with():
    points = slices(3)
    found = fit(points)
    blurred = fit(Points(points.concurrency, points.throughput_per_s, points.lengths_s, is_series=True))
    wide = slices(3, count=4000)
    assert fit(wide).values == pytest.approx(TRUTH, rel=0.12)
    assert abs(found.throughput_of_one - TRUTH[2]) < abs(blurred.throughput_of_one - TRUTH[2])


def test_refitting_finds_what_scipy_finds_within_the_constraint_and_without():
    points = slices(5)
    found = fit(points)
    random = np.random.default_rng(2)
    several = np.maximum(points.throughput_per_s * (1 + 0.6 * random.normal(size=(25, len(points)))), 0)
    bounded, free = Refitting(points, found.weights, found)(several)
    assert (bounded[:, :2] == 0).any()

    def cost(throughput: Any, values: Any) -> float:
        return float(np.sum(((throughput - predicted_at(points, values)) * found.weights) ** 2))

    for throughput, ours, ours_free in zip(several, bounded, free, strict=True):
        again = Points(points.concurrency, throughput, points.lengths_s, points.levels, points.shares, is_series=True)
        for values, is_bounded in ((ours, True), (ours_free, False)):
            theirs = solve(again, found.weights, np.array(found.values), told=found.told, is_bounded=is_bounded)
            assert cost(throughput, values) <= cost(throughput, theirs) * (1 + 1e-6)


def test_resampling_is_the_same_with_the_same_seed_and_another_with_another():
    points = slices(6)
    found = fit(points)
    first, again, other = (resample(points, found, seed=seed).draws for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_blocks_are_as_long_as_residuals_are_related():
    random = np.random.default_rng(4)
    white = random.normal(size=1000)
    related = np.convolve(random.normal(size=1030), np.ones(30), "valid")[:1000]
    alternating = white - np.roll(white, 1)
    neighbours = white + np.roll(white, 1)
    assert block_length(white) == 10  # the cube root
    assert block_length(np.zeros(50)) == 4
    assert fitted_block_length(white) == fitted_block_length(alternating) == fitted_block_length(np.zeros(50)) == 2
    for length in (block_length, fitted_block_length):
        assert length(neighbours) == 10
        assert 30 <= length(related) <= 100
        assert length(white[:12]) == 1  # ten blocks at least


def test_percentiles_are_by_nearest_rank_and_stand_infinities():
    assert percentiles(np.arange(1.0, 1001.0)) == (25.0, 975.0)
    assert percentiles(np.array([1.0, 2.0, np.inf])) == (1.0, np.inf)


@pytest.mark.parametrize(
    ("n", "words"),
    [
        ([1, 2, 3], "too few"),
        ([4] * 20, "always 4"),
        (np.linspace(10, 12, 20), "between 10 and 12 only"),
        ([1, 2] * 10, "only 2 different"),
    ],
)
def test_points_that_tell_nothing_are_refused_with_the_reason(n, words):
    concurrency = np.array(n, float)
    reason = refusal(Points(concurrency, throughput_at(concurrency, *TRUTH)))
    assert reason is not None
    assert words in reason.text


def test_too_narrow_a_load_is_told_as_requests_where_those_were_counted():
    # A service that is idle most of the time has a mean of 0.2, and never more than one request.
    shares = np.full((20, 1), 0.2)
    alone = Points(np.full(20, 0.2) + N[:20] / 100, np.ones(20), np.ones(20), np.array([1.0]), shares, is_series=True)
    reason = refusal(alone)
    assert reason is not None
    assert reason.code == "one_load"
    assert "1 request was there at once" in reason.text
    assert "concurrency was" not in reason.text


def test_reasons_have_numbers_without_powers_of_ten():
    assert number(30812.4) == "30\u202f812"
    assert [number(each) for each in (0.000658, 12.0, 1.2345)] == ["0.000658", "12", "1.23"]
    answer = answered(Points(np.array([1.0, 2, 3, 8, 9]), np.array([500.0, 100, 9000, 30, 2900])))
    assert any("from next to nothing to" in reason.text for reason in answer.reasons)
    assert not any("e+" in reason.text or "e-" in reason.text for reason in answer.reasons)


def test_standing_still_is_refused():
    reason = refusal(Points(N, np.zeros(30)))
    assert reason is not None
    assert (reason.code, reason.text) == ("no_throughput", "there is no throughput at any concurrency")


def answered(points: Points) -> Any:
    found = fit(points)
    return judge(points, found, resample(points, found))


def test_coefficients_of_points_that_follow_the_law_lie_in_their_intervals():
    answer = answered(noisy())
    assert answer.reasons == []
    for estimate, truth in zip((answer.sigma, answer.kappa, answer.throughput_of_one), TRUTH, strict=True):
        assert estimate.low <= truth <= estimate.high
    peak = peak_of(*TRUTH)
    assert answer.peak_concurrency.low <= peak[0] <= answer.peak_concurrency.high
    assert answer.peak_throughput_per_s.low <= peak[1] <= answer.peak_throughput_per_s.high


def test_low_concurrency_tells_lambda_only():
    n = np.linspace(0.2, 2.5, 40)
    random = np.random.default_rng(1)
    answer = answered(Points(n, throughput_at(n, 0.1, 0.01, 50.0) * (1 + 0.01 * random.normal(size=40))))
    assert (answer.sigma, answer.kappa, answer.peak_concurrency) == (None, None, None)
    assert answer.throughput_of_one is not None
    assert "must reach 4" in answer.reasons[0].text


def test_without_coherency_there_is_no_peak_but_a_limit():
    answer = answered(noisy(truth=(0.1, 0.0, 100.0)))
    assert answer.peak_concurrency is None
    assert "contains 0" in answer.reasons[0].text
    assert answer.limit_per_s.low <= 1000 <= answer.limit_per_s.high


def test_scatter_without_a_curve_determines_nothing():
    random = np.random.default_rng(1)
    answer = answered(Points(random.uniform(8, 20, 12), random.uniform(1, 100, 12)))
    assert answer.sigma is None
    assert answer.kappa is None
    assert answer.reasons


@pytest.mark.parametrize(
    ("values", "peak"),
    [
        ((0.0, 0.01, 10.0), (10.0, 10 * 10 / 1.9)),
        ((0.1, 0.0, 10.0), (float("inf"), 100.0)),
        ((1.5, 0.1, 10.0), (1.0, 10.0)),
        ((0.5, 2.0, 10.0), (1.0, 10.0)),
    ],
)
def test_the_peak_is_where_the_law_is_highest(values, peak):
    assert peak_of(*values) == pytest.approx(peak)


def test_response_time_and_gradient_follow_from_the_law():
    assert response_time_at(N, *TRUTH) == pytest.approx(N / throughput_at(N, *TRUTH))
    step = 1e-6
    for i in range(3):
        moved = list(TRUTH)
        moved[i] += step * max(TRUTH[i], 1e-3)
        difference = (throughput_at(N, *moved) - throughput_at(N, *TRUTH)) / (moved[i] - TRUTH[i])
        assert gradient_at(N, *TRUTH)[:, i] == pytest.approx(difference, rel=1e-3, abs=1e-6)


def test_the_band_of_a_forecast_holds_its_value():
    points = noisy()
    found = fit(points)
    told = band(found, resample(points, found).draws, loads(30, 21.9))
    assert (told.low_per_s <= told.throughput_per_s * 1.001).all()
    assert (told.high_per_s >= told.throughput_per_s * 0.999).all()
    assert told.concurrency[0] == 1
    assert told.concurrency[-1] >= 50
    assert told.efficiency_fraction[0] == pytest.approx(1)


def test_a_queue_of_eight_servers_is_found_and_preferred():
    random = np.random.default_rng(3)
    points = Points(N, np.minimum(N, 8) * 50 * (1 + 0.01 * random.normal(size=30)))
    queue, law = fit_queue(points), fit(points)
    assert queue is not None
    assert queue.servers == 8
    assert queue.service_time_s == pytest.approx(0.02, rel=0.02)
    assert better(*criteria(points, misfit(points, predicted_at(points, law.values)), queue.misfit)) == "mmm"


def test_the_law_is_preferred_where_it_made_the_points():
    for points in (noisy(), slices(9)):
        queue, law = fit_queue(points), fit(points)
        assert queue is not None
        assert better(*criteria(points, misfit(points, predicted_at(points, law.values)), queue.misfit)) == "usl"


def test_a_queue_that_never_fills_is_not_identified():
    queue = fit_queue(Points(N, 10 * N))
    assert queue is not None
    assert not queue.is_identified
    assert better(1.0, 2.5) is None


def test_a_queue_that_stood_for_an_instant_only_is_not_identified():
    # Never more than 0.05 requests in the mean, seldom two at once: nothing shows how many servers there are.
    random = np.random.default_rng(1)
    shares = np.column_stack([random.uniform(0.02, 0.045, 60), np.full(60, 0.0025)])
    points = Points(shares @ [1.0, 2.0], shares.sum(axis=1) * 7000, np.ones(60), np.array([1.0, 2.0]), shares)
    queue = fit_queue(points)
    assert queue is not None
    assert not queue.is_identified


# --- checks of residuals


def test_runs_tell_order_from_chance():
    random = np.random.default_rng(1)
    assert runs_p_value(random.normal(size=200)) > 0.01
    assert runs_p_value(np.sin(np.arange(200) / 20)) < 1e-6
    assert np.isnan(runs_p_value(np.ones(50)))


def test_clients_who_hardly_pause_make_no_runs_and_another_shape_does():
    """Eight loads of 40 slices each, N + XZ = C: the more was answered by chance, the fewer were there."""
    random = np.random.default_rng(4)
    clients = np.repeat([1.0, 2, 4, 8, 12, 16, 24, 32], 40)
    scatter = random.normal(size=len(clients))
    concurrency = clients - 0.01 * clients * (1 + 0.1 * scatter)
    assert runs_p_value(scatter[order_of_load(concurrency, is_series=False)]) < 1e-6
    assert runs_p_value(scatter[order_of_load(concurrency, is_series=True)]) > 0.01
    bent = scatter + np.where((clients > 2) & (clients < 20), 1.0, -1.0)
    assert runs_p_value(bent[order_of_load(concurrency, is_series=True)]) < 1e-6


def test_few_runs_are_counted_out():
    """Of 6 of each sign 2 · 2 of 924 orders have two runs, or twelve."""
    together = np.repeat([1.0, -1.0], 6)
    assert runs_p_value(together) == pytest.approx(2 * 2 / 924)
    assert runs_p_value(np.tile([1.0, -1.0], 6)) == pytest.approx(2 * 2 / 924)
    assert runs_p_value(np.array([1.0, -1, -1, 1, 1, -1, 1, -1, -1, 1, 1, -1])) > 0.5
    assert np.isnan(runs_p_value(np.array([1.0, 1, -1, -1])))  # even 2 runs are no surprise


@pytest.mark.parametrize("size", [0.0, 0.01, 0.03])
def test_a_curve_that_levels_off_comes_near_what_levels_off_and_not_what_falls(size: float):
    random = np.random.default_rng(5)
    n = np.arange(1.0, 61.0)
    level = 8000 * (1 - np.exp(-n / 6)) * (1 + size * random.normal(size=60))
    falling = throughput_at(n, 0.02, 0.003, 900.0) * (1 + size * random.normal(size=60))
    for x, expected in ((level, True), (falling, False)):
        points = Points(n, x)
        found = fit(points)
        peak, _ = peak_of(*found.values)
        assert peak < 60
        assert only_levels_off(points, predicted_at(points, found.values), peak) is expected


def test_the_levelling_curve_is_amdahls_at_one_end_and_a_queue_at_the_other():
    n = np.arange(1.0, 20.0)
    assert levelling_at(n, 100.0, 1000.0, 1.0) == pytest.approx(100 * n / (1 + n / 10))
    assert levelling_at(n, 100.0, 1000.0, 500.0) == pytest.approx(np.minimum(100 * n, 1000), rel=0.002)
    assert least_misfit(Points(n, np.minimum(100 * n, 1000))) < 1000


def test_a_spread_that_grows_is_seen():
    random = np.random.default_rng(1)
    size = np.arange(1.0, 201.0)
    correlation, p_value = spread_trend(random.normal(size=200) * size, size)
    assert correlation > 0.3
    assert p_value < 1e-4
    assert spread_trend(random.normal(size=200), size)[1] > 0.01


def test_determination_is_about_the_mean():
    y = np.array([1.0, 2.0, 3.0])
    assert r_squared(y, y) == 1
    assert r_squared(y, np.full(3, 2.0)) == 0
    assert np.isnan(r_squared(np.ones(3), np.ones(3)))


def test_a_cold_start_is_cut_off_and_steady_residuals_are_not():
    random = np.random.default_rng(1)
    steady = random.normal(size=300)
    assert warm_up(steady, 1.0) == 0
    cold = steady.copy()
    cold[:25] -= 6
    assert 20 <= warm_up(cold, 1.0) <= 30
    assert sum(warm_up(random.normal(size=200), 1.0) > 0 for _ in range(500)) <= 1


def test_points_too_few_or_all_alike_show_neither_spread_nor_a_cold_start():
    random = np.random.default_rng(1)
    assert np.isnan(spread_trend(random.normal(size=9), np.arange(9.0))).all()
    assert np.isnan(spread_trend(np.ones(20), np.arange(20.0))).all()
    cold = np.array([-9.0] * 5 + [0.0, 1.0] * 40)
    assert warm_up(cold, 1.0) == 5
    assert warm_up(cold, 0.0) == 0
    assert warm_up(cold[:9], 1.0) == 0


def test_a_queue_of_more_than_64_servers_is_found_to_two_percent():
    n = np.arange(1.0, 401.0, 3)
    queue = fit_queue(Points(n, np.minimum(n, 150) * 50))
    assert queue is not None
    assert queue.servers == pytest.approx(150, rel=0.02)


def test_criteria_need_more_points_than_coefficients():
    of_law, of_queue = criteria(noisy().where(np.arange(30) < 5), 1.0, 1.0)
    assert np.isnan(of_law)
    assert not np.isnan(of_queue)


def test_a_forecast_ends_beyond_the_peak_unless_that_is_far_away():
    assert loads(10, 30)[-1] == 30
    assert loads(10, 1e6)[-1] == loads(10, None)[-1] <= 20
    assert len(loads(1e9, None)) <= 14
    assert loads(1e9, None)[0] == 1
