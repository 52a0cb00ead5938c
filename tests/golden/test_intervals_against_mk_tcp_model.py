"""Intervals of a real conversation against those that mk-tcp-model printed for the same requests.

The requests are the old tool's own (12,507 of a MySQL server, recorded in 2010), so that only the cutting into
slices is compared. The two tools differ on purpose in the ways that the functions and tests below name, one
each; where they do not, every figure must be the same up to the decimals that the old tool printed.
"""

from __future__ import annotations

import gzip
from bisect import bisect_left
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tcpsight.model import IntervalSeries
from tcpsight.tables import Intervals
from tests.support.intervals import Stay, answered, never_answered

NS_PER_S = 10**9
HALF_A_DIGIT = 0.5e-6
# Columns printed with %5.2f and with %9.3f.
HUNDREDTHS, THOUSANDTHS = 0.005, 0.0005
# Boundaries are doubles in the old tool as well, and doubles are rounded to whole nanoseconds here.
ROUNDING = 0.5e-6


class OldRow(NamedTuple):
    """One line of the old output; times in seconds."""

    ts: str
    concurrency: float
    throughput: float
    arrivals: int
    completions: int
    busy_time: float
    weighted_time: float
    sum_time: float
    variance_mean: float
    quantile_time: float
    obs_time: float


class Case(NamedTuple):
    file: str
    interval_ns: int
    quantile: Fraction


CASES = [
    pytest.param(Case("run-time1.q50", NS_PER_S, Fraction(1, 2)), id="1 s"),
    pytest.param(Case("run-time.02", NS_PER_S // 50, Fraction(99, 100)), id="20 ms"),
]


def exact_ns(seconds: str) -> int:
    """Read seconds with decimals without rounding."""
    ns = Fraction(seconds) * NS_PER_S
    assert ns.denominator == 1
    return int(ns)


@pytest.fixture(scope="module")
def folder(fixtures_dir: Path) -> Path:
    return fixtures_dir / "pt-tcp-model" / "run-expected"


@pytest.fixture(scope="module")
def requests(folder: Path) -> list[Stay]:
    with gzip.open(folder / "conv003.nonzero.requests.sorted-by-id.txt.gz", "rt") as lines:
        fields = [line.split() for line in lines]
    return sorted((exact_ns(start), exact_ns(end)) for _, start, end, *_ in fields)


def read_old_rows(folder: Path, case: Case) -> list[OldRow]:
    lines = (folder / f"conv003.nonzero.slices.sorted-by-ts.{case.file}.txt").read_text().splitlines()
    words = [line.split() for line in lines]
    return [OldRow(w[0], float(w[1]), float(w[2]), int(w[3]), int(w[4]), *map(float, w[5:])) for w in words]


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def old(folder: Path, case: Case) -> list[OldRow]:
    return read_old_rows(folder, case)


@pytest.fixture(scope="module")
def new(requests: list[Stay], case: Case) -> Intervals:
    return cut([(before_boundary(arrival, case), before_boundary(end, case)) for arrival, end in requests], case)


@pytest.fixture(scope="module")
def new_from_doubles(requests: list[Stay], case: Case) -> Intervals:
    return cut([(as_double(arrival), as_double(end)) for arrival, end in requests], case)


def cut(requests: list[Stay], case: Case) -> Intervals:
    """Difference 1: the old tool knows no segments, so its first row starts at the first arrival and its last row
    ends at the last completion. Begin and end the capture there.
    """
    first, last = requests[0][0], max(completion for _, completion in requests)
    series = IntervalSeries(case.interval_ns, first_ns=first, last_ns=last)
    fed = series.feed(answered(requests), never_answered([])).copy()
    return Intervals.concatenate([fed, series.finish()])


def aligned(start_ns: int, interval_ns: int) -> int:
    """Difference 2: the old first row is named by the boundary before it, though it starts later."""
    return start_ns // interval_ns * interval_ns


def is_eventless(row: np.void) -> bool:
    return bool(row["arrivals"] == row["completions"] == 0)


def folded(new: Intervals) -> list[list[np.void]]:
    """Difference 3: the old tool never prints an empty slice but makes the row before it longer."""
    groups: list[list[np.void]] = []
    for row in new:
        if groups and is_eventless(row):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def old_quantile(times: list[int], quantile: Fraction) -> int:
    """Difference 4: its rank is n·q rounded half to even, not up; rank 0 means the last, by accident."""
    return sorted(times)[round(len(times) * quantile) - 1] if times else 0


def as_double(instant_ns: int) -> int:
    """Difference 5: the old tool holds instants as doubles of seconds, which lie 0.24 µs apart."""
    numerator, denominator = (instant_ns / NS_PER_S).as_integer_ratio()
    return (2 * numerator * NS_PER_S + denominator) // (2 * denominator)  # to the nearest nanosecond


def before_boundary(instant_ns: int, case: Case) -> int:
    """Difference 6: so what happens exactly at a boundary may fall into the slice before: move it there by 1 ns."""
    is_before = as_double(instant_ns) // case.interval_ns < instant_ns // case.interval_ns
    return instant_ns - 1 if is_before else instant_ns


def test_one_request_arrives_at_a_boundary_that_its_double_misses(requests, case):
    instants = [instant for stay in requests for instant in stay]
    missed = [1_287_826_106_600_000_000] if case.interval_ns == NS_PER_S // 50 else []
    assert [instant for instant in instants if before_boundary(instant, case) != instant] == missed
    # Others at boundaries are where both tools put them: in the slice that starts there.
    assert sum(instant % case.interval_ns == 0 for instant in instants) >= len(missed)


def test_there_are_as_many_rows_and_they_start_at_the_same_boundaries(old, new, case):
    starts = [aligned(int(group[0]["start_ns"]), case.interval_ns) for group in folded(new)]
    assert starts == [exact_ns(row.ts) for row in old]


def test_counts_are_the_same(old, new):
    counts = [(sum(int(r["arrivals"]) for r in g), sum(int(r["completions"]) for r in g)) for g in folded(new)]
    assert counts == [(row.arrivals, row.completions) for row in old]


@pytest.mark.parametrize(
    ("column", "old_column"),
    [("length_ns", "obs_time"), ("busy_ns", "busy_time"), ("weighted_ns", "weighted_time")],
)
def test_times_are_the_same_once_instants_are_doubles(old, new_from_doubles, column, old_column):
    found = [sum(int(row[column]) for row in group) / NS_PER_S for group in folded(new_from_doubles)]
    assert found == pytest.approx([getattr(row, old_column) for row in old], abs=HALF_A_DIGIT + ROUNDING)


def test_exact_instants_move_no_time_by_more_than_the_doubles_are_off(new, new_from_doubles):
    for column in ("busy_ns", "weighted_ns"):
        exact, doubles = getattr(new, column), getattr(new_from_doubles, column)
        events = new.arrivals + new.completions
        assert (np.abs(exact - doubles) <= 120 * (events + 2 * new.backlog + 2)).all()


def test_response_time_sums_are_the_same(old, new):
    found = [sum(int(row["response_time_sum_ns"]) for row in group) for group in folded(new)]
    assert found == pytest.approx([row.sum_time * 1e9 for row in old], abs=2)


def test_the_old_throughput_is_the_rate_of_arrivals(old, new, new_from_doubles):
    """Difference 7: it calls arrivals / T throughput; here that is `arrival_rate_per_s`."""
    for group, row in zip(folded(new_from_doubles), old, strict=True):
        rate = sum(int(r["arrivals"]) for r in group) * NS_PER_S / sum(int(r["length_ns"]) for r in group)
        # Its T is a difference of boundaries held as doubles.
        assert rate == pytest.approx(row.throughput, rel=0.24e-6 / row.obs_time, abs=THOUSANDTHS)
    wanted = new.completions * NS_PER_S / new.length_ns
    assert new.throughput_per_s.tolist() == pytest.approx(wanted.tolist())


def test_concurrency_is_the_same(old, new_from_doubles):
    for group, row in zip(folded(new_from_doubles), old, strict=True):
        lengths = [int(r["length_ns"]) for r in group]
        found = sum(float(r["concurrency"]) * length for r, length in zip(group, lengths, strict=True)) / sum(lengths)
        assert found == pytest.approx(row.concurrency, abs=HUNDREDTHS + 1e-5)


def test_dispersion_is_the_same(old, new):
    found = [float(group[0]["response_time_dispersion_ns"]) / NS_PER_S for group in folded(new)]
    # Difference 8: where nothing arrived it prints 0, here the value is unknown.
    assert [row.variance_mean for row, value in zip(old, found, strict=True) if np.isnan(value)] == [0.0] * int(
        np.isnan(found).sum()
    )
    pairs = [(value, row.variance_mean) for row, value in zip(old, found, strict=True) if not np.isnan(value)]
    assert [value for value, _ in pairs] == pytest.approx([wanted for _, wanted in pairs], abs=HALF_A_DIGIT + 1e-9)


def test_the_old_quantile_follows_from_the_same_response_times(old, new, requests, case):
    column = {Fraction(1, 2): "response_time_p50_ns", Fraction(99, 100): "response_time_p99_ns"}[case.quantile]
    arrivals = [before_boundary(arrival, case) for arrival, _ in requests]
    for group, row in zip(folded(new), old, strict=True):
        start, end = int(group[0]["start_ns"]), int(group[-1]["start_ns"] + group[-1]["length_ns"])
        times = sorted(c - a for a, c in requests[bisect_left(arrivals, start) : bisect_left(arrivals, end)])
        assert old_quantile(times, case.quantile) == round(row.quantile_time * 1e6) * 1000
        ours = times[max(1, ceil(len(times) * case.quantile)) - 1] if times else -1
        assert int(group[0][column]) == pytest.approx(ours, abs=1)


def test_some_slices_of_20_ms_are_empty_so_that_folding_is_put_to_the_test(new, case):
    is_folded = any(len(group) > 1 for group in folded(new))
    assert is_folded == (case.interval_ns < NS_PER_S)
