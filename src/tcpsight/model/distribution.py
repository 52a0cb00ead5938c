"""The distribution of durations: percentiles, a histogram for people, and sums that merge.

Theory of operation
-------------------
Values are kept as they are up to a limit; beyond it they are counted in logarithmic buckets, every power of
two divided into 64. A percentile read from a bucket is the middle of it, within 0.8 % of the true one. Which of
the two holds depends on the merged count alone, and buckets of parts add up to the buckets of the whole: so
however values are spread over workers and batches, and in whatever order parts are merged, the result is the
same to the last digit. Counts, sums, minimum and maximum are always exact.

What it cannot see: the order of the values, and once the limit is passed, differences below 0.8 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.model._kernel import BUCKET_COUNT, add_to_buckets, bucket_middles

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

EXACT_LIMIT = 100_000
"""Up to how many values percentiles are exact."""

_Int64s = np.ndarray[Any, np.dtype[np.int64]]
# Sums of this many numbers of 32 bits stay below 2**63.
_CHUNK = 1 << 30


@dataclass(frozen=True, slots=True)
class HistogramStep:
    """How many values lie in [low_ns, high_ns).

    Attributes
    ----------
    low_ns, high_ns : int
        The bounds, in ns.
    count : int
        How many values.
    """

    low_ns: int
    high_ns: int
    count: int


class Distribution:
    """How durations are distributed: exact while there are few, within 1 % when there are many.

    Parameters
    ----------
    exact_limit : int
        Up to how many values percentiles are exact. Distributions that are merged must have the same limit.

    Attributes
    ----------
    count : int
        How many values.
    sum : int
        Their sum in ns, exact however large.
    min, max : int
        The least and the greatest value in ns; −1 where there is none.
    """

    __slots__ = ("_buckets", "_chunks", "count", "exact_limit", "max", "min", "sum")

    def __init__(self, *, exact_limit: int = EXACT_LIMIT) -> None:
        self.exact_limit = exact_limit
        self.count = 0
        self.sum = 0
        self.min = -1
        self.max = -1
        self._chunks: list[_Int64s] = []
        self._buckets: _Int64s | None = None

    @property
    def is_exact(self) -> bool:
        """Whether percentiles are exact."""
        return self._buckets is None

    @property
    def mean(self) -> float:
        """The mean in ns; NaN where there is no value."""
        return self.sum / self.count if self.count else float("nan")

    def add(self, values_ns: ArrayLike) -> None:
        """Take more values.

        Parameters
        ----------
        values_ns : array of int64, shape (n,)
            Durations; negative ones, which stand for unknown, are left out.
        """
        values = np.array(values_ns, np.int64, ndmin=1)
        values = values[values >= 0]
        if len(values) == 0:
            return
        self._count(len(values), exact_sum(values), int(values.min()), int(values.max()))
        self._keep([values])

    def merge(self, other: Distribution) -> None:
        """Take the values of another distribution, which stays as it is.

        Raises
        ------
        ValueError
            If its limit differs, as the result would depend on the order of merging.
        """
        if other.exact_limit != self.exact_limit:
            raise ValueError("only distributions with the same exact_limit can be merged")
        if other.count == 0:
            return
        self._count(other.count, other.sum, other.min, other.max)
        if other._buckets is None:
            self._keep(list(other._chunks))
        else:
            self._keep([])
            assert self._buckets is not None  # the merged count is beyond the limit, too
            self._buckets += other._buckets

    def quantile(self, p: float) -> int:
        """Give the nearest-rank quantile: the least value that at least the fraction `p` of all values does not exceed.

        Parameters
        ----------
        p : float
            0 to 1, meant as it is written: 0.07 is 7/100, not the binary fraction that is closest to it.

        Returns
        -------
        int
            In ns; −1 where there is no value. Within 0.8 % when not `is_exact`.

        Raises
        ------
        ValueError
            If `p` is not between 0 and 1.

        Notes
        -----
        Rank = ⌈p·n⌉, and 1 where that is 0 (Hyndman and Fan, 1996, type 1).
        """
        if not 0 <= p <= 1:
            raise ValueError("a quantile lies between 0 and 1")
        if self.count == 0:
            return -1
        return self._ranked(max(1, ceil(Fraction(str(p)) * self.count)))

    def histogram(self) -> list[HistogramStep]:
        """Count values in steps of 1, 2, 5, 10 … ns, from the least to the greatest.

        Returns
        -------
        list of HistogramStep
            Neighbours, empty ones between others included; none where there is no value.
        """
        if self.count == 0:
            return []
        edges = steps_beyond(self.max)
        lows = np.array(edges[:-1], np.int64)
        first = int(np.searchsorted(lows, self.min, side="right")) - 1
        if self._buckets is None:
            values, weights = self._values(), None
        else:
            values, weights = self._middles(), self._buckets
        steps = np.searchsorted(lows, values, side="right") - 1
        counts = np.bincount(steps, weights, minlength=len(edges) - 1)
        return [HistogramStep(edges[i], edges[i + 1], int(counts[i])) for i in range(first, len(edges) - 1)]

    def _count(self, count: int, total: int, least: int, most: int) -> None:
        self.min = least if self.count == 0 else min(self.min, least)
        self.max = max(self.max, most)
        self.count += count
        self.sum += total

    def _keep(self, chunks: list[_Int64s]) -> None:
        """Keep values as they are, or count them in buckets, as the count (they are in it) demands."""
        if self._buckets is None and self.count > self.exact_limit:
            self._buckets = np.zeros(BUCKET_COUNT, np.int64)
            chunks = self._chunks + chunks
            self._chunks = []
        if self._buckets is None:
            self._chunks += chunks
            return
        for chunk in chunks:
            add_to_buckets(chunk, self._buckets)

    def _values(self) -> _Int64s:
        if len(self._chunks) > 1:
            self._chunks = [np.concatenate(self._chunks)]
        return self._chunks[0]

    def _middles(self) -> _Int64s:
        """Give the value that stands for each bucket, never beyond the least and the greatest value."""
        middles = np.zeros(BUCKET_COUNT, np.int64)
        bucket_middles(middles)
        return middles.clip(self.min, self.max)

    def _ranked(self, rank: int) -> int:
        if self._buckets is None:
            return int(np.partition(self._values(), rank - 1)[rank - 1])
        if rank in (1, self.count):
            return self.min if rank == 1 else self.max
        return int(self._middles()[np.searchsorted(np.cumsum(self._buckets), rank)])


def steps_beyond(value: int) -> list[int]:
    """Give 0, 1, 2, 5, 10 … up to the first that is greater than `value`."""
    steps = [0]
    power = 1
    while True:
        for digit in (1, 2, 5):
            steps.append(digit * power)
            if steps[-1] > value:
                return steps
        power *= 10


def exact_sum(values: _Int64s) -> int:
    """Sum durations without overflow: their upper and lower halves apart."""
    total = 0
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        total += (int((chunk >> 32).sum()) << 32) + int((chunk & 0xFFFF_FFFF).sum())
    return total
