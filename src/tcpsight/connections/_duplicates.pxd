# Frames captured twice: on another interface (``-i any``, a bond), or from a mirror port that shows both ways.
#
# Copies may come one by one, or a whole burst of them after a burst of originals. Each direction remembers its last
# segments: four at first, and four times as many (up to a limit) whenever it would have to forget one that a copy may
# still follow. So memory goes where the traffic is, and what is recognised depends on nothing but the direction itself.
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from tcpsight.connections._context cimport is_later_by
from tcpsight.connections._sequence cimport SLACK, to_offset
from tcpsight.connections._state cimport (
    FIRST_SEEN, HAS_BASE, HAS_COPIES, JUMP_PENDING, MOST_SEEN, ON_SEVERAL_INTERFACES, PROBE_PENDING, Seen, Stream,
)
from tcpsight.tables cimport FLAG_FIN, FLAG_RST, FLAG_SYN, OPTION_TIMESTAMPS, OPTION_UNSEQUENCED, Header

cdef enum:
    FOUND_NOTHING = 0
    FOUND_DUPLICATE = 1
    FOUND_AMBIGUOUS = 2

cdef enum:
    # A copy on the same interface arrives within this time. The fastest retransmissions take longer: Linux waits
    # for at least 200 ms, a tail loss probe for two round trips.
    DUPLICATE_NS = 1000000
    # On another interface its clock may run apart, but files that follow each other have interfaces of their own,
    # and in the next one the same header is a segment that was sent again.
    DUPLICATE_ELSEWHERE_NS = 100000000


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint32_t fingerprint(const Header *h) noexcept nogil:
    """A hash, never 0, of everything in the header that a capture duplicate repeats, but for the checksum.

    Cheap on purpose: only segments that bring nothing new are ever compared, each with the last ones of its stream.
    """
    cdef uint64_t a, b, c
    cdef uint32_t window_and_flags
    # Columns that lie together, as one number each: see Headers.
    memcpy(&a, <const char *>&h.acknowledgment_number, 8)   # and sequence_number
    memcpy(&window_and_flags, <const char *>&h.window, 4)
    b = (<uint64_t>h.ip_id << 32) | window_and_flags
    memcpy(&c, <const char *>&h.payload_bytes, 8)           # and options_hash
    a = a * 0x9E3779B97F4A7C15ull + b * 0xD6E8FEB86659FD93ull + c * 0x94D049BB133111EBull
    return <uint32_t>(a >> 32) | 1


cdef inline uint16_t interface_of(const Header *h) noexcept nogil:
    """The interface in 16 bits: two that share them are taken for one, whose copies come sooner."""
    return <uint16_t>((h.interface_id ^ (h.interface_id >> 16)) & 0xFFFF)


# --- memory -----------------------------------------------------------------------------------------------------


cdef inline Seen *seen_ring(Stream *s) noexcept nogil:
    return s.seen_more if s.seen_more != NULL else s.seen


cdef inline uint32_t seen_size(const Stream *s) noexcept nogil:
    return s.seen_size if s.seen_more != NULL else FIRST_SEEN


cdef inline bint is_close(const Seen *old, int64_t time_ns, uint64_t within_ns) noexcept nogil:
    """Whether the remembered segment was captured within so long of this time."""
    return not is_later_by(time_ns, old.time_ns, within_ns) and not is_later_by(old.time_ns, time_ns, within_ns)


cdef inline void remember_more(Stream *s) noexcept nogil:
    """Make the full memory four times as large; without memory for that it stays as it is."""
    cdef Seen *old = seen_ring(s)
    cdef uint32_t size = seen_size(s), i
    cdef Seen *fresh = <Seen *>calloc(4 * size, sizeof(Seen))
    if fresh == NULL:
        return
    for i in range(size):
        fresh[i] = old[(s.seen_at + i) & (size - 1)]
    free(s.seen_more)
    s.seen_more = fresh
    s.seen_at = <uint16_t>size
    s.seen_size = <uint16_t>(4 * size)


cdef inline void notice_interface(Stream *s, const Header *h) noexcept nogil:
    if s.last_interface != h.interface_id:
        # The memory is empty before the first segment only.
        if seen_ring(s)[0].mark:
            s.flags |= ON_SEVERAL_INTERFACES
        s.last_interface = h.interface_id


cdef inline void remember(Stream *s, const Header *h, uint32_t mark) noexcept nogil:
    """Keep what a later copy of this segment would be recognised by, instead of the oldest unless that is young."""
    cdef Seen *place
    notice_interface(s, h)
    place = seen_ring(s) + s.seen_at
    if place.mark and is_close(
        place, h.time_ns, DUPLICATE_ELSEWHERE_NS if s.flags & ON_SEVERAL_INTERFACES else DUPLICATE_NS
    ) and seen_size(s) < MOST_SEEN:
        remember_more(s)
        place = seen_ring(s) + s.seen_at
    place.mark = mark
    place.interface = interface_of(h)
    place.checksum = h.checksum
    place.time_ns = h.time_ns
    s.seen_at = <uint16_t>((s.seen_at + 1) & (seen_size(s) - 1))


# --- recognition ------------------------------------------------------------------------------------------------


cdef inline bint may_repeat(const Stream *s, const Header *h) noexcept nogil:
    """Whether this could be a copy of a segment seen before: false for the next bytes of the stream, the usual case."""
    cdef int64_t ahead
    if h.payload_bytes == 0 or h.flags & (FLAG_RST | FLAG_SYN) or not s.flags & HAS_BASE:
        return True
    if s.flags & (PROBE_PENDING | JUMP_PENDING):
        return True
    ahead = to_offset(s, h.sequence_number) - s.next_offset
    return ahead < 0 or ahead > SLACK


cdef inline bint is_certainly_copied(const Header *h) noexcept nogil:
    """Whether a segment like another on the same interface, within 1 ms, can only be a copy of it.

    Nobody sends a SYN again so soon. Without an IP ID a copy of data looks like data sent again, unless their
    timestamps would differ; and acknowledgments of segments that came out of order are all alike, timestamps too.
    """
    if h.ip_id != 0 or h.flags & FLAG_SYN:
        return True
    return h.options & OPTION_TIMESTAMPS and (h.payload_bytes > 0 or h.flags & FLAG_FIN)


cdef inline int find_repeated(Stream *s, const Header *h, uint32_t mark) noexcept nogil:
    """Look from the last segment back: a copy comes soon after it."""
    cdef const Seen *ring = seen_ring(s)
    cdef const Seen *old
    cdef uint32_t size = seen_size(s), i
    cdef int found = FOUND_NOTHING
    for i in range(size):
        old = ring + ((s.seen_at + size - 1 - i) & (size - 1))
        if old.mark == 0:
            break
        if old.mark != mark:
            continue
        if old.interface != interface_of(h) and is_close(old, h.time_ns, DUPLICATE_ELSEWHERE_NS):
            # The card fills a checksum in after the copy on its way there was captured.
            if old.checksum == h.checksum or h.ip_id != 0:
                return FOUND_DUPLICATE
        if old.checksum != h.checksum or h.options & OPTION_UNSEQUENCED:
            # Text that tells lengths only: on one interface, two of one length are two segments.
            continue
        if is_close(old, h.time_ns, DUPLICATE_NS):
            if s.flags & HAS_COPIES or is_certainly_copied(h):
                s.flags |= HAS_COPIES
                return FOUND_DUPLICATE
            found = FOUND_AMBIGUOUS
    return found


cdef inline int look_for_duplicate(Stream *s, const Header *h) noexcept nogil:
    """Tell whether this segment was captured already; remember it if not."""
    cdef uint32_t mark = fingerprint(h)
    cdef int found = FOUND_NOTHING
    notice_interface(s, h)
    if may_repeat(s, h):
        found = find_repeated(s, h, mark)
        if found == FOUND_DUPLICATE:
            return found
    remember(s, h, mark)
    return found
