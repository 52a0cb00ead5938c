"""Response times in order of arrival, cut into slices of equally many requests: what a distribution is resampled from.

Theory of operation
-------------------
A slice counts its response times in logarithmic buckets, every power of two divided into 64. Of each bucket the mean
of the logarithms of its values is kept, over all slices. The quantile at p is that of the mid-distribution function
(Parzen, Statistical Science 19, 2004; Ma, Genton and Parzen, Annals of the Institute of Statistical Mathematics 63,
2011): the share of values below a bucket and half of those in it belong to its mean, and between such points
logarithms are interpolated. So it is smooth even where a clock that ticks in microseconds makes ties, and the median
of equal values is that value. It lies within 1 % of the nearest-rank quantile where the distribution is continuous
there.

What it cannot see: the order of requests within a slice; differences within a bucket.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

PARTS = 64
"""Buckets of each power of two."""
BUCKETS = 64 * PARTS

MOST_SLICES = 256
LEAST_SLICES = 10
LEAST_IN_SLICE = 10
"""Fewer requests than this in a slice, and fewer such slices, tell no variation."""

LEAST_REQUESTS = LEAST_SLICES * LEAST_IN_SLICE


class ResponseSlices:
    """Count response times by slice.

    Parameters
    ----------
    requests : int
        How many will be fed.

    Attributes
    ----------
    counts : ndarray of int32, shape (slices, BUCKETS)
        How many there are in each slice and bucket.
    log_values : ndarray of float64, shape (BUCKETS,)
        The mean logarithm of a bucket's values, in ns; 0 where there are none.
    """

    def __init__(self, requests: int) -> None:
        self.requests = requests
        slices = min(max(requests // LEAST_IN_SLICE, 1), MOST_SLICES)
        self.counts = np.zeros((slices, BUCKETS), np.int32)
        self._log_sums = np.zeros(BUCKETS)
        self._fed = 0

    def feed(self, response_time_ns: Integers) -> None:
        """Take the next response times, in order of arrival through all calls."""
        if len(response_time_ns) == 0:
            return
        slices = len(self.counts)
        rank = self._fed + np.arange(len(response_time_ns))
        self._fed += len(rank)
        in_slice = np.minimum(rank * slices // max(self.requests, 1), slices - 1)
        # Less than a tick of the clock counts as one nanosecond: a logarithm is taken.
        values = np.maximum(response_time_ns, 1).astype(np.float64)
        buckets = buckets_of(values)
        cells, counts = np.unique(in_slice * BUCKETS + buckets, return_counts=True)
        self.counts.reshape(-1)[cells] += counts.astype(np.int32)
        self._log_sums += np.bincount(buckets, np.log(values), BUCKETS)

    @property
    def log_values(self) -> Floats:
        """What each bucket stands for."""
        totals = self.counts.sum(axis=0)
        means: Floats = self._log_sums / np.maximum(totals, 1)
        return means

    def filled(self) -> tuple[Floats, Floats]:
        """Give counts of the buckets that hold something, shape (slices, n), and their mean logarithms, shape (n,)."""
        held = np.flatnonzero(self.counts.any(axis=0))
        return self.counts[:, held].astype(np.float64), self.log_values[held]


def buckets_of(values: Floats) -> Integers:
    """Tell the bucket of each value, all 1 or more, shape (n,)."""
    mantissa, exponent = np.frexp(values)
    found: Integers = (exponent - 1).astype(np.int64) * PARTS + ((mantissa - 0.5) * 2 * PARTS).astype(np.int64)
    return np.minimum(found, BUCKETS - 1)


def mid_quantiles(counts: Floats, log_values: Floats, p: Floats) -> Floats:
    """Give logarithms of quantiles of several distributions over the same buckets.

    Parameters
    ----------
    counts : ndarray of float64, shape (distributions, buckets)
        How many values each bucket holds; a distribution without any has quantiles that mean nothing.
    log_values : ndarray of float64, shape (buckets,)
        What each bucket stands for, ascending.
    p : ndarray of float64, shape (quantiles,)
        Which quantiles, 0 to 1.

    Returns
    -------
    ndarray of float64, shape (distributions, quantiles)
    """
    below = np.cumsum(counts, axis=1)
    middle = below - counts / 2
    total = below[:, -1:]
    rows = np.arange(len(counts))
    found = np.empty((len(counts), len(p)))
    last = len(log_values) - 1
    for column, each in enumerate(p):
        wanted = each * total[:, 0]
        right = np.minimum((middle < wanted[:, None]).sum(axis=1), last)
        left = np.maximum(right - 1, 0)
        width = middle[rows, right] - middle[rows, left]
        share = np.where(width > 0, (wanted - middle[rows, left]) / np.where(width > 0, width, 1), 1)
        share = np.clip(share, 0, 1)
        found[:, column] = log_values[left] + share * (log_values[right] - log_values[left])
    return found
