"""The k-th smallest of a stretch is what sorting the stretch gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model.range_order import RangeOrder
from tests.support.thorough import up_to


@settings(max_examples=up_to(100), deadline=None)
@given(st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40), st.data())
def test_the_kth_smallest_of_stretches_is_that_of_sorting_them(values, data):
    asked = []
    for _ in range(data.draw(st.integers(0, 20))):
        begin = data.draw(st.integers(0, len(values) - 1))
        stop = data.draw(st.integers(begin + 1, len(values)))
        asked.append((begin, stop, data.draw(st.integers(0, stop - begin - 1))))
    begin, stop, k = np.array(asked, np.int64).reshape(-1, 3).T
    found = RangeOrder(np.array(values, np.int64)).smallest(begin, stop, k)
    assert found.tolist() == [sorted(values[a:b])[c] for a, b, c in asked]
