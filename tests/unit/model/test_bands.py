"""Requests that take the same long time again and again are a band; whatever varies is none."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model.bands import Band, BandSearch
from tcpsight.tables import Requests
from tests.truth.stalls.runs import live, rows_of

MS = 1_000_000
COUNT = 20_000


def table(times_ns: np.ndarray) -> Requests:
    requests = Requests.allocate(len(times_ns))
    requests.arrival_ns[:] = np.arange(len(times_ns)) * MS
    requests.response_time_ns[:] = times_ns
    requests.connection_id[:] = np.arange(len(times_ns))
    return requests


def usual(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).exponential(MS, COUNT)


def found(times_ns: np.ndarray, places: tuple[int, ...] = ()) -> list[Band]:
    search = BandSearch()
    requests = table(times_ns)
    for begin, end in zip((0, *places), (*places, len(times_ns)), strict=True):
        search.add(requests[begin:end])
    return search.found()


def with_timer(share: float = 0.01, spread: float = 0.01) -> np.ndarray:
    random, times = np.random.default_rng(2), usual()
    is_slow = random.random(COUNT) < share
    times[is_slow] = 40 * MS * random.normal(1, spread, is_slow.sum())
    return times


def test_what_waits_for_a_timer_is_a_band():
    (band,) = found(with_timer())
    assert band.low_ns < 40 * MS < band.high_ns
    assert band.requests == pytest.approx(200, rel=0.2)
    assert band.first_ns < band.last_ns


@pytest.mark.parametrize("seed", range(500, 515))
def test_services_of_any_kind_have_no_band_of_their_own(seed):
    search = BandSearch()
    search.add(rows_of(live(seed, is_quiet=True)[1]))
    assert search.found() == []


def test_slow_requests_that_vary_are_no_band():
    assert found(with_timer(spread=0.3)) == []


def test_what_was_released_together_once_is_no_band():
    times = usual()
    times[5000:5200] = 40 * MS
    assert found(times) == []


def test_the_usual_response_time_is_no_band():
    assert found(np.full(COUNT, MS)) == []


def test_how_rows_are_cut_changes_nothing():
    times = with_timer()
    assert found(times) == found(times, (1, 100, 257, 9999))


def test_times_at_both_ends_of_the_range_break_nothing():
    (band,) = found(np.array([0, -1, 2**63 - 1, 1] * 500))
    assert band.low_ns < 2**63 <= band.high_ns


def test_of_nothing_nothing_is_found():
    assert BandSearch().found() == []
