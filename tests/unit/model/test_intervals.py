"""What a row of intervals means, one rule each."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcpsight.model import IntervalSeries
from tcpsight.tables import Intervals
from tests.support.intervals import Stay, answered, never_answered, rows_of

MS = 1_000_000
S = 1000 * MS
YEAR = 365 * 86_400 * S


def cut(
    requests: list[Stay], *, every: int = 10, span: Stay = (0, 30), unanswered: list[Stay] | None = None
) -> Intervals:
    series = IntervalSeries(every, first_ns=span[0], last_ns=span[1])
    fed = series.feed(answered(requests), never_answered(unanswered or [])).copy()
    return Intervals.concatenate([fed, series.finish()])


def test_slices_are_aligned_to_the_epoch_and_the_first_and_last_are_cut_short():
    rows = cut([], span=(1_007, 1_031))
    assert rows.start_ns.tolist() == [1_007, 1_010, 1_020, 1_030]
    assert rows.length_ns.tolist() == [3, 10, 10, 1]
    assert rows.is_partial.tolist() == [1, 0, 0, 1]


def test_slices_before_the_epoch_are_rounded_down_too():
    rows = cut([], span=(-23, 5))
    assert rows.start_ns.tolist() == [-23, -20, -10, 0]
    assert rows.length_ns.tolist() == [3, 10, 10, 5]


def test_empty_slices_have_rows():
    rows = cut([(2, 4), (25, 26)])
    assert rows.arrivals.tolist() == [1, 0, 1]
    assert rows.busy_ns.tolist() == [2, 0, 1]


def test_what_happens_at_a_boundary_belongs_to_the_slice_that_starts_there():
    rows = cut([(10, 20)])
    assert rows.arrivals.tolist() == [0, 1, 0]
    assert rows.completions.tolist() == [0, 0, 1]
    assert rows.backlog.tolist() == [0, 1, 0]
    assert rows.weighted_ns.tolist() == [0, 10, 0]


def test_the_last_slice_holds_the_last_instant_even_at_a_boundary():
    rows = cut([(15, 20), (20, 20)], span=(0, 20))
    assert rows.length_ns.tolist() == [10, 10]
    assert rows.arrivals.tolist() == [0, 2]
    assert rows.completions.tolist() == [0, 2]
    assert rows.backlog.tolist() == [0, 0]
    assert rows.is_partial.tolist() == [0, 0]


def test_a_capture_of_one_instant_is_one_slice_of_a_nanosecond():
    rows = cut([(7, 7)], span=(7, 7))
    assert (rows.start_ns.tolist(), rows.length_ns.tolist()) == ([7], [1])
    assert (rows.arrivals.tolist(), rows.completions.tolist(), rows.is_partial.tolist()) == ([1], [1], [1])


def test_residence_and_busy_time_are_split_at_boundaries():
    rows = cut([(5, 25), (12, 18)])
    assert rows.weighted_ns.tolist() == [5, 16, 5]
    assert rows.busy_ns.tolist() == [5, 10, 5]
    assert rows.concurrency.tolist() == [0.5, 1.6, 0.5]
    assert rows.utilization_fraction.tolist() == [0.5, 1.0, 0.5]


def test_rates_are_per_second_of_the_slice():
    rows = cut([(0, 15 * MS), (1, 2)], every=10 * MS, span=(0, 20 * MS))
    assert rows.arrival_rate_per_s.tolist() == [200.0, 0.0]
    assert rows.throughput_per_s.tolist() == [100.0, 100.0]


def test_a_response_time_belongs_whole_to_the_slice_of_its_arrival():
    rows = cut([(5, 25), (6, 8)])
    assert rows.response_time_sum_ns.tolist() == [22, 0, 0]
    assert rows.response_time_mean_ns[0] == 11.0
    assert rows.response_time_max_ns.tolist() == [20, -1, -1]


def test_statistics_without_a_request_are_null():
    rows = cut([], span=(0, 10))
    for name in ("p50", "p95", "p99", "max"):
        assert rows.rows[f"response_time_{name}_ns"].tolist() == [-1]
    assert math.isnan(rows.response_time_mean_ns[0])
    assert math.isnan(rows.response_time_dispersion_ns[0])


def test_percentiles_are_nearest_rank():
    rows = cut([(0, time) for time in range(1, 101)], every=1000, span=(0, 1000))
    assert (rows.response_time_p50_ns[0], rows.response_time_p95_ns[0], rows.response_time_p99_ns[0]) == (50, 95, 99)
    rows = cut([(0, 3), (0, 4)], every=1000, span=(0, 1000))
    assert (rows.response_time_p50_ns[0], rows.response_time_p95_ns[0]) == (3, 4)


@pytest.mark.parametrize("n", [2, 64, 65, 5000])
@pytest.mark.parametrize("largest", [100, 10**6, 2**61])
def test_percentiles_are_exact_however_many_and_large_the_values_are(n, largest):
    times = np.random.default_rng(n).integers(0, largest, n)
    rows = cut([(0, int(time)) for time in times], every=10 * YEAR, span=(0, 10 * YEAR))
    ordered = np.sort(times)
    for percent in (50, 95, 99):
        assert rows.rows[f"response_time_p{percent}_ns"][0] == ordered[-(-n * percent // 100) - 1]


def test_percentiles_beyond_the_limit_are_within_a_hundredth():
    times = np.random.default_rng(3).lognormal(14, 2, 20_000).astype(np.int64)
    series = IntervalSeries(YEAR, first_ns=0, last_ns=YEAR, exact_limit=1000)
    series.feed(answered([(0, int(time)) for time in times]), never_answered([]))
    row = series.finish()
    ordered = np.sort(times)
    for percent in (50, 95, 99):
        wanted = ordered[-(-20_000 * percent // 100) - 1]
        assert abs(int(row.rows[f"response_time_p{percent}_ns"][0]) - wanted) <= 0.01 * wanted
    assert row.response_time_sum_ns[0] == times.sum()
    assert row.response_time_max_ns[0] == times.max()


def test_a_slice_after_a_crowded_one_is_exact_again():
    series = IntervalSeries(1000, first_ns=0, last_ns=2000, exact_limit=3)
    series.feed(answered([(0, 901), (0, 902), (0, 903), (0, 904), (1000, 1901)]), never_answered([]))
    assert series.finish().response_time_p50_ns[-1] == 901


def test_dispersion_is_variance_over_mean():
    rows = cut([(0, 2), (0, 4), (0, 9)], span=(0, 10))
    assert rows.response_time_dispersion_ns[0] == pytest.approx((26 / 3) / 5)


def test_dispersion_of_equal_times_is_zero_and_so_is_that_of_zeros():
    assert cut([(0, 7 * S)] * 3, every=S).response_time_dispersion_ns[0] == 0.0
    assert cut([(0, 0)] * 3).response_time_dispersion_ns[0] == 0.0


def test_dispersion_survives_squares_beyond_128_bits():
    month = 30 * 86_400 * S
    rows = cut([(0, month), (0, 3 * month)] * 3000, every=YEAR, span=(0, YEAR))
    assert rows.response_time_dispersion_ns[0] == pytest.approx(month / 2)
    rows = cut([(0, 40 * YEAR), (0, 120 * YEAR)] * 300, every=146 * YEAR, span=(0, 140 * YEAR))
    assert rows.response_time_dispersion_ns[0] == pytest.approx(20 * YEAR)


def test_sums_beyond_64_bits_stop_at_the_largest_number():
    rows = cut([(0, 100 * YEAR)] * 1000, every=146 * YEAR, span=(0, 140 * YEAR))
    assert rows.weighted_ns[0] == rows.response_time_sum_ns[0] == 2**63 - 1
    assert rows.concurrency[0] == pytest.approx(1000 * 100 / 140)


def test_unanswered_requests_wait_until_their_connection_ends():
    rows = cut([], unanswered=[(5, 15), (8, 20)])
    assert rows.unanswered.tolist() == [2, 0, 0]
    assert rows.unanswered_backlog.tolist() == [2, 1, 0]
    assert rows.unanswered_weighted_ns.tolist() == [7, 15, 0]
    assert rows.busy_ns.tolist() == rows.weighted_ns.tolist() == rows.backlog.tolist() == [0, 0, 0]


def test_who_waits_when_the_capture_ends_is_still_there_at_its_end():
    rows = cut([], unanswered=[(5, 27), (27, 27)], span=(0, 27))
    assert rows.unanswered_backlog.tolist() == [1, 1, 2]


def test_more_than_a_hundred_thousand_empty_slices_are_one_gap():
    for slices, gaps in ((100_000, 0), (100_001, 1)):
        later = (slices + 1) * 10
        rows = cut([(2, 4), (later, later + 5)], span=(0, later + 10))
        assert int(rows.is_gap.sum()) == gaps
        assert len(rows) == (slices + 2 if gaps == 0 else 3)
    gap = rows.rows[1]
    assert (gap["start_ns"], gap["length_ns"], gap["is_partial"]) == (10, slices * 10, 0)
    assert (gap["arrivals"], gap["busy_ns"], gap["response_time_max_ns"]) == (0, 0, -1)


def test_an_empty_end_is_a_gap_too_and_says_that_it_is_cut_short():
    rows = cut([(2, 4)], span=(0, 1_500_005))
    assert rows.start_ns.tolist() == [0, 10]
    assert (rows.is_gap.tolist(), rows.is_partial.tolist()) == ([0, 1], [0, 1])
    assert rows.length_ns.sum() == 1_500_005


def test_a_gap_keeps_its_residents():
    rows = cut([(2, 3_000_000)], span=(0, 3_000_010), unanswered=[(3, 3_000_010)])
    gap = rows.rows[1]
    assert gap["is_gap"]
    assert (gap["backlog"], gap["weighted_ns"], gap["busy_ns"]) == (1, gap["length_ns"], gap["length_ns"])
    assert (gap["concurrency"], gap["unanswered_backlog"], gap["unanswered_weighted_ns"]) == (1.0, 1, gap["length_ns"])


def test_blocks_bound_the_memory_of_many_empty_slices():
    series = IntervalSeries(10, first_ns=0, last_ns=500_000)
    requests = answered([(0, 1), (400_000, 400_001), (499_999, 499_999)])
    sizes = [len(block) for block in series.blocks(requests, never_answered([]))]
    assert (max(sizes), sum(sizes)) == (1024, 40_001)
    sizes = [len(block) for block in series.last_blocks()]
    assert (max(sizes), sum(sizes)) == (1024, 9_999)


def test_a_slice_is_given_as_soon_as_time_has_passed_its_end():
    series = IntervalSeries(10, first_ns=0, last_ns=100)
    assert len(series.feed(answered([(5, 7), (10, 12)]))) == 0  # others may still come at 10
    assert series.feed(answered([(11, 12)])).start_ns.tolist() == [0]


def test_a_request_open_at_the_end_of_the_capture_counts_inside_only():
    rows = cut([(25, 40)])
    assert (rows.arrivals[-1], rows.completions[-1], rows.backlog[-1], rows.weighted_ns[-1]) == (1, 0, 1, 5)
    assert rows.response_time_sum_ns[-1] == 15


def test_a_request_from_before_the_capture_counts_inside_only():
    series = IntervalSeries(10, first_ns=0, last_ns=10)
    series.feed(answered([(-5, 4), (-4, -3)]))
    row = series.finish()
    assert (row.arrivals[0], row.completions[0], row.weighted_ns[0]) == (0, 1, 4)
    assert series.outside == 2


def test_without_a_known_end_the_series_ends_with_its_rows():
    series = IntervalSeries(10, first_ns=0)
    series.feed(answered([(5, 12)]), never_answered([(6, 17)]))
    assert series.finish().length_ns.tolist() == [10, 7]


@pytest.mark.parametrize("last", [20, 23])
def test_it_does_not_matter_when_the_end_becomes_known(last):
    rows = []
    for is_known in (True, False):
        series = IntervalSeries(10, first_ns=0, last_ns=last if is_known else None)
        fed = series.feed(answered([(3, 20), (last, last)]), never_answered([(4, last), (last, last)])).copy()
        series.last_ns = last
        rows.append(Intervals.concatenate([fed, series.finish()]))
    assert rows[0].unanswered_backlog[-1] == 2
    assert rows_of(rows[:1]) == rows_of(rows[1:])


def test_a_finished_series_gives_nothing_more():
    series = IntervalSeries(10, first_ns=0, last_ns=5)
    assert len(series.finish()) == 1
    assert len(series.finish()) == 0


def test_a_completion_before_its_arrival_is_taken_for_an_immediate_one():
    rows = cut([(5, 2)])
    assert (rows.arrivals[0], rows.completions[0], rows.response_time_max_ns[0]) == (1, 1, 0)


def test_absurd_instants_are_held_within_the_range_of_time():
    far = 2**62
    rows = cut([(-(2**63), 2**63 - 1), (0, 2**63 - 1)], every=far - 1, span=(-(2**63), 2**63 - 1))
    assert rows.length_ns.tolist() == [far - 1, far - 1]
    assert rows.backlog.tolist() == [1, 0]


def test_requests_out_of_order_are_refused():
    series = IntervalSeries(10, first_ns=0, last_ns=100)
    with pytest.raises(ValueError, match="order of arrival"):
        series.feed(answered([(5, 7), (4, 9)]))
    series = IntervalSeries(10, first_ns=0, last_ns=100)
    series.feed(answered([(50, 51)]))
    with pytest.raises(ValueError, match="order of arrival"):
        series.feed(answered([]), never_answered([(49, 60)]))


def test_senseless_spans_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        IntervalSeries(0, first_ns=0)
    with pytest.raises(ValueError, match="can't end before"):
        IntervalSeries(10, first_ns=5, last_ns=4)
    series = IntervalSeries(10, first_ns=0)
    series.feed(answered([(50, 51)]))
    with pytest.raises(ValueError, match="can't end before"):
        series.last_ns = 40


def test_rows_that_are_not_contiguous_are_read_right():
    table = answered([(1, 2), (100, 200), (3, 4), (100, 200)])[::2]
    series = IntervalSeries(10, first_ns=0, last_ns=10)
    series.feed(table)
    assert series.finish().weighted_ns.tolist() == [2]


def test_memory_follows_concurrency_not_length():
    series = IntervalSeries(S, first_ns=0)
    requests = answered([(i, i + 5) for i in range(1000)])
    for batch in range(50):
        requests.arrival_ns += S if batch else 0
        requests.completion_ns += S if batch else 0
        series.feed(requests)
    assert series.finish().arrivals.tolist() == [1000]
