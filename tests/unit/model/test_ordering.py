"""Orders by fast sorts equal those of the slow ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model.ordering import distinct, stable_order

VALUES = st.lists(st.one_of(st.integers(0, 5), st.integers(-(2**63), 2**63 - 1)), max_size=200)


@given(values=VALUES)
def test_equal_values_stay_as_they_are(values):
    array = np.array(values, np.int64)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()
    assert distinct(array).tolist() == sorted(set(values))


@pytest.mark.parametrize("distinct_values", [1, 7, 3000, 10**6])
def test_equal_values_stay_as_they_are_however_many_they_are(distinct_values):
    array = np.random.default_rng(1).integers(0, distinct_values, 40_000)
    assert (stable_order(array) == np.argsort(array, kind="stable")).all()
    assert (distinct(array) == np.unique(array)).all()
