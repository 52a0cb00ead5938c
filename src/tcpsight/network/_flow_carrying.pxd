# What is measured of open connections as bytes, from one capture to the next. In a record pointers say only whether
# something follows it; whatever a rule uses as an index, or follows, is looked at before it is believed.
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport malloc
from tcpsight._door cimport Carried, read_carried, read_new, write_carried
from tcpsight.network._round_trips cimport BLOCK
from tcpsight.network._sent cimport sent_at
from tcpsight.network._state cimport (
    CAUSES, FEW_ROUND_TRIPS, FIRST_BITS, FIRST_HOLES, HAS_HOLES, MOST_BITS, MOST_HOLE_BYTES, MOST_HOLES, MOST_RESENT,
    MOST_SENT_BYTES, OCTAVES, PENDING_ROUND_TRIPS, STAMPS, Flow, Hole, Memory, Octaves, Rare, Sent, Slot, pass_step,
)

cdef enum:
    BLOCK_BYTES = 64        # the counts of an octave


# --- out --------------------------------------------------------------------------------------------------------


cdef inline int64_t flow_bytes(const Flow *f) noexcept nogil:
    cdef int64_t total = 0
    if f.size_bits != FIRST_BITS:
        total += f.count * <int64_t>sizeof(Sent)
    if f.rare != NULL:
        total += <int64_t>sizeof(Rare) + f.rare.hole_count * <int64_t>sizeof(Hole)
    if f.round_trips != NULL:
        total += <int64_t>sizeof(Octaves) + f.round_trips.used * <int64_t>BLOCK_BYTES
    return total


cdef inline int64_t carried_bytes(const Slot *slot) noexcept nogil:
    return <int64_t>sizeof(Slot) + flow_bytes(&slot.flows[0]) + flow_bytes(&slot.flows[1])


cdef inline void mark_pointers(Flow *f) noexcept nogil:
    """In a copy that is written: 1 where something follows."""
    f.sent = NULL
    f.rare = <Rare *><size_t>(f.rare != NULL)
    f.round_trips = <Octaves *><size_t>(f.round_trips != NULL)
    if f.size_bits != FIRST_BITS:
        f.head = 0


cdef inline void write_flow(Carried *out, Flow *f) noexcept nogil:
    cdef uint32_t i
    cdef Rare rare
    if f.size_bits != FIRST_BITS:
        for i in range(f.count):
            write_carried(out, sent_at(f, i), sizeof(Sent))
    if f.rare != NULL:
        rare = f.rare[0]
        rare.holes = NULL
        write_carried(out, &rare, sizeof(Rare))
        write_carried(out, f.rare.holes, f.rare.hole_count * <int64_t>sizeof(Hole))
    if f.round_trips != NULL:
        write_carried(out, f.round_trips, <int64_t>sizeof(Octaves) + f.round_trips.used * <int64_t>BLOCK_BYTES)


cdef inline void write_slot(Carried *out, Slot *slot, uint32_t steps) noexcept nogil:
    cdef Slot copy = slot[0]
    cdef int d
    if copy.steps != steps:
        pass_step(&copy)
    copy.steps = 0
    for d in range(2):
        mark_pointers(&copy.flows[d])
    write_carried(out, &copy, sizeof(Slot))
    for d in range(2):
        write_flow(out, &slot.flows[d])


# --- in ---------------------------------------------------------------------------------------------------------


cdef inline bint is_right_flow(const Flow *f, bint has_rare, bint has_round_trips) noexcept nogil:
    """Whether everything that does not follow is something that a rule relies on."""
    cdef uint32_t size
    cdef int i
    if f.size_bits < FIRST_BITS or f.size_bits > MOST_BITS or (f.size_bits - FIRST_BITS) & 1:
        return False
    size = <uint32_t>1 << f.size_bits
    for i in range(PENDING_ROUND_TRIPS):
        if f.pending[i] >= BLOCK * OCTAVES:
            return False
    return (
        f.count <= size
        and f.head < size
        and f.stamps_head < STAMPS
        and f.stamps_count <= STAMPS
        and f.full >= 0
        and (has_rare or not f.flags & HAS_HOLES)
        # So many have been counted.
        and (has_round_trips or f.rtt_kept < PENDING_ROUND_TRIPS)
    )


cdef inline bint is_right_rare(const Rare *rare, uint32_t flags) noexcept nogil:
    cdef uint32_t size = rare.hole_size
    cdef int i
    for i in range(MOST_RESENT):
        if rare.resent[i].cause >= CAUSES:
            return False
    if size & (size - 1) or size > MOST_HOLES or (size and size < FIRST_HOLES) or rare.hole_count > size:
        return False
    return rare.hole_count > 0 or not flags & HAS_HOLES


cdef inline bint is_right_histogram(const Octaves *o) noexcept nogil:
    cdef int i
    for i in range(OCTAVES):
        if o.block_of[i] > o.used:
            return False
    return o.used <= o.room <= OCTAVES + 2


cdef inline bint read_sent(Carried *from_, Flow *f, Memory *memory) noexcept nogil:
    cdef int64_t room = (<int64_t>1 << f.size_bits) * <int64_t>sizeof(Sent)
    if f.size_bits == FIRST_BITS:
        return True
    if memory.sent_bytes + room > MOST_SENT_BYTES:
        return False
    if not read_new(from_, <void **>&f.sent, f.count * <int64_t>sizeof(Sent), room):
        return False
    memory.sent_bytes += room
    return True


cdef inline bint read_rare(Carried *from_, Flow *f, Memory *memory) noexcept nogil:
    cdef int64_t more
    if not read_new(from_, <void **>&f.rare, sizeof(Rare), sizeof(Rare)):
        return False
    f.rare.holes = NULL
    if not is_right_rare(f.rare, f.flags):
        f.rare.hole_size = 0
        return False
    if f.rare.hole_size == 0:
        return True
    more = (f.rare.hole_size - FIRST_HOLES) * <int64_t>sizeof(Hole)
    if memory.hole_bytes + more > MOST_HOLE_BYTES or not read_new(
        from_,
        <void **>&f.rare.holes,
        f.rare.hole_count * <int64_t>sizeof(Hole),
        f.rare.hole_size * <int64_t>sizeof(Hole),
    ):
        f.rare.hole_size = 0
        return False
    memory.hole_bytes += more
    return True


cdef inline bint read_histogram(Carried *from_, Flow *f) noexcept nogil:
    cdef Octaves head
    if not read_carried(from_, &head, sizeof(Octaves)) or not is_right_histogram(&head):
        return False
    f.round_trips = <Octaves *>malloc(sizeof(Octaves) + head.room * <int64_t>BLOCK_BYTES)
    if f.round_trips == NULL:
        return False
    f.round_trips[0] = head
    return read_carried(from_, f.round_trips + 1, head.used * <int64_t>BLOCK_BYTES)


cdef inline bint read_slot(Carried *from_, Slot *slot, Memory *memories) noexcept nogil:
    """Take a connection as it was; False if it is none. What was read of it then is to be freed as ever."""
    cdef bint has_rare[2]
    cdef bint has_round_trips[2]
    cdef Flow *f
    cdef int d
    if not read_carried(from_, slot, sizeof(Slot)):
        return False
    for d in range(2):
        f = &slot.flows[d]
        has_rare[d], has_round_trips[d] = f.rare != NULL, f.round_trips != NULL
        f.sent = NULL
        f.rare = NULL
        f.round_trips = NULL
    slot.is_used = True
    for d in range(2):
        f = &slot.flows[d]
        if not is_right_flow(f, has_rare[d], has_round_trips[d]):
            return False
        if not read_sent(from_, f, memories + slot.share):
            return False
        if has_rare[d] and not read_rare(from_, f, memories + slot.share):
            return False
        if has_round_trips[d] and not read_histogram(from_, f):
            return False
    return True
