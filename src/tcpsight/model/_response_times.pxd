# The response times of one slice: exact up to a limit, beyond it a logarithmic histogram.
#
# Buckets: values below 128 ns have one each; above, every power of two is divided into 64, so that the
# middle of a bucket is within 1/128 (0.8 %) of every value in it. The bucket of a value is a matter of
# integers alone, so histograms of parts add up to the histogram of the whole.
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from tcpsight.model._sums cimport Sums, add_to_sums, clear_sums, dispersion_of, wide_to_double, wide_to_int64
from tcpsight.tables cimport Interval

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define tcpsight_highest_bit(v) (63 - __builtin_clzll(v))
    #else
    static inline int tcpsight_highest_bit(unsigned long long v) { int n = 0; while (v >>= 1) n++; return n; }
    #endif
    """
    int highest_bit "tcpsight_highest_bit"(uint64_t value) noexcept nogil

cdef enum:
    # 128 values with buckets of their own, and 64 buckets for each of the 56 powers 2**7 … 2**62.
    BUCKETS = 3712
    FEW = 64  # up to here insertion is the faster sort

cdef struct ResponseTimes:
    int64_t *values      # all of them while `count` <= the limit
    int64_t *scratch     # as long as `values`
    Py_ssize_t capacity
    int64_t *buckets     # NULL until the limit is passed once
    bint is_exact
    int64_t count
    int64_t least
    int64_t most
    Sums sums


cdef inline Py_ssize_t bucket_of(uint64_t value) noexcept nogil:
    """Give the bucket of a value below 2**63."""
    if value < 128:
        return <Py_ssize_t>value
    cdef int power = highest_bit(value)
    return 128 + (power - 7) * 64 + <Py_ssize_t>((value >> (power - 6)) & 63)


cdef inline int64_t middle_of(Py_ssize_t bucket) noexcept nogil:
    """Give the value that stands for a bucket, at most 0.8 % from every value in it."""
    if bucket < 128:
        return bucket
    cdef int shift = <int>((bucket - 128) // 64) + 1
    cdef uint64_t first = <uint64_t>(64 + (bucket - 128) % 64) << shift
    return <int64_t>(first + ((<uint64_t>1 << shift) - 1) // 2)


cdef inline void sort_values(int64_t *values, int64_t *scratch, Py_ssize_t n) noexcept nogil:
    """Sort values >= 0 in linear time whatever they are: bytes from the lowest up, those that differ only."""
    cdef Py_ssize_t counts[256]
    cdef Py_ssize_t i, j, position, here
    cdef int64_t value
    cdef uint64_t differ = 0
    cdef int shift
    cdef int64_t *source = values
    cdef int64_t *target = scratch
    if n <= FEW:
        for i in range(1, n):
            value = values[i]
            j = i
            while j > 0 and values[j - 1] > value:
                values[j] = values[j - 1]
                j -= 1
            values[j] = value
        return
    for i in range(n):
        differ |= <uint64_t>(values[i] ^ values[0])
    for shift in range(0, 64, 8):
        if (differ >> shift) & 0xFF == 0:
            continue
        memset(counts, 0, sizeof(counts))
        for i in range(n):
            counts[(source[i] >> shift) & 0xFF] += 1
        position = 0
        for i in range(256):
            here = counts[i]
            counts[i] = position
            position += here
        for i in range(n):
            j = (source[i] >> shift) & 0xFF
            target[counts[j]] = source[i]
            counts[j] += 1
        source, target = target, source
    if source != values:
        memcpy(values, source, n * sizeof(int64_t))


cdef inline void clear_times(ResponseTimes *times) noexcept nogil:
    """Forget the slice."""
    times.is_exact = True
    times.count = 0
    times.least = 0
    times.most = 0
    clear_sums(&times.sums)


cdef inline void add_time(ResponseTimes *times, int64_t value, Py_ssize_t exact_limit) noexcept nogil:
    """Take one response time; room for it has been made before."""
    cdef Py_ssize_t i
    if times.count == 0 or value < times.least:
        times.least = value
    if value > times.most:
        times.most = value
    add_to_sums(&times.sums, <uint64_t>value)
    if times.is_exact and times.count >= exact_limit:
        times.is_exact = False
        memset(times.buckets, 0, BUCKETS * sizeof(int64_t))
        for i in range(times.count):
            times.buckets[bucket_of(<uint64_t>times.values[i])] += 1
    if times.is_exact:
        times.values[times.count] = value
    else:
        times.buckets[bucket_of(<uint64_t>value)] += 1
    times.count += 1


cdef inline int64_t percentile_of(ResponseTimes *times, int64_t percent) noexcept nogil:
    """Give the nearest-rank percentile of sorted values, or of the histogram; -1 where there is no value."""
    cdef int64_t rank, seen
    cdef Py_ssize_t bucket = 0
    if times.count == 0:
        return -1
    rank = (times.count * percent + 99) // 100
    if times.is_exact:
        return times.values[rank - 1]
    if rank == times.count:
        return times.most
    seen = times.buckets[0]
    while seen < rank:
        bucket += 1
        seen += times.buckets[bucket]
    return min(max(middle_of(bucket), times.least), times.most)


cdef inline void write_times(Interval *row, ResponseTimes *times) noexcept nogil:
    """Write the statistics of the slice, null where it has no arrival, and begin the next."""
    if times.count == 0:
        row.response_time_mean_ns = row.response_time_dispersion_ns = NAN
        row.response_time_p50_ns = row.response_time_p95_ns = row.response_time_p99_ns = -1
        row.response_time_max_ns = -1
        return
    if times.is_exact:
        sort_values(times.values, times.scratch, <Py_ssize_t>times.count)
    row.response_time_sum_ns = wide_to_int64(&times.sums.total)
    row.response_time_mean_ns = wide_to_double(&times.sums.total) / <double>times.count
    row.response_time_p50_ns = percentile_of(times, 50)
    row.response_time_p95_ns = percentile_of(times, 95)
    row.response_time_p99_ns = percentile_of(times, 99)
    row.response_time_max_ns = times.most
    row.response_time_dispersion_ns = dispersion_of(&times.sums, <unsigned long long>times.count)
    clear_times(times)
