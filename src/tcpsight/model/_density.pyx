"""Counts requests in cells of slice and bucket of response time."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from tcpsight.model._response_times cimport highest_bit

cdef enum:
    PER_OCTAVE = 8
    OCTAVES = 63


def buckets_of(const int64_t[:] times_ns not None, const int64_t[::1] edges not None, int64_t[::1] buckets not None):
    """Write the bucket of each time, the last whose edge is not above it; -1 of negative ones.

    `edges`, shape (1 + 63 × 8,), are 0 and what divides each power of two into eight.
    """
    cdef Py_ssize_t i, bucket
    cdef int64_t time
    if edges.shape[0] != 1 + OCTAVES * PER_OCTAVE or buckets.shape[0] < times_ns.shape[0]:
        raise ValueError("other edges than of eight buckets for each power of two, or too little room for buckets")
    with nogil:
        for i in range(times_ns.shape[0]):
            time = times_ns[i]
            bucket = time if time <= 0 else PER_OCTAVE * (highest_bit(<uint64_t>time) + 1)
            while bucket > 0 and edges[bucket] > time:
                bucket -= 1
            buckets[i] = max(bucket, -1)


@cython.overflowcheck(False)
cdef inline int64_t slices_between(int64_t first, int64_t instant, int64_t length) noexcept nogil:
    """How many whole slices lie between; whatever instants are, their distance has no sign."""
    return <int64_t>((<uint64_t>instant - <uint64_t>first) // <uint64_t>length)


def places_of(const int64_t[:] instants_ns not None, const int64_t[::1] grid not None, int64_t[::1] places not None):
    """Write the slice of each instant, -1 outside of the span.

    `grid`, shape (5,): start of the first slice, length and number of slices, first and last instant of the span.
    """
    cdef Py_ssize_t i
    cdef int64_t instant
    if grid.shape[0] != 5 or grid[1] < 1 or grid[0] > grid[3] or places.shape[0] < instants_ns.shape[0]:
        raise ValueError("no grid, or too little room for places")
    with nogil:
        for i in range(instants_ns.shape[0]):
            instant = instants_ns[i]
            if instant < grid[3] or instant > grid[4]:
                places[i] = -1
            else:
                places[i] = min(slices_between(grid[0], instant, grid[1]), grid[2] - 1)


def count(
    const int64_t[::1] series not None,
    const int64_t[::1] places not None,
    const int64_t[::1] buckets not None,
    int32_t[:, :, ::1] counts not None,
):
    """Count rows in cells, shape (series, slices, buckets); tell how many of known series and bucket lie outside.

    A series or bucket below 0 is unknown, and a place outside.
    """
    cdef Py_ssize_t n = series.shape[0]
    cdef Py_ssize_t i
    cdef int64_t outside = 0
    cdef bint is_good = places.shape[0] == n and buckets.shape[0] == n
    if is_good:
        with nogil:
            for i in range(n):
                if series[i] < 0 or buckets[i] < 0:
                    continue
                if places[i] < 0:
                    outside += 1
                elif (
                    series[i] < counts.shape[0] and places[i] < counts.shape[1] and buckets[i] < counts.shape[2]
                ):
                    counts[series[i], places[i], buckets[i]] += 1
                else:
                    is_good = False
    if not is_good:
        raise ValueError("lengths disagree, or a cell does not exist")
    return outside
