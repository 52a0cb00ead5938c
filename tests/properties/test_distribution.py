"""Distributions merge in any order to the same last digit."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model import Distribution
from tests.reference.model.intervals import nearest_rank

durations = st.integers(0, 2**63 - 1) | st.integers(0, 2000)
parts = st.lists(st.lists(durations, max_size=6), max_size=6)
limits = st.sampled_from([1, 3, 8, 100])


def of(values: list[int], limit: int) -> Distribution:
    distribution = Distribution(exact_limit=limit)
    distribution.add(values)
    return distribution


def told(distribution: Distribution) -> tuple[object, ...]:
    quantiles = tuple(distribution.quantile(p) for p in (0.0, 0.01, 0.5, 0.95, 0.99, 1.0))
    mean = None if math.isnan(distribution.mean) else distribution.mean
    numbers = distribution.count, distribution.sum, distribution.min, distribution.max, mean, distribution.is_exact
    return (*numbers, *quantiles, *distribution.histogram())


@given(parts, limits, st.data())
def test_however_values_are_spread_and_merged_the_result_is_the_same(values, limit, data):
    whole = of([value for part in values for value in part], limit)
    merging = [of(part, limit) for part in values] or [of([], limit)]
    while len(merging) > 1:
        other = merging.pop(data.draw(st.integers(0, len(merging) - 1)))
        merging[data.draw(st.integers(0, len(merging) - 1))].merge(other)
    assert told(merging[0]) == told(whole)


@given(st.lists(durations, min_size=1, max_size=60), limits, st.integers(0, 1000))
def test_quantiles_equal_the_slow_twin_or_lie_within_a_hundredth(values, limit, permille):
    distribution = of(values, limit)
    wanted = nearest_rank(values, Fraction(permille, 1000))
    found = distribution.quantile(permille / 1000)
    assert wanted is not None
    if distribution.is_exact:
        assert found == wanted
    else:
        assert 100 * abs(found - wanted) <= wanted
    assert distribution.sum == sum(values)
