"""Orders of many integers, by the sorts that take least.

NumPy's unstable sorts of integers are vectorized and take a fraction of what its stable one does. What they may have
mixed up are equal values only, whose places are put in order once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]


def stable_order(values: Integers) -> Integers:
    """Give the order of values; equal ones stay as they are, shape (n,)."""
    order = np.argsort(values)
    ordered = values[order]
    is_like_next = ordered[1:] == ordered[:-1]
    if not is_like_next.any():
        return order
    is_tied = np.zeros(len(order), np.bool_)
    is_tied[1:] = is_like_next
    is_tied[:-1] |= is_like_next
    places = np.flatnonzero(is_tied)
    # Beside each other as they lie already: by the number of the run, and in it by place, in one sort.
    runs = np.cumsum(np.concatenate([[False], ~is_like_next])[places]) * len(order)
    order[places] = np.sort(runs + order[places]) - runs
    return order


def distinct(values: Integers) -> Integers:
    """Give the values that occur, each once, in order."""
    ordered = np.sort(values)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]
