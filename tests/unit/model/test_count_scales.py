"""Counts by slices of time at all scales: what is counted, and how much it varies."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model import count_scales
from tcpsight.model.count_scales import CountScales
from tcpsight.tables import Requests
from tests.support.thorough import up_to


def table(stays: list[tuple[int, int]]) -> Requests:
    """Write arrivals and completions as rows."""
    rows = Requests.allocate(len(stays))
    rows.arrival_ns[:] = [came for came, _ in sorted(stays)]
    rows.completion_ns[:] = [left for _, left in sorted(stays)]
    return rows


def counted(rows: Requests) -> CountScales:
    found = CountScales()
    found.add(rows)
    return found


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(count_scales, "SLICES", 8)
    monkeypatch.setattr(count_scales, "LEAST_WINDOWS", 2)
    monkeypatch.setattr(count_scales, "FIRST_NS", 10)


def test_slices_begin_with_the_first_arrival_and_the_last_one_is_left_out(few):
    (shortest, *_) = counted(table([(1000, 1005), (1012, 1031), (1035, 1048)])).scales()
    assert shortest.length_ns == 10
    assert shortest.arrivals.tolist() == [1, 1, 0, 1]
    assert shortest.completions.tolist() == [1, 0, 0, 1]
    assert shortest.concurrency.tolist() == [0.5, 0.8, 1.0, 0.6]


def test_longer_scales_are_slices_added_up(few):
    scales = counted(table([(1000, 1005), (1012, 1031), (1035, 1048)])).scales()
    assert [each.length_ns for each in scales] == [10, 20]
    assert scales[1].arrivals.tolist() == [2, 1]
    assert scales[1].concurrency.tolist() == [0.65, 0.8]


def test_slices_grow_with_the_capture(few):
    found = counted(table([(0, 5), (12, 31), (35, 48), (281, 320)]))
    assert found.length_ns == 80
    assert found.scales()[0].arrivals.tolist() == [3, 0, 0, 1]
    assert found.scales()[0].concurrency[0] == pytest.approx((5 + 19 + 13) / 80)


STAYS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), min_size=1, max_size=60)


@settings(max_examples=up_to(60), deadline=None)
@given(STAYS, st.lists(st.integers(0, 60), max_size=4))
def test_how_rows_are_cut_changes_nothing(stays, places):
    rows = table([(came, came + stay) for came, stay in stays])
    whole, parts = counted(rows), CountScales()
    for begin, end in pairwise([0, *sorted(places), len(rows)]):
        parts.add(rows[begin:end])
    for one, other in zip(whole.scales(), parts.scales(), strict=True):
        assert one.length_ns == other.length_ns
        assert one.arrivals.tolist() == other.arrivals.tolist()
        assert one.concurrency.tolist() == other.concurrency.tolist()


@settings(max_examples=up_to(60), deadline=None)
@given(STAYS)
def test_concurrency_is_that_of_adding_up_what_lies_in_each_slice(stays):
    stays = [(came, came + stay) for came, stay in stays]
    found = counted(table(stays))
    for scale in found.scales()[:3]:
        edges = found.origin_ns + scale.length_ns * np.arange(len(scale.arrivals) + 1)
        for i, (first, last) in enumerate(pairwise(edges)):
            inside = sum(max(min(left, last) - max(came, first), 0) for came, left in stays)
            assert scale.concurrency[i] == pytest.approx(inside / scale.length_ns)


@settings(max_examples=up_to(60), deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)), max_size=20))
def test_hostile_times_break_nothing(stays):
    for scale in counted(table(stays)).scales():
        assert int(scale.arrivals.sum()) <= len(stays)


def arrivals(gaps: np.ndarray) -> Requests:
    at = np.cumsum(gaps).astype(np.int64)
    return table([(each, each + 1) for each in at.tolist()])


def test_random_arrivals_have_an_index_of_one_at_every_scale():
    random = np.random.default_rng(1)
    for scale in counted(arrivals(random.exponential(1e6, 40_000))).dispersions():
        assert scale.arrivals == pytest.approx(1, abs=5 * (2 / scale.windows) ** 0.5)
        assert scale.completions == pytest.approx(1, abs=5 * (2 / scale.windows) ** 0.5)


def test_regular_arrivals_have_an_index_near_zero_and_pairs_one_of_two():
    clock = counted(arrivals(np.full(40_000, 1e6))).dispersions()
    assert clock[-1].arrivals == pytest.approx(0, abs=0.01)
    random = np.random.default_rng(2)
    pairs = np.zeros(40_000)
    pairs[::2] = random.exponential(2e6, 20_000)
    for scale in counted(arrivals(pairs)).dispersions():
        assert scale.arrivals == pytest.approx(2, abs=10 * (2 / scale.windows) ** 0.5)


def test_a_renewal_process_tends_to_the_squared_variation_of_its_gaps():
    # Cox and Lewis 1966, §4.5: the index tends to Var(gap) / mean(gap)²; a gamma of shape 1/4 has 4.
    random = np.random.default_rng(3)
    longest = counted(arrivals(random.gamma(0.25, 4e6, 200_000))).dispersions()[-4]
    assert longest.arrivals == pytest.approx(4, rel=0.5)


def test_of_nothing_there_is_no_scale():
    assert CountScales().scales() == []
    assert counted(table([(5, 5)])).dispersions() == []
