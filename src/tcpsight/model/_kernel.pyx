"""Sweep requests in order of arrival into slices of time, one or several series side by side.

Theory of operation
-------------------
Time moves from event to event (an arrival or a departure), and between two events the number of residents
is constant, so time-weighted sums grow by exact integers. Departures of residents wait in a binary heap:
memory follows concurrency. A slice is written once time has passed its end; a run of slices in which
nothing happens is held back until its length is known. All series are cut at the same instants, whether
something happens in one or in another, so a slice gives one row for each of them.
"""

from libc.math cimport NAN
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memmove, memset

from tcpsight.model._residence cimport (
    INSTANT_BITS,
    Residence,
    Stay,
    advance,
    live_until,
    next_event,
    push_departure,
    write_residence,
)
from tcpsight.model._response_times cimport BUCKETS, ResponseTimes, bucket_of, clear_times, middle_of, write_times
from tcpsight.tables cimport Interval, Request, UnansweredRequest

cdef struct Series:
    Residence answered
    Residence unanswered
    ResponseTimes times

LAST_INSTANT_NS = (<int64_t>1 << INSTANT_BITS) - 1
BUCKET_COUNT = BUCKETS


cdef inline int64_t clamped(int64_t instant) noexcept nogil:
    cdef int64_t most = (<int64_t>1 << INSTANT_BITS) - 1
    return min(max(instant, -most), most)


cdef inline int64_t floored(int64_t instant, int64_t interval) noexcept nogil:
    """Round down to a multiple of the interval, before the epoch too."""
    cdef int64_t beyond = instant % interval  # C: the sign of the instant
    return instant - beyond - (interval if beyond < 0 else 0)


cdef int grown(void **block, Py_ssize_t *capacity, Py_ssize_t needed, Py_ssize_t size) except -1:
    """Make a block at least `needed` items of `size` bytes long."""
    cdef Py_ssize_t larger = capacity[0]
    cdef void *moved
    if needed <= larger:
        return 0
    larger = max(needed, 2 * larger, 64)
    moved = realloc(block[0], <size_t>(larger * size))
    if moved == NULL:
        raise MemoryError
    block[0] = moved
    capacity[0] = larger
    return 0


cdef class Sweep:
    """Slices of one or more series of requests.

    Parameters
    ----------
    series : int
        How many series are kept side by side.
    interval_ns, first_ns : int
        Length of a slice; start of the capture.
    exact_limit : int
        Up to how many arrivals a slice's percentiles are exact.
    longest_run : int
        How many uneventful slices in a row get rows of their own.
    """

    cdef Series *series
    cdef int count
    cdef int64_t interval
    cdef int64_t start        # of the open slice
    cdef int64_t aligned_end  # of the open slice
    cdef int64_t first
    cdef int64_t last         # of the capture; INT64_MAX while it is not known
    cdef int64_t swept        # nothing that arrives before this may come any more
    cdef Py_ssize_t exact_limit
    cdef int64_t longest_run
    cdef int64_t last_given[2]
    cdef bint is_eventful
    cdef bint is_done
    cdef readonly int64_t latest_ns
    cdef readonly int64_t outside

    def __cinit__(self, int series, int64_t interval_ns, int64_t first_ns, Py_ssize_t exact_limit, int64_t longest_run):
        cdef int i
        if series < 1 or interval_ns < 1 or interval_ns >> INSTANT_BITS or exact_limit < 1 or longest_run < 1:
            raise ValueError("series, interval_ns, exact_limit and longest_run must be positive")
        self.series = <Series *>calloc(<size_t>series, sizeof(Series))
        if self.series == NULL:
            raise MemoryError
        self.count = series
        self.interval = interval_ns
        self.first = clamped(first_ns)
        self.start = self.first
        self.aligned_end = floored(self.first, interval_ns) + interval_ns
        self.last = INT64_MAX
        self.swept = INT64_MIN
        self.exact_limit = exact_limit
        self.longest_run = longest_run
        self.last_given[0] = self.last_given[1] = INT64_MIN
        self.latest_ns = self.first
        for i in range(series):
            self.series[i].answered.now = self.series[i].unanswered.now = self.first
            clear_times(&self.series[i].times)

    def __dealloc__(self):
        cdef int i
        if self.series == NULL:
            return
        for i in range(self.count):
            free(self.series[i].answered.waiting)
            free(self.series[i].answered.departures)
            free(self.series[i].unanswered.waiting)
            free(self.series[i].unanswered.departures)
            free(self.series[i].times.values)
            free(self.series[i].times.scratch)
            free(self.series[i].times.buckets)
        free(self.series)

    def end_at(self, int64_t last_ns):
        """Say when the capture ends; what happens later is outside of it."""
        cdef int64_t last = clamped(last_ns)
        if last < self.first or last < self.swept:
            raise ValueError("the capture can't end before its first instant, nor before rows already taken")
        self.last = last

    def take(self, const unsigned char[::1] rows, Py_ssize_t row_bytes, const int32_t[::1] codes, *, bint is_unanswered):
        """Append rows in order of arrival; `codes` (empty for all 0) says to which series each belongs."""
        cdef Py_ssize_t n = rows.shape[0] // row_bytes if row_bytes > 0 else 0
        cdef Py_ssize_t i
        cdef const unsigned char *row
        cdef int64_t arrival, departure
        cdef int code = 0
        if row_bytes < <Py_ssize_t>(sizeof(UnansweredRequest) if is_unanswered else sizeof(Request)):
            raise ValueError("rows are too short")
        if n * row_bytes != rows.shape[0] or (codes.shape[0] != 0 and codes.shape[0] != n):
            raise ValueError("lengths disagree")
        self._reserve(n, codes, is_unanswered)
        for i in range(n):
            row = &rows[0] + i * row_bytes
            arrival = clamped((<const Request *>row).arrival_ns)
            departure = (<const UnansweredRequest *>row).end_ns if is_unanswered else (<const Request *>row).completion_ns
            departure = max(arrival, clamped(departure))
            if arrival < self.last_given[is_unanswered] or arrival < self.swept:
                raise ValueError("requests must come in order of arrival")
            self.last_given[is_unanswered] = arrival
            self.latest_ns = max(self.latest_ns, departure)
            code = codes[i] if codes.shape[0] else 0
            self._append(&self.series[code].unanswered if is_unanswered else &self.series[code].answered, arrival, departure)

    cdef int _reserve(self, Py_ssize_t n, const int32_t[::1] codes, bint is_unanswered) except -1:
        cdef Py_ssize_t i, needed
        cdef Residence *here
        cdef int code
        counts = [0] * self.count
        if codes.shape[0] == 0:
            counts[0] = n
        for i in range(codes.shape[0]):
            if codes[i] < 0 or codes[i] >= self.count:
                raise ValueError("a code names no series")
            counts[codes[i]] += 1
        for code in range(self.count):
            here = &self.series[code].unanswered if is_unanswered else &self.series[code].answered
            if here.head:
                memmove(here.waiting, here.waiting + here.head, <size_t>(here.tail - here.head) * sizeof(Stay))
                here.tail -= here.head
                here.head = 0
            needed = here.tail + <Py_ssize_t>counts[code]
            grown(<void **>&here.waiting, &here.capacity, needed, sizeof(Stay))
            grown(<void **>&here.departures, &here.heap_capacity, here.residents + needed, sizeof(int64_t))
            if not is_unanswered:
                self._reserve_times(&self.series[code].times, needed)
        return 0

    cdef int _reserve_times(self, ResponseTimes *times, Py_ssize_t arriving) except -1:
        cdef Py_ssize_t needed = min(<Py_ssize_t>times.count + arriving, self.exact_limit)
        cdef Py_ssize_t capacity = times.capacity
        grown(<void **>&times.scratch, &capacity, needed, sizeof(int64_t))
        grown(<void **>&times.values, &times.capacity, needed, sizeof(int64_t))
        if times.buckets == NULL and times.count + arriving > self.exact_limit:
            times.buckets = <int64_t *>calloc(BUCKETS, sizeof(int64_t))
            if times.buckets == NULL:
                raise MemoryError
        return 0

    cdef void _append(self, Residence *here, int64_t arrival, int64_t departure) noexcept nogil:
        if arrival < self.first or arrival > self.last:
            self.outside = self.outside + 1
            if arrival < self.first and departure >= self.first:
                push_departure(here, departure)  # resident when the capture begins
            return
        here.waiting[here.tail].arrival = arrival
        here.waiting[here.tail].departure = departure
        here.tail += 1

    def sweep(self, unsigned char[:, ::1] out, *, bint is_over):
        """Write the rows that are complete into `out`; fewer than would fit means there are no more now.

        Time has come as far as the last answered request that was given or, `is_over`, to the end.
        """
        cdef int64_t until = max(self.swept, min(self.last_given[0], self.last))
        cdef Py_ssize_t rows = 0
        cdef bint is_open = True
        if out.shape[1] < <Py_ssize_t>sizeof(Interval) or out.shape[0] < self.count:
            raise ValueError("no room for the rows of one slice")
        if is_over:
            if self.last == INT64_MAX:
                self.end_at(self.latest_ns)
            until = self.last
        self.swept = until
        with nogil:
            while is_open and not self.is_done and rows + self.count <= out.shape[0]:
                is_open = self._pass_slice(until, is_over, &out[rows, 0], out.shape[1])
                rows += self.count if is_open else 0
        if self.is_done:
            self._leave_outside()
        return rows

    cdef void _leave_outside(self) noexcept:
        cdef int i
        for i in range(self.count):
            self.outside += self.series[i].answered.tail - self.series[i].answered.head
            self.outside += self.series[i].unanswered.tail - self.series[i].unanswered.head
            self.series[i].answered.head = self.series[i].answered.tail
            self.series[i].unanswered.head = self.series[i].unanswered.tail

    cdef bint _pass_slice(self, int64_t until, bint is_over, unsigned char *out, Py_ssize_t row_bytes) noexcept nogil:
        """Live through the open slice and write it if it is complete; tell whether it was."""
        cdef bint is_last = self.last <= self.aligned_end
        cdef int64_t end = self.last if is_last else self.aligned_end
        # The capture's last instant belongs to its last slice, wherever the boundary lies.
        cdef int64_t before = min(end + is_last, until + 1)
        cdef Series *one
        cdef int i
        for i in range(self.count):
            one = &self.series[i]
            if live_until(&one.answered, &one.times, before, before, self.exact_limit):
                self.is_eventful = True
            # Who waits for an answer to the end of the capture is still there at its end, which may be `until`.
            if live_until(&one.unanswered, NULL, before, min(end, until), self.exact_limit):
                self.is_eventful = True
        # At `until` itself the capture may yet turn out to end, so a slice that ends there stays open.
        if not is_over and (is_last or until <= end):
            return False
        if not self.is_eventful and not is_last:
            return self._pass_run(until, is_over, out, row_bytes)
        self._write(end, False, out, row_bytes)
        self.is_done = is_last
        return True

    cdef bint _pass_run(self, int64_t until, bint is_over, unsigned char *out, Py_ssize_t row_bytes) noexcept nogil:
        """Write the next row of a run of slices in which nothing happens, once its length is known."""
        cdef int64_t following = INT64_MAX
        cdef int64_t end, beyond
        cdef int i
        for i in range(self.count):
            following = min(following, next_event(&self.series[i].answered, INT64_MAX))
            following = min(following, next_event(&self.series[i].unanswered, self.last))
        if not is_over and following >= until:
            return False
        # The start of the slice where something happens again, or the end.
        end = self.last
        if following <= self.last:
            end = floored(min(following, self.last - 1), self.interval)
        beyond = end - self.aligned_end
        if 1 + beyond // self.interval + (beyond % self.interval != 0) > self.longest_run:
            self._write(end, True, out, row_bytes)
            self.is_done = end == self.last
        else:
            self._write(self.aligned_end, False, out, row_bytes)
        return True

    cdef void _write(self, int64_t end, bint is_gap, unsigned char *out, Py_ssize_t row_bytes) noexcept nogil:
        """Close the open slice, or the run that begins with it, at `end`; open the next."""
        cdef Series *one
        cdef Interval *row
        cdef int i
        for i in range(self.count):
            one = &self.series[i]
            row = <Interval *>(out + i * row_bytes)
            memset(row, 0, <size_t>row_bytes)
            advance(&one.answered, end)
            advance(&one.unanswered, end)
            row.start_ns = self.start
            row.length_ns = max(end - self.start, 1)
            row.is_partial = (
                self.start == end or self.start % self.interval != 0 or end % self.interval != 0
            )
            row.is_gap = is_gap
            write_residence(row, &one.answered, &one.unanswered)
            if self.start == end:
                # All of the capture is one instant, in which there are no rates.
                row.arrival_rate_per_s = row.throughput_per_s = row.concurrency = row.utilization_fraction = NAN
            write_times(row, &one.times)
        self.start = end
        self.aligned_end = floored(end, self.interval) + self.interval
        self.is_eventful = False


def classify(
    const unsigned char[::1] rows,
    Py_ssize_t row_bytes,
    const unsigned char[:, ::1] addresses,
    const int32_t[::1] ports,
    int32_t[::1] codes,
    *,
    bint is_client,
):
    """Write into `codes` which key each request belongs to; the number of keys where it is none of them.

    `addresses`, shape (keys, 16), and `ports`, shape (keys,), name the keys; port -1 stands for any.
    """
    cdef Py_ssize_t n = codes.shape[0]
    cdef Py_ssize_t keys = ports.shape[0]
    cdef Py_ssize_t i, k
    cdef Request *row
    cdef uint8_t *address
    if row_bytes < <Py_ssize_t>sizeof(Request) or n * row_bytes != rows.shape[0]:
        raise ValueError("lengths disagree")
    if addresses.shape[0] != keys or addresses.shape[1] != 16:
        raise ValueError("a key is 16 bytes of address and a port")
    with nogil:
        for i in range(n):
            row = <Request *>(&rows[0] + i * row_bytes)
            if is_client:
                address = row.client_address
            else:
                address = row.server_address
            for k in range(keys):
                if (ports[k] < 0 or ports[k] == row.server_port) and memcmp(&addresses[k, 0], address, 16) == 0:
                    break
            else:
                k = keys
            codes[i] = <int32_t>k


def add_to_buckets(const int64_t[::1] values, int64_t[::1] buckets):
    """Count durations (negative ones as 0) in the logarithmic buckets, shape (BUCKET_COUNT,)."""
    cdef Py_ssize_t i
    if buckets.shape[0] != BUCKETS:
        raise ValueError("the histogram has another number of buckets")
    with nogil:
        for i in range(values.shape[0]):
            buckets[bucket_of(<unsigned long long>max(values[i], 0))] += 1


def bucket_middles(int64_t[::1] middles):
    """Write the value that stands for each bucket, shape (BUCKET_COUNT,)."""
    cdef Py_ssize_t i
    for i in range(min(middles.shape[0], BUCKETS)):
        middles[i] = middle_of(i)
