"""Gaps between completions are what a slow twin says, and tails tell how rare a value is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model.waiting import Hazard, gaps_of, tail_of
from tests.reference.model import waiting as reference

MEMBERS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 30), st.booleans()).map(lambda m: (m[0], m[0] + m[1], m[2])),
    min_size=1,
    max_size=25,
)


def surprise(values: np.ndarray, value: float) -> float:
    tail = tail_of(values)
    assert tail is not None
    return float(tail.surprise(value))


def columns(members: list[tuple[int, int, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    joined = np.array(sorted(m[0] for m in members), np.int64)
    completions = np.array(sorted(m[1] for m in members if m[2]), np.int64)
    return joined, completions, np.array(sorted(m[1] for m in members), np.int64)


@given(MEMBERS)
def test_gaps_are_those_of_the_twin(members):
    gaps = gaps_of(*columns(members))
    assert list(zip(*(column.tolist() for column in gaps), strict=True)) == [tuple(g) for g in reference.gaps(members)]


@given(MEMBERS, st.integers(-(2**62), 2**62 - 100))
def test_gaps_do_not_depend_on_the_time_of_day(members, shift):
    joined, completions, left = columns(members)
    here, there = gaps_of(joined, completions, left), gaps_of(joined + shift, completions + shift, left + shift)
    assert here.together_ns.tolist() == there.together_ns.tolist()
    assert here.length_ns.tolist() == there.length_ns.tolist()


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0])
def test_of_a_weibull_tail_a_millionth_is_told_as_such(shape):
    values = np.random.default_rng(1).weibull(shape, 20_000) * 1e6
    a_millionth = 1e6 * np.log(1e6) ** (1 / shape)
    assert surprise(values, a_millionth) == pytest.approx(np.log(1e6), rel=0.25)


def test_the_largest_values_do_not_move_the_tail():
    values = np.random.default_rng(2).exponential(1e6, 20_000)
    spoilt = values.copy()
    spoilt[:15] = 1e10
    assert surprise(spoilt, 1.4e7) == pytest.approx(surprise(values, 1.4e7), rel=0.2)


def test_of_few_values_nothing_is_said():
    assert tail_of(np.arange(1, 100)) is None


def test_a_hazard_is_minus_the_logarithm_of_those_that_wait_longer():
    hazard = Hazard(np.arange(1, 1000))
    assert hazard.at(np.array([0, 501, 10**6])).tolist() == pytest.approx([0.0, np.log(2), np.log(1000)], abs=0.01)
    assert hazard.between(np.array([0, 0]), np.array([501, 501])) == pytest.approx(2 * np.log(2), abs=0.01)
