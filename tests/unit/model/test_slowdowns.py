"""Throughput that falls while concurrency rises is told, once, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model import slowdowns
from tcpsight.model.count_scales import CountScales
from tcpsight.model.slowdowns import slowdowns_in
from tcpsight.tables import Requests
from tests.support.thorough import up_to

SECOND = 1e9


def served(rates: list[tuple[float, float, float]], seed: int = 1) -> CountScales:
    """Let requests come and take so long on average: stretches of seconds, rate, and mean time in seconds."""
    random = np.random.default_rng(seed)
    came, took, now = [], [], 0.0
    for seconds, rate, mean in rates:
        n = random.poisson(seconds * rate)
        came.append(now + np.sort(random.random(n)) * seconds)
        took.append(random.gamma(4, mean / 4, n))
        now += seconds
    rows = Requests.allocate(sum(map(len, came)))
    rows.arrival_ns[:] = np.concatenate(came) * SECOND
    rows.completion_ns[:] = rows.arrival_ns + (np.concatenate(took) * SECOND).astype(np.int64)
    found = CountScales()
    found.add(rows)
    return found


@pytest.mark.parametrize("lasting", [0.3, 1, 4])
def test_a_slowdown_is_told_once_with_its_numbers(lasting):
    # Clients that wait ask less: half as many answers, each of which takes ten times as long.
    counts = served([(20, 1000, 0.01), (lasting, 500, 0.1), (20, 1000, 0.01)])
    (found,) = slowdowns_in(counts, [])
    assert found.start_ns - counts.origin_ns == pytest.approx(20 * SECOND, abs=0.4 * SECOND)
    assert found.end_ns - counts.origin_ns == pytest.approx((20 + lasting) * SECOND, abs=0.4 * SECOND)
    assert found.usual_throughput_per_s == pytest.approx(1000, rel=0.1)
    assert found.throughput_per_s < 700
    assert found.concurrency > 2 * found.usual_concurrency
    assert found.missing == pytest.approx(500 * lasting, rel=0.5)
    assert found.duration_ns == found.end_ns - found.start_ns


@pytest.mark.parametrize(
    "between",
    [(2, 300, 0.01), (2, 300, 0.03), (2, 3000, 0.05), (2, 1000, 0.012)],
    ids=["fewer come", "fewer come and take longer", "more are answered", "as many are answered"],
)
def test_only_fewer_answers_to_more_requests_are_a_slowdown(between):
    assert slowdowns_in(served([(20, 1000, 0.01), between, (20, 1000, 0.01)]), []) == []


def test_the_time_of_a_stall_is_no_slowdown():
    counts = served([(20, 1000, 0.01), (1, 500, 0.1), (20, 1000, 0.01)])
    at = counts.origin_ns
    assert slowdowns_in(counts, [(at + int(19.9 * SECOND), at + int(21.2 * SECOND))]) == []
    assert len(slowdowns_in(counts, [(at + 5 * int(SECOND), at + 6 * int(SECOND))])) == 1


def test_a_steady_service_has_none():
    for seed in range(10):
        assert slowdowns_in(served([(30, 1000, 0.01)], seed), []) == []


@pytest.mark.parametrize("batch", [20, 100, 1000])
def test_answers_in_batches_are_none(batch):
    # A timer that answers all that wait: slices nearly as long as its period now and then have no batch.
    rows = Requests.allocate(200_000)
    rows.arrival_ns[:] = np.arange(len(rows)) * 1_000_000
    rows.completion_ns[:] = (np.arange(len(rows)) // batch + 1) * batch * 1_000_000
    counts = CountScales()
    counts.add(rows)
    assert slowdowns_in(counts, []) == []


@settings(max_examples=up_to(60), deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)), min_size=40, max_size=200),
    st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)), max_size=5),
)
def test_hostile_times_break_nothing(stays, stalls):
    rows = Requests.allocate(len(stays))
    rows.arrival_ns[:] = [came for came, _ in sorted(stays)]
    rows.completion_ns[:] = [left for _, left in sorted(stays)]
    counts = CountScales()
    counts.add(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slowdowns, "LEAST_COUNT", 1.0)
        found = slowdowns_in(counts, [(min(each), max(each)) for each in sorted(stalls)])
    assert [each.start_ns for each in found] == sorted(each.start_ns for each in found)


def test_of_nothing_there_is_none():
    assert slowdowns_in(CountScales(), []) == []
