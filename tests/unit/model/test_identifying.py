"""What is told of a law, and why the rest is not: fits and resamples as they might be, judged."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tcpsight.model.identifying import _levelled, chance, judge, missed, number
from tcpsight.model.levelling import only_levels_off
from tcpsight.model.resampling import Resampled
from tcpsight.model.scalability import LawFit, Points, fit, predicted_at
from tcpsight.model.scalability_curve import throughput_at

TRUTH = (0.04, 0.002, 900.0)
N = np.arange(1.0, 31.0)


def law(points: Points, values: tuple[float, float, float] = TRUTH) -> LawFit:
    """Give a fit whose coefficients are these."""
    sigma, kappa, one = values
    return dataclasses.replace(fit(points), sigma=sigma, kappa=kappa, throughput_of_one=one, free=values)


def spread(values: tuple[float, float, float], by: tuple[float, float, float]) -> Resampled:
    """Give resamples that lie evenly so far on both sides of a fit, and nowhere below 0."""
    free = np.array(values) + np.linspace(-1, 1, 2001)[:, None] * np.array(by)
    return Resampled(np.maximum(free, 0.0), free, None)


def told(values: tuple[float, float, float], by: tuple[float, float, float]) -> Any:
    """Judge points that follow a law exactly, of which other captures might have told so much else."""
    points = Points(N, throughput_at(N, *values))
    return judge(points, law(points, values), spread(values, by))


def test_what_hardly_differs_between_resamples_is_told():
    answer = told(TRUTH, (0.001, 0.0001, 5.0))
    assert answer.reasons == []
    assert answer.limit_per_s.value == pytest.approx(900 / 0.04)
    assert answer.peak_concurrency.value == pytest.approx(np.sqrt(0.96 / 0.002))


def test_throughput_of_one_that_may_be_anything_is_not_told_and_neither_is_what_follows_from_it():
    answer = told(TRUTH, (0.001, 0.0001, 2000.0))
    assert answer.sigma is not None
    assert answer.throughput_of_one is answer.limit_per_s is answer.peak_concurrency is None
    assert len(answer.reasons) == 1
    assert answer.reasons[0].text.startswith("λ may be anything from next to nothing to")


def test_a_limit_that_may_be_several_times_as_large_is_not_told():
    answer = told((0.04, 0.002, 900.0), (0.0399, 0.0001, 5.0))
    assert answer.limit_per_s is None
    assert answer.reasons[0].text.startswith("no limit can be told: it may be from")
    assert answer.peak_concurrency is not None


def test_where_coherency_is_nothing_there_is_no_peak():
    answer = told((0.1, 0.0, 900.0), (0.01, 0.0, 5.0))
    assert answer.peak_concurrency is None
    assert [each.text for each in answer.reasons] == ["there is no peak: κ is 0, so that throughput never falls"]


def test_a_peak_that_may_be_several_times_as_far_is_not_told():
    answer = told((0.04, 0.00005, 900.0), (0.001, 0.0000499, 5.0))
    assert answer.kappa is not None
    assert answer.peak_concurrency is None
    assert answer.reasons[0].text.startswith("no peak can be told: it may be anywhere from")


def test_what_arithmetic_leaves_of_a_coefficient_is_zero():
    answer = told((0.1, 1e-12, 900.0), (0.01, 1e-13, 5.0))
    assert answer.kappa.value == answer.kappa.high == 0
    assert "there is no peak" in answer.reasons[0].text


def test_a_throughput_of_one_that_no_point_comes_near_is_no_law():
    points = Points(N, throughput_at(N, *TRUTH))
    for one, is_missed in ((8900.0, False), (9100.0, True)):
        values = (TRUTH[0], TRUTH[1], one)
        answer = judge(points, law(points, values), spread(values, (0.001, 0.0001, 5.0)))
        assert answer.is_missed is is_missed
    assert [each.text for each in answer.reasons] == [
        "the points do not follow the law: λ would be 9\u202f100, and no point has more than 900 for each request there"
    ]


def test_requests_that_were_counted_are_told_as_such_where_there_were_too_few():
    shares = np.tile(np.eye(3), (10, 1))
    levels = np.array([1.0, 2.0, 3.0])
    points = Points(
        shares @ levels, shares @ throughput_at(levels, *TRUTH), np.ones(30), levels, shares, is_series=True
    )
    answer = judge(points, law(points), spread(TRUTH, (0.001, 0.0001, 5.0)))
    assert answer.sigma is None
    assert [each.text for each in answer.reasons] == [
        "hardly ever were more than 3 requests there at once: to tell σ and κ apart they must reach 4"
    ]


def superlinear() -> tuple[Points, LawFit]:
    points = Points(N, 100 * N**1.3)
    return points, fit(points)


def test_points_that_only_negative_coefficients_would_explain_miss_the_law():
    points, found = superlinear()
    assert missed(points, found)
    answer = judge(points, found, spread(found.values, (0.0, 0.0, 5.0)))
    assert answer.is_missed
    assert answer.throughput_of_one is not None
    assert answer.peak_concurrency is answer.limit_per_s is None
    assert answer.reasons[-1].text.endswith("which misses some of them by more than 5 %")


def test_negative_by_chance_misses_nothing():
    points, found = superlinear()
    unsure = dataclasses.replace(found, free_errors=(1.0, 1.0, 1.0))
    assert not missed(points, unsure)


# ------------------------------------------------------------------------------------------------ levelling off


def series(throughput_per_s: Any, concurrency: Any) -> Points:
    each = np.asarray(throughput_per_s, float)
    return Points(np.asarray(concurrency, float), each, np.ones(len(each)), is_series=True)


def test_a_fall_that_slices_do_not_show_is_not_told():
    n = np.repeat(np.arange(1.0, 41.0), 4)
    level = 8000 * (1 - np.exp(-n / 6))
    points = series(level, n)
    found = fit(points)
    answer = judge(points, found, spread(found.values, tuple(each / 100 for each in found.values)))  # type: ignore[arg-type]
    assert answer.is_missed
    assert answer.peak_concurrency is None
    assert "that of the intervals there is not clearly below that of those near it" in answer.reasons[-1].text


def test_of_points_without_time_the_curve_that_only_levels_off_must_explain_them_as_well():
    points = Points(N, np.minimum(N, 8.0) * 100)
    found = fit(points)
    answer = judge(points, found, spread(found.values, tuple(each / 100 for each in found.values)))  # type: ignore[arg-type]
    assert answer.is_missed
    assert "a curve that only levels off explains them as well" in answer.reasons[-1].text
    assert "more requests at a time got hardly more done, so this may be all" in answer.reasons[-1].text
    assert answer.reasons[-1].code == "levels_off"


def test_where_throughput_rises_beyond_what_the_law_calls_a_peak_more_clients_are_asked_for():
    n = np.repeat([1.0, 2.0, 4.0, 8.0, 12.0, 16.0], 8)
    code, said = _levelled(series(np.repeat([50.0, 100.0, 150.0, 200.0, 250.0, 300.0], 8), n), 8.0)
    assert code == "rises"
    assert said.endswith("in the mean it was 200/s near it and 275/s beyond: it still rises, so go on to more clients")


def test_where_nobody_was_far_beyond_a_peak_nothing_is_said_of_it():
    assert "in the mean" not in _levelled(series([100.0] * 8, [8.0] * 8), 8.0).text


def test_where_throughput_beyond_a_peak_is_less_but_not_clearly_it_is_not_called_all_that_the_service_can_do():
    n = np.repeat([1.0, 2.0, 4.0, 8.0, 12.0, 16.0], 8)
    code, said = _levelled(series(np.repeat([50.0, 100.0, 150.0, 200.0, 160.0, 140.0], 8), n), 8.0)
    assert code == "seems_to_fall"
    assert said.endswith(
        "200/s near it and 150/s beyond: it seems to fall, so stay longer at loads near that and beyond"
    )


@pytest.mark.parametrize(
    ("far", "expected"),
    [([70, 70, 70, 70], False), ([100, 100, 100, 100], True), ([70, 130, 70, 130], True), ([95, 97, 95, 97], False)],
    ids=["fall", "stay", "scatter", "fall a little, and clearly"],
)
def test_blocks_beyond_a_peak_must_have_clearly_less_throughput_than_those_near_it(far: list[float], expected: bool):
    """Two slices make a block: 8 near a peak at 10, and 4 far beyond it."""
    x = np.repeat([99.0, 101.0, 100.0, 100.0, 99.0, 101.0, 100.0, 100.0, *far], 2)
    assert only_levels_off(series(x, [10.0] * 16 + [20.0] * 8), np.zeros(24), 10.0) is expected


def test_where_nothing_scatters_any_fall_is_clear():
    n = [10.0] * 8 + [20.0] * 8
    assert not only_levels_off(series([100.0] * 8 + [99.0] * 8, n), np.zeros(16), 10.0)
    assert only_levels_off(series([100.0] * 16, n), np.zeros(16), 10.0)


def test_one_block_far_beyond_a_peak_shows_no_fall():
    n = [10.0] * 8 + [20.0] * 2
    assert only_levels_off(series([100.0] * 8 + [50.0] * 2, n), np.zeros(10), 10.0)


def test_of_a_peak_beyond_all_points_nothing_is_said():
    assert not only_levels_off(series([100.0] * 16, [10.0] * 16), np.zeros(16), 10.0)
    points = Points(N, throughput_at(N, *TRUTH))
    assert not only_levels_off(points, predicted_at(points, TRUTH), 30.0)


def test_two_points_beyond_a_peak_fall_if_both_are_below_the_best():
    x = np.minimum(N, 20.0) * 100
    x[-2:] = 1990.0
    predicted = throughput_at(N, 0.0, 0.002, 100.0)
    assert not only_levels_off(Points(N, x), predicted, 28.5)
    x[-1] = 2000.0
    assert only_levels_off(Points(N, x), predicted, 28.5)


# ------------------------------------------------------------------------------------------------ chance


def test_slices_of_one_load_that_differ_by_chance_mean_nothing():
    random = np.random.default_rng(1)
    n, x = 10 + random.normal(size=100), 500 + 20 * random.normal(size=100)
    points = series(x, n)
    reason = chance(points, fit(points))
    assert reason is not None
    assert "the load hardly varied" in reason.text
    # The same points without an order of time may have been chosen by somebody.
    assert chance(Points(n, x), fit(Points(n, x))) is None


def test_load_that_stays_changed_for_more_than_a_slice_was_changed_by_somebody():
    random = np.random.default_rng(1)
    points = series(500 + 20 * random.normal(size=100), np.repeat([5.0, 10, 15, 20], 25) + random.normal(size=100))
    assert chance(points, fit(points)) is None


def test_throughput_that_follows_concurrency_closely_tells_whoever_changed_it():
    random = np.random.default_rng(1)
    n = random.uniform(1, 20, 100)
    points = series(throughput_at(n, *TRUTH), n)
    assert chance(points, fit(points)) is None


def test_numbers_far_from_one_have_their_power_of_ten():
    assert [number(each) for each in (0.0, 1e-5, 0.0001, 999.4, 999.5, 2e15)] == [
        "0",
        "1e-05",
        "0.0001",
        "999",
        "1\u202f000",
        "2e+15",
    ]
