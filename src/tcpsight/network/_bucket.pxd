# A token bucket that losses show to be empty: how many tokens it had whenever a segment was lost, or passed.
from libc.stdint cimport int64_t
from libc.string cimport memset
from tcpsight.network._log cimport HOLE, LOST, SPURIOUS, Entry

cdef enum:
    # Fills are counted in quarters of a segment, from −32 segments to +96.
    LOWEST_QUARTER = -128
    QUARTERS = 512

cdef struct Fills:
    int64_t losses
    int64_t passes
    int64_t losses_outside
    int64_t passes_outside
    int64_t on_loss[QUARTERS]
    int64_t on_pass[QUARTERS]


cdef inline int quarter_of(double quarters) noexcept nogil:
    if quarters < LOWEST_QUARTER:
        return 0
    if quarters >= LOWEST_QUARTER + QUARTERS:
        return QUARTERS - 1
    return <int>(quarters - LOWEST_QUARTER)


cdef inline void follow(Fills *fills, const Entry *entries, int64_t n, const double *bucket) noexcept nogil:
    """Follow a bucket that losses show to be empty.

    `bucket`: rate, size, loss limit, pass limit, segment, and whether in a run of losses only the first one shows it:
    nothing takes from the bucket in a run, so that it fills.
    """
    cdef const Entry *e
    cdef bint fills_in_runs = bucket[5] > 0
    cdef bint is_run = False
    cdef double tokens = 0
    cdef double quarters = 4.0 / bucket[4]
    cdef int64_t i, before_ns = entries[0].time_ns
    memset(fills, 0, sizeof(Fills))
    for i in range(n):
        e = entries + i
        tokens += bucket[0] * <double>(e.time_ns - before_ns)
        if tokens > bucket[1]:
            tokens = bucket[1]
        before_ns = e.time_ns
        if (e.flags & (LOST | SPURIOUS)) == LOST:
            if i:
                fills.losses += 1
                fills.losses_outside += tokens > bucket[2]
                fills.on_loss[quarter_of(tokens * quarters)] += 1
            if not is_run:
                tokens = 0
            is_run = fills_in_runs
            continue
        is_run = False
        if not e.flags & HOLE:
            fills.passes += 1
            fills.passes_outside += tokens < bucket[3]
            fills.on_pass[quarter_of(tokens * quarters)] += 1
        tokens -= e.payload


cdef inline double order_of(const Fills *fills) noexcept nogil:
    """The chance that a loss has fewer tokens than a pass, equal ones for a half; ½ if there are none to compare."""
    cdef double smaller = 0, above = <double>fills.passes
    cdef int i
    if fills.losses == 0 or fills.passes == 0:
        return 0.5
    for i in range(QUARTERS):
        above -= <double>fills.on_pass[i]
        smaller += <double>fills.on_loss[i] * (above + 0.5 * <double>fills.on_pass[i])
    return smaller / (<double>fills.losses * <double>fills.passes)
