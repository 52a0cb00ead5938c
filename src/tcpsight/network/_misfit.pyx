"""Kernel: how far a token bucket of each of several rates is from having dropped what was lost, and nothing else.

`bucket_rate.py` has the theory, `_log.pxd` the entries.
"""

from libc.stdint cimport int64_t, uint8_t

from tcpsight._door cimport rows_of, start_of
from tcpsight.network._log cimport HOLE, LOST, SPURIOUS, Entry

cdef enum:
    # Beyond so many segments one entry counts no more: a loss was none then, and took its tokens.
    MOST_SEGMENTS = 3


cdef inline double fill(double tokens, double rate, double size, int64_t ns) noexcept nogil:
    """The tokens after so many nanoseconds."""
    tokens += rate * <double>ns
    return size if tokens > size else tokens


cdef double misfit(const Entry *entries, int64_t n, const double *bucket, bint fills_in_runs) noexcept nogil:
    """Follow a bucket: its rate in bytes per nanosecond, its size, and a segment, both in bytes."""
    cdef const Entry *e
    cdef double tokens = 0, total = 0, beyond
    cdef double segment = bucket[2]
    cdef double most = MOST_SEGMENTS * segment
    cdef bint is_lost, is_run = False
    cdef int64_t i, before_ns = entries[0].time_ns
    for i in range(n):
        e = entries + i
        is_lost = (e.flags & (LOST | SPURIOUS)) == LOST
        # What filled a hole later was lost before that showed: somewhere since the last one that passed.
        if not is_lost or not e.flags & HOLE:
            tokens = fill(tokens, bucket[0], bucket[1], e.time_ns - before_ns)
        if not is_lost:
            is_run = False
            tokens -= e.payload
            if tokens < 0:
                if not e.flags & HOLE:
                    total += -tokens if -tokens < most else most
                tokens = 0
        elif not is_run or not fills_in_runs:
            is_run = True
            beyond = tokens - segment
            if beyond > most:
                total += most
                if not e.flags & HOLE:
                    tokens -= e.payload
            elif beyond > 0:
                total += beyond
                tokens = segment
        if is_lost and e.flags & HOLE:
            tokens = fill(tokens, bucket[0], bucket[1], e.time_ns - before_ns)
        before_ns = e.time_ns
    return total / segment


def misfits(
    const uint8_t[::1] rows not None,
    const double[:, ::1] buckets not None,
    bint fills_in_runs,
    double[::1] out not None,
):
    """Give, for each bucket, how many segments of tokens too many there were at losses, and too few at passes.

    Parameters
    ----------
    rows : bytes of entries
        In the order of capture, the first one a loss.
    buckets : array of float, shape (m, 3)
        Rate in bytes per nanosecond, size in bytes, and the usual size of a segment, above 0.
    fills_in_runs : bool
        Whether in a run of losses only the first one shows that the bucket is empty.
    out : array of float, shape (m,)
        Takes the answer.
    """
    cdef int64_t i, n = rows_of(rows, sizeof(Entry))
    cdef const Entry *entries = <const Entry *>start_of(rows)
    if buckets.shape[1] != 3 or out.shape[0] != buckets.shape[0]:
        raise ValueError("not three numbers and one answer for each bucket")
    for i in range(buckets.shape[0]):
        if not buckets[i, 2] > 0:
            raise ValueError("a segment of no bytes")
    with nogil:
        for i in range(buckets.shape[0]):
            out[i] = misfit(entries, n, &buckets[i, 0], fills_in_runs) if n else 0
