# Round trips: smoothed as RFC 6298 says, the shortest and longest exact, percentiles from a logarithmic histogram.
cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc, realloc
from libc.string cimport memcpy, memset
from tcpsight.network._state cimport (
    FEW_ROUND_TRIPS, HAS_CLEAN, HAS_SAFE, OCTAVES, PENDING_ROUND_TRIPS, Flow, Octaves, Slot, larger, smaller,
)

cdef enum:
    # Sixteen bins to an octave from 1.024 µs to 137 s: a bin's middle is within 3.1 % of whatever lies in it.
    # Octave 0 has one bin, the last of its block, for what is below.
    LOWEST_BITS = 10
    BLOCK = 16
    FIRST_ROOM = 3          # octaves for which there is room at first: the usual connection needs no more

cdef extern from *:
    """
    #define TCPSIGHT_MOST_ROUND_TRIPS 0xFFFFFFF8u
    """
    const uint32_t MOST_ROUND_TRIPS "TCPSIGHT_MOST_ROUND_TRIPS"     # percentiles are of the first so many


cdef extern from *:
    """
    #if defined(__GNUC__)
    static inline int tcpsight_bits(unsigned long long n) { return 64 - __builtin_clzll(n); }
    #else
    static inline int tcpsight_bits(unsigned long long n) { int bits = 0; while (n) { n >>= 1; bits++; } return bits; }
    #endif
    """
    int tcpsight_bits(uint64_t n) noexcept nogil


cdef inline uint32_t bin_of(int64_t round_trip_ns) noexcept nogil:
    """The last bin of octave 0 holds what is below 1.024 µs; the last one of all also what is above."""
    cdef uint32_t octave
    if round_trip_ns < 1 << LOWEST_BITS:
        return BLOCK - 1
    octave = tcpsight_bits(<uint64_t>round_trip_ns) - LOWEST_BITS
    if octave >= OCTAVES:
        return BLOCK * OCTAVES - 1
    return BLOCK * octave + <uint32_t>((round_trip_ns >> (octave + LOWEST_BITS - 5)) & (BLOCK - 1))


cdef inline int64_t middle_of(uint32_t bin) noexcept nogil:
    """The middle of a bin."""
    cdef int64_t width
    cdef uint32_t octave = bin // BLOCK
    if octave == 0:
        return 1 << (LOWEST_BITS - 1)
    width = <int64_t>1 << (octave + LOWEST_BITS - 5)
    return (BLOCK + (bin & (BLOCK - 1))) * width + (width >> 1)


cdef inline uint32_t *counts_of(const Octaves *o, uint32_t octave) noexcept nogil:
    """The counts of an octave that has some."""
    return <uint32_t *>(o + 1) + BLOCK * (o.block_of[octave] - 1)


cdef inline bint add_octave(Flow *f, uint32_t octave) noexcept nogil:
    """Give an octave a block of counts; False if there is no memory for it."""
    cdef Octaves *o = f.round_trips
    cdef uint32_t room
    if o == NULL or o.used == o.room:
        room = FIRST_ROOM if o == NULL else o.room + FIRST_ROOM
        o = <Octaves *>realloc(o, sizeof(Octaves) + room * BLOCK * sizeof(uint32_t))
        if o == NULL:
            return False
        if f.round_trips == NULL:
            memset(o, 0, sizeof(Octaves))
        o.room = <uint8_t>room
        f.round_trips = o
    o.used += 1
    o.block_of[octave] = o.used
    memset(counts_of(o, octave), 0, BLOCK * sizeof(uint32_t))
    return True


cdef inline void count_pending(Flow *f, uint32_t pending) noexcept nogil:
    """Count the round trips that were put aside, all at once."""
    cdef uint32_t i, octave
    for i in range(pending):
        octave = f.pending[i] // BLOCK
        if (f.round_trips == NULL or f.round_trips.block_of[octave] == 0) and not add_octave(f, octave):
            f.rtt_kept -= 1
            continue
        counts_of(f.round_trips, octave)[f.pending[i] & (BLOCK - 1)] += 1


cdef inline void keep_round_trip(Flow *f, int64_t round_trip_ns) noexcept nogil:
    """Keep a round trip for the percentiles."""
    f.rtt_max_ns = larger(f.rtt_max_ns, round_trip_ns)
    if f.rtt_kept < FEW_ROUND_TRIPS:
        f.few[f.rtt_kept] = round_trip_ns
    elif f.rtt_kept == MOST_ROUND_TRIPS:
        return
    f.pending[f.rtt_kept & (PENDING_ROUND_TRIPS - 1)] = <uint16_t>bin_of(round_trip_ns)
    f.rtt_kept += 1
    if f.rtt_kept & (PENDING_ROUND_TRIPS - 1) == 0:
        count_pending(f, PENDING_ROUND_TRIPS)


cdef inline void forget_round_trips(Flow *f) noexcept nogil:
    f.rtt_kept = 0
    f.rtt_max_ns = 0
    if f.round_trips != NULL:
        memset(f.round_trips.block_of, 0, OCTAVES)
        f.round_trips.used = 0


cdef inline void settle_round_trips(Flow *f) noexcept nogil:
    """Before percentiles are asked for: few are looked at one by one, of more all are counted."""
    if f.rtt_kept > FEW_ROUND_TRIPS:
        count_pending(f, f.rtt_kept & (PENDING_ROUND_TRIPS - 1))


cdef inline bint own_round_trips(Flow *f) noexcept nogil:
    """Give a copy of a flow counts of its own; False if there is no memory for them. They are to be freed."""
    cdef size_t size
    cdef void *counts
    if f.round_trips == NULL:
        return True
    size = sizeof(Octaves) + f.round_trips.room * BLOCK * sizeof(uint32_t)
    counts = malloc(size)
    if counts != NULL:
        memcpy(counts, f.round_trips, size)
    f.round_trips = <Octaves *>counts
    return counts != NULL


@cython.overflowcheck(False)
cdef inline void smooth(Flow *f, int64_t round_trip_ns) noexcept nogil:
    """RFC 6298 §2, in whole nanoseconds."""
    cdef int64_t off
    if f.rtt_samples == 0:
        f.srtt_ns = round_trip_ns
        f.rttvar_ns = round_trip_ns >> 1
        return
    off = f.srtt_ns - round_trip_ns
    f.rttvar_ns += ((off if off >= 0 else -off) - f.rttvar_ns) >> 2
    f.srtt_ns -= off >> 3


cdef inline void note_shortest(Slot *slot, const Flow *f) noexcept nogil:
    """`f` has a new shortest round trip, its first one perhaps."""
    cdef const Flow *other = &slot.flows[f == &slot.flows[0]]
    if other.rtt_samples:
        slot.round_trip_ns = f.rtt_min_ns + other.rtt_min_ns


cdef inline void take_shortest(Slot *slot, Flow *f, int64_t round_trip_ns, bint is_safe) noexcept nogil:
    """Keep the shortest; of those within which a clock may have been set back only while there are no others."""
    if is_safe and not f.flags & HAS_SAFE:
        f.flags |= HAS_SAFE
    elif f.rtt_samples and (round_trip_ns >= f.rtt_min_ns or (f.flags & HAS_SAFE and not is_safe)):
        return
    f.rtt_min_ns = round_trip_ns
    note_shortest(slot, f)


cdef inline void take_round_trip(
    Slot *slot, Flow *f, int64_t round_trip_ns, bint is_delayed, bint is_safe
) noexcept nogil:
    """Take a round trip. One that may hold a delayed acknowledgment counts for percentiles until there is a clean one."""
    smooth(f, round_trip_ns)
    take_shortest(slot, f, round_trip_ns, is_safe)
    f.rtt_samples += f.rtt_samples != 0xFFFFFFFFu
    if is_delayed:
        f.rtt_delayed += f.rtt_delayed != 0xFFFFFFFFu
        if f.flags & HAS_CLEAN:
            return
    elif not f.flags & HAS_CLEAN:
        f.flags |= HAS_CLEAN
        forget_round_trips(f)
    keep_round_trip(f, round_trip_ns)


cdef inline int64_t time_out_after(int64_t srtt_ns, int64_t rttvar_ns) noexcept nogil:
    """RFC 6298 §2.3, without its lower bound; between the ends of time it would not fit."""
    if rttvar_ns > (INT64_MAX - srtt_ns) >> 2:
        return INT64_MAX
    return srtt_ns + 4 * rttvar_ns


cdef inline int64_t nearest_rank(uint32_t percent, uint32_t n) noexcept nogil:
    """The rank, from 1 on, of a percentile of n values: the smallest that so much of them do not exceed."""
    return larger(1, (<int64_t>percent * n + 99) // 100)


cdef inline int64_t percentile(const Flow *f, uint32_t percent) noexcept nogil:
    """A percentile of the round trips that were kept and settled; −1 if there are none."""
    cdef int64_t rank, below = 0
    cdef uint32_t i, j, smaller_ones, octave
    if f.rtt_kept == 0:
        return -1
    rank = nearest_rank(percent, f.rtt_kept)
    if f.rtt_kept <= FEW_ROUND_TRIPS:
        for i in range(f.rtt_kept):
            smaller_ones = 0
            for j in range(f.rtt_kept):
                smaller_ones += f.few[j] < f.few[i] or (f.few[j] == f.few[i] and j < i)
            if smaller_ones == rank - 1:
                return f.few[i]
    for octave in range(<uint32_t>OCTAVES):
        if f.round_trips.block_of[octave] == 0:
            continue
        for i in range(<uint32_t>BLOCK):
            below += counts_of(f.round_trips, octave)[i]
            if below >= rank:
                # No further than what is exact.
                return larger(f.rtt_min_ns, smaller(f.rtt_max_ns, middle_of(BLOCK * octave + i)))
    return f.rtt_max_ns
