# Open connections as bytes, from one capture to the next. Where they lie is not carried: slots, the table, deadlines and
# the lists of shares are made anew, so that no number in a file leads anywhere. What is left to look at is looked at.
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free
from tcpsight._door cimport Carried, read_carried, read_new, write_carried
from tcpsight.connections._context cimport Context
from tcpsight.connections._shares cimport EMBRYONIC, OVER, append, share_of
from tcpsight.connections._slots cimport SHARES, Slots, insert, more_hole_bytes, more_seen_bytes, state_hash, take_slot
from tcpsight.connections._state cimport (
    FIRST_HOLES, FIRST_SEEN_BITS, HANDSHAKE_OVER, MOST_HOLE_BYTES, MOST_HOLES, MOST_SEEN_BITS, MOST_SEEN_BYTES, NO_OPENER,
    Hole, State, Stream,
)
from tcpsight.connections._timers cimport push_timer
from tcpsight.tables cimport ENCAPSULATION_TZSP, ROLE_FIRST

cdef enum:
    LARGEST_SCALE = 14      # RFC 7323 §2.3
    MOST_DOUBLINGS = 6      # from FIRST_HOLES to MOST_HOLES


cdef inline void list_in_order(const Slots *s, int64_t *slots) noexcept nogil:
    """Write the slots of all open connections, list by list of each share: so whoever has to go first stays the first."""
    cdef int share, which
    cdef uint32_t slot
    cdef int64_t n = 0
    for share in range(SHARES):
        for which in range(2):
            slot = s.shares[share].oldest[which]
            while slot:
                slots[n] = slot - 1
                n += 1
                slot = s.states[slot - 1].newer


# --- out --------------------------------------------------------------------------------------------------------


cdef inline int64_t carried_bytes(const State *c) noexcept nogil:
    cdef int64_t total = sizeof(State)
    cdef int d
    for d in range(2):
        total += c.streams[d].hole_count * <int64_t>sizeof(Hole)
        if c.streams[d].seen_more != NULL:
            total += more_seen_bytes(&c.streams[d])
    return total


cdef inline void write_state(Carried *out, const State *c) noexcept nogil:
    cdef State copy = c[0]
    cdef int d
    copy.newer = copy.older = 0
    for d in range(2):
        copy.streams[d].holes = NULL
        copy.streams[d].seen_more = NULL
        if c.streams[d].seen_more == NULL:
            copy.streams[d].seen_bits = 0
    write_carried(out, &copy, sizeof(State))
    for d in range(2):
        write_carried(out, c.streams[d].holes, c.streams[d].hole_count * <int64_t>sizeof(Hole))
        write_carried(out, c.streams[d].seen_more, more_seen_bytes(&copy.streams[d]))


# --- in ---------------------------------------------------------------------------------------------------------


cdef inline bint is_right_stream(const Stream *s) noexcept nogil:
    if s.seen_bits and (s.seen_bits & 1 or not FIRST_SEEN_BITS < s.seen_bits <= MOST_SEEN_BITS):
        return False
    if s.hole_doublings > MOST_DOUBLINGS or s.hole_count > <uint32_t>FIRST_HOLES << s.hole_doublings:
        return False
    return s.seen_at < <uint32_t>1 << (s.seen_bits if s.seen_bits else FIRST_SEEN_BITS) and s.scale <= LARGEST_SCALE


cdef inline bint is_right(const State *c, int64_t most) noexcept nogil:
    """Whether everything is something that a rule relies on."""
    return (
        0 < c.connection_id <= most
        and (c.ip_version == 4 or c.ip_version == 6)
        and (c.path & 0xFF) == c.ip_version
        and ((c.path >> 8) & 0xFF) <= ENCAPSULATION_TZSP
        and c.role_source <= ROLE_FIRST
        and c.opener <= NO_OPENER
        and c.pending_direction <= 1
        and c.pending_scale <= LARGEST_SCALE
        and c.pending_payload >= 0
        and c.share == share_of(c.client_address, c.client_port, c.server_address, c.server_port)
        and is_right_stream(&c.streams[0])
        and is_right_stream(&c.streams[1])
    )


cdef inline bint read_state(Carried *from_, Context *x, int64_t most) noexcept nogil:
    """Open the next connection as it was. False if it is none, its number is above `most`, or there is no memory."""
    cdef Slots *s = &x.slots
    cdef State *c
    cdef State carried
    cdef uint32_t slot
    cdef int64_t hole_bytes, seen_bytes
    cdef int d
    cdef bint is_whole = True
    if not read_carried(from_, &carried, sizeof(State)) or not is_right(&carried, most):
        return False
    hole_bytes = more_hole_bytes(&carried.streams[0]) + more_hole_bytes(&carried.streams[1])
    seen_bytes = more_seen_bytes(&carried.streams[0]) + more_seen_bytes(&carried.streams[1])
    if s.shares[carried.share].hole_bytes + hole_bytes > MOST_HOLE_BYTES:
        return False
    if s.shares[carried.share].seen_bytes + seen_bytes > MOST_SEEN_BYTES:
        return False
    for d in range(2):
        carried.streams[d].holes = NULL
        carried.streams[d].seen_more = NULL
    for d in range(2):
        if is_whole and carried.streams[d].hole_count:
            is_whole = read_new(
                from_,
                <void **>&carried.streams[d].holes,
                carried.streams[d].hole_count * <int64_t>sizeof(Hole),
                (<int64_t>FIRST_HOLES << carried.streams[d].hole_doublings) * <int64_t>sizeof(Hole),
            )
        if is_whole and carried.streams[d].seen_bits:
            is_whole = read_new(
                from_,
                <void **>&carried.streams[d].seen_more,
                more_seen_bytes(&carried.streams[d]),
                more_seen_bytes(&carried.streams[d]),
            )
    if not is_whole:
        for d in range(2):
            free(carried.streams[d].holes)
            free(carried.streams[d].seen_more)
        return False
    slot = take_slot(s)
    c = &s.states[slot]
    c[0] = carried
    s.shares[c.share].hole_bytes += hole_bytes
    s.shares[c.share].seen_bytes += seen_bytes
    s.shares[c.share].count += 1
    if c.flags & HANDSHAKE_OVER:
        append(s, slot, OVER)
    else:
        s.shares[c.share].embryonic += 1
        append(s, slot, EMBRYONIC)
    insert(s, state_hash(c, s.seed), slot)
    push_timer(s, c.filed_deadline, c.connection_id, slot)
    return True
