"""Shares of failures: bursts are single events, and nothing at all still has an interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model.shares import CLUSTERS, Clusters, Share, SlicedCounts, difference

SECOND = 10**9


def counted(times_ns: np.ndarray, is_event: np.ndarray) -> Share:
    counts = SlicedCounts(2)
    counts.add(times_ns, np.stack([np.ones(len(times_ns)), is_event], axis=1).astype(np.int64))
    return counts.share(1, 0)


def test_the_interval_of_newcombe_for_his_own_example():
    # Newcombe (1998), table II, example (a): 56/70 and 48/80, method 10: 0.0524 to 0.3339.
    low, high = difference(Share(48, 80), Share(56, 70), 0.95)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_without_any_failure_the_interval_tells_how_many_there_could_be():
    low, high = difference(Share(0, 1000), Share(0, 1000), 0.95)
    assert low == pytest.approx(-high)
    assert 0.001 < high < 0.01


def test_of_nothing_nothing_is_known():
    assert all(math.isnan(each) for each in difference(Share(0, 0), Share(1, 2), 0.95))


def test_failures_by_chance_are_worth_their_number():
    random = np.random.default_rng(1)
    share = counted(np.arange(100_000) * SECOND // 100, random.random(100_000) < 0.02)
    assert share.value == pytest.approx(0.02, rel=0.1)
    assert share.design_effect < 2


def test_a_burst_is_worth_little_more_than_one_failure():
    is_event = np.zeros(100_000)
    is_event[50_000:52_000] = 1
    share = counted(np.arange(100_000) * SECOND // 100, is_event)
    assert share.events == 2000
    assert share.design_effect > 1000
    low, _ = difference(Share(0, 100_000), share, 0.99)
    assert low < 0


def test_counts_are_kept_in_few_slices_however_long_it_takes():
    counts = SlicedCounts(1)
    for day in range(30):
        counts.add((day * 86_400 + np.arange(0, 86_400, 60)) * SECOND, np.ones((1440, 1), np.int64))
    assert counts.totals().tolist() == [30 * 1440]
    assert len(counts._numbers) <= 64


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.booleans()), max_size=60))
def test_no_time_breaks_the_slices(rows):
    times, events = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    share = counted(times, events)
    assert (share.events, share.trials) == (events.sum(), len(rows))
    assert share.design_effect >= 1


def test_clusters_that_fail_as_a_whole_are_single_trials():
    clusters = Clusters()
    clusters.add(np.array([10, 0, 0, 10] * 25), np.full(100, 10))
    share = clusters.share()
    assert share.value == 0.5
    assert share.design_effect == pytest.approx(10, rel=0.02)
    assert CLUSTERS > 10


def test_clusters_in_which_all_trials_or_none_are_events_are_worth_their_trials():
    for events in (0, 10):
        clusters = Clusters()
        clusters.add(np.array([events, events]), np.array([10, 10]))
        assert clusters.share() == Share(2 * events, 20)
