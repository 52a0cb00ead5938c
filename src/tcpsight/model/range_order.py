"""The k-th smallest value of any stretch of a sequence, for many stretches at once.

Theory of operation
-------------------
A wavelet matrix (Claude, Navarro and Ordóñez, Information Systems 47, 2015) of the values' ranks: one level for each
bit, highest first; at each, those with a zero come before those with a one, otherwise in the order of the level before.
How many zeros there are before a place tells where a stretch goes on in the next level, and how many of its values are
smaller. All stretches walk down together. Building takes n log n steps, each answer log n.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]


class RangeOrder:
    """Order the stretches of a sequence.

    Parameters
    ----------
    values : ndarray of int64, shape (n,)
        The sequence.
    """

    def __init__(self, values: Integers) -> None:
        order = np.argsort(values, kind="stable")
        self._sorted = values[order]
        ranks = np.empty(len(values), np.int32)
        ranks[order] = np.arange(len(values), dtype=np.int32)
        self._zeros: list[np.ndarray[Any, np.dtype[np.int32]]] = []
        for bit in reversed(range(max(len(values) - 1, 0).bit_length())):
            is_one = (ranks >> bit) & 1 == 1
            before = np.zeros(len(values) + 1, np.int32)
            np.cumsum(~is_one, out=before[1:])
            self._zeros.append(before)
            ranks = np.concatenate([ranks[~is_one], ranks[is_one]])

    def smallest(self, begin: Integers, stop: Integers, k: Integers) -> Integers:
        """Give the k-th smallest value, from 0, of each stretch [begin, stop).

        Parameters
        ----------
        begin, stop, k : ndarray of int64, shape (stretches,)
            With 0 ≤ begin ≤ begin + k < stop ≤ n.
        """
        begin, stop, k, rank = begin.copy(), stop.copy(), k.copy(), np.zeros(len(k), np.int64)
        for before in self._zeros:
            first, last = before[begin].astype(np.int64), before[stop].astype(np.int64)
            is_zero = k < last - first
            zeros = int(before[-1])
            k = np.where(is_zero, k, k - (last - first))
            begin = np.where(is_zero, first, zeros + begin - first)
            stop = np.where(is_zero, last, zeros + stop - last)
            rank = 2 * rank + ~is_zero
        found: Integers = self._sorted[rank]
        return found
