# Who waits to arrive, who is resident, and what that adds up to inside the open slice.
from libc.stdint cimport INT64_MAX, int64_t

from tcpsight.model._response_times cimport ResponseTimes, add_time
from tcpsight.model._sums cimport Wide, add_product, clear_wide, wide_to_double, wide_to_int64
from tcpsight.tables cimport Interval

cdef enum:
    # Instants are held within 2**62 ns of the epoch (1823 to 2116), so that no difference of two overflows.
    INSTANT_BITS = 62

cdef struct Stay:
    int64_t arrival
    int64_t departure

cdef struct Residence:
    Stay *waiting          # given, not yet arrived: [head, tail), in order of arrival
    Py_ssize_t head
    Py_ssize_t tail
    Py_ssize_t capacity
    int64_t *departures    # of those resident: a binary heap, the earliest first
    Py_ssize_t residents
    Py_ssize_t heap_capacity
    int64_t last_given     # arrival of the last row that was given
    int64_t now            # the sums below hold up to this instant
    int64_t arrivals       # inside the open slice, as are all below
    int64_t completions
    int64_t busy
    Wide weighted


cdef inline void push_departure(Residence *here, int64_t departure) noexcept nogil:
    """Add one resident; room has been made before."""
    cdef Py_ssize_t i = here.residents
    cdef Py_ssize_t parent
    here.residents += 1
    while i > 0:
        parent = (i - 1) >> 1
        if here.departures[parent] <= departure:
            break
        here.departures[i] = here.departures[parent]
        i = parent
    here.departures[i] = departure


cdef inline void pop_departure(Residence *here) noexcept nogil:
    """Remove the resident that leaves first."""
    cdef Py_ssize_t n = here.residents - 1
    cdef int64_t moved = here.departures[n]
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t child = 1
    here.residents = n
    while child < n:
        if child + 1 < n and here.departures[child + 1] < here.departures[child]:
            child += 1
        if here.departures[child] >= moved:
            break
        here.departures[i] = here.departures[child]
        i = child
        child = 2 * i + 1
    if n:
        here.departures[i] = moved


cdef inline void advance(Residence *here, int64_t instant) noexcept nogil:
    """Let time pass: the residents there are stay until `instant`."""
    cdef int64_t passed = instant - here.now
    if here.residents:
        here.busy += passed
        add_product(&here.weighted, <unsigned long long>here.residents, <unsigned long long>passed)
    here.now = instant


cdef inline void clear_sums_of(Residence *here) noexcept nogil:
    """Begin the sums of a slice; the residents stay."""
    here.arrivals = 0
    here.completions = 0
    here.busy = 0
    clear_wide(&here.weighted)


cdef inline int64_t next_event(const Residence *here, int64_t departures_before) noexcept nogil:
    """Give the next arrival, or departure before an instant, that is known; INT64_MAX if there is none."""
    cdef int64_t following = here.waiting[here.head].arrival if here.head < here.tail else INT64_MAX
    if here.residents and here.departures[0] < departures_before:
        following = min(following, here.departures[0])
    return following


cdef inline bint live_until(
    Residence *here, ResponseTimes *times, int64_t arrivals_before, int64_t departures_before, Py_ssize_t exact_limit
) noexcept nogil:
    """Live through the arrivals and departures before these instants; tell whether there was one.

    At the same instant arrivals go first; no sum depends on it, as no time passes between them.
    """
    cdef int64_t arrival, departure
    cdef bint is_eventful = False
    while True:
        arrival = here.waiting[here.head].arrival if here.head < here.tail else INT64_MAX
        departure = here.departures[0] if here.residents else INT64_MAX
        if arrival <= departure:
            if arrival >= arrivals_before:
                return is_eventful
            advance(here, arrival)
            departure = here.waiting[here.head].departure
            here.head += 1
            here.arrivals += 1
            push_departure(here, departure)
            if times != NULL:
                add_time(times, departure - arrival, exact_limit)
        else:
            if departure >= departures_before:
                return is_eventful
            advance(here, departure)
            pop_departure(here)
            here.completions += 1
        is_eventful = True


cdef inline void write_residence(Interval *row, Residence *answered, Residence *unanswered) noexcept nogil:
    """Write what was counted inside the slice, whose length is in the row, and begin the next."""
    cdef double length = <double>row.length_ns
    row.arrivals = answered.arrivals
    row.completions = answered.completions
    row.backlog = answered.residents
    row.busy_ns = answered.busy
    row.weighted_ns = wide_to_int64(&answered.weighted)
    row.unanswered = unanswered.arrivals
    row.unanswered_backlog = unanswered.residents
    row.unanswered_weighted_ns = wide_to_int64(&unanswered.weighted)
    row.arrival_rate_per_s = <double>answered.arrivals * 1e9 / length
    row.throughput_per_s = <double>answered.completions * 1e9 / length
    row.concurrency = wide_to_double(&answered.weighted) / length
    row.utilization_fraction = <double>answered.busy / length
    clear_sums_of(answered)
    clear_sums_of(unanswered)
