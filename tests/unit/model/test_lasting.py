"""From when on a service was slower: exact cuts, ranks against a slow twin, and what is not told."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model.count_scales import CountScales
from tcpsight.model.lasting import _clearest, lasting_slowdown
from tcpsight.tables import Requests

MS = 1_000_000


def counts(residence_ms: np.ndarray, *, every_ms: float = 1.0, cuts: int = 1) -> CountScales:
    """Give requests that arrive evenly and take so long each."""
    requests = Requests.allocate(len(residence_ms))
    requests.arrival_ns[:] = 10**18 + np.rint(np.arange(len(residence_ms)) * every_ms * MS).astype(np.int64)
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
    assert told.residence_before_ns == pytest.approx(2 * MS, rel=0.05)
    assert told.residence_ns == pytest.approx(8 * MS, rel=0.05)
    assert told.concurrency_before == pytest.approx(2, rel=0.05)
    assert told.concurrency == pytest.approx(8, rel=0.05)
    assert told.throughput_per_s == pytest.approx(1000, rel=0.05)
    assert not told.is_loaded_more


def test_a_slow_creep_is_cut_in_its_midst():
    told = lasting_slowdown(counts(varied(20_000) * np.linspace(1, 4, 20_000)))
    assert told is not None
    assert 0.2 < (told.start_ns - 10**18) / 20e9 < 0.8


@pytest.mark.parametrize("factors", [(1.0, 1.0), (1.0, 1.3), (4.0, 1.0)], ids=["steady", "a little slower", "faster"])
def test_what_is_steady_hardly_slower_or_faster_is_not_told(factors: tuple[float, float]):
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


def test_the_clearest_cut_is_that_of_pairs_counted_one_by_one():
    values = np.concatenate([varied(20, 3), varied(15, 4) + 1.5]).round(1)
    k = len(values)
    best = (-np.inf, 0, 0.0)
    for cut in range(8, k - 8 + 1):
        pairs = [(a < b) + 0.5 * (a == b) for a in values[:cut] for b in values[cut:]]
        half, spread = len(pairs) / 2, np.sqrt(cut * (k - cut) * (k + 1) / 12)
        best = max(best, ((sum(pairs) - half) / spread, cut, sum(pairs) / len(pairs)))
    cut, clear, deviations = _clearest(values, 8)
    assert cut == best[1]
    assert [clear, deviations] == pytest.approx([best[2], best[0]])
