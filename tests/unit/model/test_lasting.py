"""When a service was slower for long: exact cuts, ranks against a slow twin, and what is not told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcpsight.model.count_scales import CountScales
from tcpsight.model.lasting import (
    Lasting,
    _anywhere,
    _clearest,
    _clearness,
    _fewer_deviations,
    _to_the_end,
    lasting_slowdown,
)
from tcpsight.tables import Requests

MS = 1_000_000


def counts(
    residence_ms: np.ndarray, *, every_ms: float = 1.0, cuts: int = 1, leap: tuple[int, int] = (0, 0)
) -> CountScales:
    """Give requests that arrive evenly and take so long each; from one on by a clock that leapt by so many ns."""
    requests = Requests.allocate(len(residence_ms))
    requests.arrival_ns[:] = 10**18 + np.rint(np.arange(len(residence_ms)) * every_ms * MS).astype(np.int64)
    requests.arrival_ns[leap[0] :] += leap[1]
    requests.response_time_ns[:] = np.rint(residence_ms * MS).astype(np.int64)
    requests.completion_ns[:] = requests.arrival_ns + requests.response_time_ns
    found = CountScales()
    for part in np.array_split(np.arange(len(requests)), cuts):
        found.add(requests[part])
    return found


def varied(size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4, 0.5, size)


def test_a_step_is_found_where_it_is_with_both_times_and_loads():
    times = varied(20_000)
    times[12_000:] *= 4
    told = lasting_slowdown(counts(times))
    assert told is not None
    assert (told.start_ns - 10**18) / 1e9 == pytest.approx(12.0, abs=0.2)
    assert told.usual_residence_ns == pytest.approx(2 * MS, rel=0.05)
    assert told.residence_ns == pytest.approx(8 * MS, rel=0.05)
    assert told.usual_concurrency == pytest.approx(2, rel=0.05)
    assert told.concurrency == pytest.approx(8, rel=0.05)
    assert told.throughput_per_s == pytest.approx(1000, rel=0.05)
    assert (told.has_before, told.has_after, told.is_loaded_more) == (True, False, False)


def test_slices_over_which_the_clock_leapt_are_no_time_without_load():
    times = varied(20_000)
    times[12_000:] *= 4
    begin_ns, leap_ns = 10**18 + 6 * 10**9, 20 * 10**9
    leapt = counts(times, leap=(6000, leap_ns))
    told = lasting_slowdown(leapt, lambda start, end: max(min(end, begin_ns + leap_ns) - max(start, begin_ns), 0))
    assert told is not None
    assert [told.throughput_per_s, told.usual_throughput_per_s] == pytest.approx([1000, 1000], rel=0.05)
    assert told.usual_concurrency == pytest.approx(2, rel=0.05)
    assert not told.is_loaded_more
    unknown = lasting_slowdown(leapt)
    assert unknown is not None
    assert unknown.is_loaded_more


def test_a_slow_creep_is_cut_in_its_midst():
    told = lasting_slowdown(counts(varied(20_000) * np.linspace(1, 4, 20_000)))
    assert told is not None
    assert 0.2 < (told.start_ns - 10**18) / 20e9 < 0.8


@pytest.mark.parametrize(("start", "end"), [(6000, 13_000), (6000, 9000), (3000, 16_000), (0, 7000)])
def test_what_was_slower_for_a_large_part_and_ended_is_told_with_both_ends(start: int, end: int):
    times = varied(20_000)
    times[start:end] *= 4
    told = lasting_slowdown(counts(times))
    assert told is not None
    assert (told.start_ns - 10**18) / 1e9 == pytest.approx(start / 1000, abs=0.3)
    assert (told.end_ns - 10**18) / 1e9 == pytest.approx(end / 1000, abs=0.3)
    assert (told.has_before, told.has_after) == (start > 0, True)
    assert told.usual_residence_ns == pytest.approx(2 * MS, rel=0.05)
    assert told.residence_ns == pytest.approx(8 * MS, rel=0.05)
    # The first and the last slice are slow in a part only.
    assert [told.usual_concurrency, told.concurrency] == pytest.approx([2, 8], rel=0.15)


def test_what_was_over_just_before_the_end_does_not_last_to_the_end():
    times = varied(20_000)
    times[12_000:19_300] *= 4
    told = lasting_slowdown(counts(times))
    assert told is not None
    assert told.has_after
    assert (told.end_ns - 10**18) / 1e9 == pytest.approx(19.3, abs=0.3)


def test_what_was_slow_from_the_first_request_on_begins_there_though_it_completed_later():
    times = varied(20_000)
    times[:7000] = 900  # in the first 0.9 s nothing completes
    told = lasting_slowdown(counts(times))
    assert told is not None
    assert not told.has_before
    assert (told.start_ns - 10**18) / 1e9 == pytest.approx(0, abs=0.2)


def test_slices_that_are_all_equally_slow_are_not_alike_from_one_to_the_next():
    assert _fewer_deviations(np.full(30, 0.5)) == 1
    assert _fewer_deviations(np.repeat([0.5, 0.7, 0.4], 10)) < 0.7


@pytest.mark.parametrize(
    ("others", "is_told"),
    [
        ([], False),
        ([(0, 50), (190, 300)], False),
        ([(0, 150)], True),
        ([(110, 140), (120, 130)], False),
        ([(140, 170), (110, 150)], True),
    ],
)
def test_what_ended_and_is_told_otherwise_for_half_of_it_is_not_told_again(others, is_told):
    numbers: dict[str, Any] = dict.fromkeys(Lasting.__dataclass_fields__, 1.0) | {
        "start_ns": 100,
        "end_ns": 200,
        "has_before": True,
    }
    assert Lasting(**numbers | {"has_after": True}).is_told_by(others) == is_told
    assert not Lasting(**numbers | {"has_after": False}).is_told_by(others)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (1.0, 1.3)], ids=["steady", "a little slower"])
def test_what_is_steady_or_hardly_slower_is_not_told(factors: tuple[float, float]):
    times = varied(20_000)
    times[:10_000] *= factors[0]
    times[10_000:] *= factors[1]
    assert lasting_slowdown(counts(times)) is None


def test_stalls_here_and_there_are_nothing_that_lasts():
    times = varied(20_000)
    times[[3000, 9000, 12_000, 15_000]] = 2000
    assert lasting_slowdown(counts(times)) is None


@pytest.mark.parametrize("size", [0, 5, 90])
def test_of_few_requests_nothing_is_told(size: int):
    assert lasting_slowdown(counts(varied(size) * np.repeat([1, 5], [size // 2, size - size // 2]))) is None


def test_how_requests_are_cut_changes_nothing():
    times = varied(20_000)
    times[12_000:] *= 4
    assert lasting_slowdown(counts(times)) == lasting_slowdown(counts(times, cuts=7))


@pytest.mark.parametrize("shape", [_to_the_end, _anywhere])
def test_the_clearest_stretch_is_that_of_pairs_counted_one_by_one(shape):
    values = np.concatenate([varied(14, 3), varied(12, 4) + 1.5, varied(4, 5)]).round(1)
    k = len(values)
    best = (-np.inf, 0, 0, 0.0)
    for start in range(k):
        for end in range(start + 8, k + 1):
            outside = [*values[:start], *values[end:]]
            if len(outside) < 8 or (shape is _to_the_end and end < k):
                continue
            pairs = [(a < b) + 0.5 * (a == b) for a in outside for b in values[start:end]]
            half, spread = len(pairs) / 2, np.sqrt(len(pairs) * (k + 1) / 12)
            best = max(best, ((sum(pairs) - half) / spread, start, end, sum(pairs) / len(pairs)))
    start, end = _clearest(values, *shape(k, 8))
    assert (start, end) == best[1:3]
    clear, deviations = _clearness(values[start:end], np.delete(values, slice(start, end)))
    assert [clear, deviations] == pytest.approx([best[3], best[0]])


@pytest.mark.parametrize("slow", [[(3000, 6000), (12_000, 15_500)], [(0, 3500), (16_500, 20_000)]])
def test_several_stretches_are_told_together(slow: list[tuple[int, int]]):
    times = varied(20_000)
    for start, end in slow:
        times[start:end] *= 4
    told = lasting_slowdown(counts(times))
    assert told is not None
    assert told.stretches == len(slow)
    assert told.together_ns / 1e6 == pytest.approx(sum(end - start for start, end in slow), abs=300 * len(slow))
    assert any((told.start_ns - 10**18) / 1e6 == pytest.approx(start, abs=300) for start, _ in slow)
    assert told.usual_residence_ns == pytest.approx(2 * MS, rel=0.05)
    assert told.residence_ns == pytest.approx(8 * MS, rel=0.05)
