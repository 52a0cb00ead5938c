# Frames captured twice: on another interface (``-i any``, a bond), or from a mirror port that shows both ways.
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from tcpsight.connections._sequence cimport SLACK, to_offset
from tcpsight.connections._state cimport HAS_BASE, JUMP_PENDING, PROBE_PENDING, RING, Stream
from tcpsight.tables cimport FLAG_RST, FLAG_SYN, OPTION_TIMESTAMPS, Header

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
    """A hash, never 0, of everything in the header that a capture duplicate repeats; the TTL may differ.

    Cheap on purpose: only segments that bring nothing new are ever compared, each with the last few of its stream.
    """
    cdef uint64_t a, b, c
    # Columns that lie together, as one number each: see Headers.
    memcpy(&a, <const char *>&h.acknowledgment_number, 8)   # and sequence_number
    memcpy(&b, <const char *>&h.window, 8)                  # and flags, checksum, ip_id
    memcpy(&c, <const char *>&h.payload_bytes, 8)           # and options_hash
    a = a * 0x9E3779B97F4A7C15ull + b * 0xD6E8FEB86659FD93ull + c * 0x94D049BB133111EBull
    return <uint32_t>(a >> 32) | 1


cdef inline uint8_t interface_mark(const Header *h) noexcept nogil:
    """Eight bits that tell interfaces apart: those of one capture, or the devices behind ``any``."""
    cdef uint32_t x = h.interface_id ^ (h.interface_id >> 16)
    return <uint8_t>((x ^ (x >> 8)) & 0xFF)


cdef inline void remember(Stream *s, const Header *h, uint32_t mark) noexcept nogil:
    """Keep what a later copy of this segment would be recognised by."""
    s.ring_print[s.ring_at] = mark
    s.ring_time[s.ring_at] = <uint32_t>(<uint64_t>h.time_ns & 0xFFFFFFFFull)
    s.ring_era[s.ring_at] = <uint8_t>((<uint64_t>h.time_ns >> 32) & 0xFF)
    s.ring_interface[s.ring_at] = interface_mark(h)
    s.ring_at = (s.ring_at + 1) & (RING - 1)


cdef inline bint may_repeat(const Stream *s, const Header *h) noexcept nogil:
    """Whether this could be a copy of a segment seen before: false for the next bytes of the stream, the usual case."""
    cdef int64_t ahead
    if h.payload_bytes == 0 or h.flags & (FLAG_RST | FLAG_SYN) or not s.flags & HAS_BASE:
        return True
    if s.flags & (PROBE_PENDING | JUMP_PENDING):
        return True
    ahead = to_offset(s, h.sequence_number) - s.next_offset
    return ahead < 0 or ahead > SLACK


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint is_close(const Stream *s, int i, int64_t time_ns, uint64_t within_ns) noexcept nogil:
    """Whether the remembered segment i was captured within so long of this time (modulo 2**40 ns, 18 minutes)."""
    cdef uint64_t then = (<uint64_t>s.ring_era[i] << 32) | s.ring_time[i]
    cdef uint64_t apart = (<uint64_t>time_ns - then) & 0xFFFFFFFFFFull
    return apart <= within_ns or 0x10000000000ull - apart <= within_ns


cdef inline int find_repeated(const Stream *s, const Header *h, uint32_t mark) noexcept nogil:
    cdef int i, found = FOUND_NOTHING
    for i in range(RING):
        if s.ring_print[i] != mark:
            continue
        if s.ring_interface[i] != interface_mark(h) and is_close(s, i, h.time_ns, DUPLICATE_ELSEWHERE_NS):
            return FOUND_DUPLICATE
        if is_close(s, i, h.time_ns, DUPLICATE_NS):
            # Without an IP ID or timestamps a copy looks like the same segment sent again.
            if h.ip_id != 0 or h.options & OPTION_TIMESTAMPS:
                return FOUND_DUPLICATE
            found = FOUND_AMBIGUOUS
    return found


cdef inline int look_for_duplicate(Stream *s, const Header *h) noexcept nogil:
    """Tell whether this segment was captured already; remember it if not."""
    cdef uint32_t mark = fingerprint(h)
    cdef int found = FOUND_NOTHING
    if may_repeat(s, h):
        found = find_repeated(s, h, mark)
        if found == FOUND_DUPLICATE:
            return found
    remember(s, h, mark)
    return found
