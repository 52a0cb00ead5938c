# The segments in flight: a ring per direction, in the order of their numbers, that grows with what is in flight.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from tcpsight.network._state cimport (
    FIRST_BITS, KEPT_BITS, MOST_BITS, MOST_SENT_BYTES, RESENT, UNCLEAN, Flow, Memory, Sent,
)


cdef inline Sent *ring_of(Flow *f) noexcept nogil:
    if f.size_bits == FIRST_BITS:
        return f.few_sent
    return f.sent


cdef inline uint32_t size_of(const Flow *f) noexcept nogil:
    return <uint32_t>1 << f.size_bits


cdef inline Sent *sent_at(Flow *f, uint32_t i) noexcept nogil:
    """The i-th oldest segment in flight."""
    return ring_of(f) + ((f.head + i) & (size_of(f) - 1))


cdef inline void resize(Flow *f, Memory *memory, uint8_t bits) noexcept nogil:
    """Make room for 2 ** `bits` segments, not below `count`; without memory for that nothing changes."""
    cdef Sent *fresh
    cdef uint32_t i, size = <uint32_t>1 << bits
    cdef int64_t old_bytes = <int64_t>(size_of(f) * sizeof(Sent)) if f.size_bits != FIRST_BITS else 0
    cdef int64_t more = <int64_t>(size * sizeof(Sent)) - old_bytes
    if bits == FIRST_BITS:
        fresh = f.few_sent
        more = -old_bytes
    else:
        if memory.sent_bytes + more > MOST_SENT_BYTES:
            return
        fresh = <Sent *>malloc(size * sizeof(Sent))
        if fresh == NULL:
            return
    for i in range(f.count):
        fresh[i] = sent_at(f, i)[0]
    free(f.sent)
    f.sent = fresh if fresh != f.few_sent else NULL
    f.size_bits = bits
    f.head = 0
    memory.sent_bytes += more


cdef inline Sent *push(Flow *f, Memory *memory) noexcept nogil:
    """Room for one more segment in flight; NULL if there is none, then no round trip is measured by it."""
    if f.count == size_of(f):
        if f.size_bits == MOST_BITS:
            return NULL
        resize(f, memory, <uint8_t>(f.size_bits + 2))
        if f.count == size_of(f):
            return NULL
    f.count += 1
    return sent_at(f, f.count - 1)


cdef inline void pop(Flow *f, Memory *memory) noexcept nogil:
    f.count -= 1
    if f.count:
        f.head = <uint16_t>((f.head + 1) & (size_of(f) - 1))
        return
    f.head = 0  # the next one finds the first place again, which is fetched ahead
    if f.size_bits > KEPT_BITS:
        resize(f, memory, FIRST_BITS)


cdef inline Sent *find_sent(Flow *f, int64_t start, int64_t end) noexcept nogil:
    """The newest segment in flight that ends in (start, end]; NULL if there is none."""
    cdef Sent *sent
    cdef uint32_t low = 0, high = f.count, middle
    while low < high:  # the first whose end is beyond `end`
        middle = (low + high) >> 1
        if sent_at(f, middle).end <= end:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return NULL
    sent = sent_at(f, low - 1)
    return sent if sent.end > start else NULL


cdef inline void mark_resent(Flow *f, int64_t start, int64_t end) noexcept nogil:
    """Note that whatever of [start, end) is in flight was sent again."""
    cdef Sent *sent
    cdef uint32_t i = f.count
    while i > 0:
        i -= 1
        sent = sent_at(f, i)
        if sent.end <= start:
            return
        if sent.end - sent.payload - sent.controls < end:
            sent.flags |= RESENT


cdef inline void mark_unclean(Flow *f, int64_t start) noexcept nogil:
    """Note that acknowledgments of what lies above `start` were held back by a hole."""
    cdef uint32_t i = f.count
    while i > 0:
        i -= 1
        if sent_at(f, i).end <= start:
            return
        sent_at(f, i).flags |= UNCLEAN
