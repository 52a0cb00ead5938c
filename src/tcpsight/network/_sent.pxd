# The segments in flight: a ring per direction, in the order of their numbers, that grows with what is in flight.
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from tcpsight.network._state cimport (
    FIRST_SENT, KEPT_SENT, MOST_SENT, MOST_SENT_BYTES, RESENT, UNCLEAN, Flow, Memory, Sent,
)


cdef inline Sent *ring_of(Flow *f) noexcept nogil:
    return f.sent if f.sent != NULL else f.few_sent


cdef inline Sent *sent_at(Flow *f, uint32_t i) noexcept nogil:
    """The i-th oldest segment in flight."""
    return ring_of(f) + ((f.head + i) & (f.size - 1))


cdef inline void resize(Flow *f, Memory *memory, uint32_t size) noexcept nogil:
    """Make room for `size` segments, a power of two not below `count`; without memory for that nothing changes."""
    cdef Sent *fresh
    cdef uint32_t i
    cdef int64_t old_bytes = f.size * sizeof(Sent) if f.sent != NULL else 0
    cdef int64_t more = <int64_t>(size * sizeof(Sent)) - old_bytes
    if size <= FIRST_SENT:
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
    f.size = <uint16_t>size
    f.head = 0
    memory.sent_bytes += more


cdef inline Sent *push(Flow *f, Memory *memory) noexcept nogil:
    """Room for one more segment in flight; NULL if there is none, then no round trip is measured by it."""
    if f.count == f.size:
        if f.size >= MOST_SENT:
            return NULL
        resize(f, memory, 4 * f.size)
        if f.count == f.size:
            return NULL
    f.count += 1
    return sent_at(f, f.count - 1)


cdef inline void pop(Flow *f, Memory *memory) noexcept nogil:
    f.head = <uint16_t>((f.head + 1) & (f.size - 1))
    f.count -= 1
    if f.count == 0 and f.size > KEPT_SENT:
        resize(f, memory, FIRST_SENT)


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
