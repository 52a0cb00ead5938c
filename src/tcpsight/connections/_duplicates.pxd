# Frames captured twice: the same segment seen on two interfaces, or copied by a mirror port.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from tcpsight.connections._state cimport RING, Stream
from tcpsight.tables cimport OPTION_TIMESTAMPS, Header

cdef enum:
    # What a segment turned out to be besides its kind.
    FOUND_NOTHING = 0
    FOUND_DUPLICATE = 1
    FOUND_AMBIGUOUS = 2

cdef enum:
    # A copy of a frame on the same interface arrives within this time (DESIGN: capture duplicate).
    DUPLICATE_NS = 1000000


cdef inline uint32_t fingerprint(const Header *h) noexcept nogil:
    """A hash of everything in the header that a capture duplicate repeats; the TTL may differ.

    Cheap on purpose: only segments that bring nothing new are ever compared, each with the last few of its stream.
    """
    cdef uint32_t x = h.sequence_number * 0x9E3779B1u + h.acknowledgment_number * 0x85EBCA77u
    x ^= (<uint32_t>h.ip_id << 16) | h.checksum
    x ^= h.options_hash + <uint32_t>h.payload_bytes * 0xC2B2AE3Du
    return (x ^ (x >> 15)) + ((<uint32_t>h.flags << 16) | h.window) * 0x27D4EB2Fu


cdef inline void remember(Stream *s, const Header *h, uint32_t mark) noexcept nogil:
    """Keep what a later copy of this segment would be recognised by."""
    s.ring_print[s.ring_at] = mark
    s.ring_time[s.ring_at] = <uint32_t>(<uint64_t>h.time_ns & 0xFFFFFFFFu)
    s.ring_interface[s.ring_at] = <uint8_t>(h.interface_id & 0xFF)
    s.ring_at = (s.ring_at + 1) & (RING - 1)


cdef inline int look_for_duplicate(Stream *s, const Header *h, bint may_repeat) noexcept nogil:
    """Remember this segment, and tell whether it was captured already.

    `may_repeat` is false for a segment whose first byte is new: it can't be a copy of anything.
    """
    cdef uint32_t now = <uint32_t>(<uint64_t>h.time_ns & 0xFFFFFFFFu)
    cdef uint32_t mark = fingerprint(h)
    cdef int i, found = FOUND_NOTHING
    if may_repeat:
        for i in range(RING):
            if s.ring_print[i] != mark or s.segments <= i:
                continue
            if s.ring_interface[i] != <uint8_t>(h.interface_id & 0xFF):
                found = FOUND_DUPLICATE
            elif now - s.ring_time[i] <= DUPLICATE_NS or s.ring_time[i] - now <= DUPLICATE_NS:
                # Without an IP ID or timestamps a copy looks like the same segment sent again.
                if h.ip_id != 0 or h.options & OPTION_TIMESTAMPS:
                    found = FOUND_DUPLICATE
                else:
                    found = FOUND_AMBIGUOUS
            break
    if found != FOUND_DUPLICATE:
        remember(s, h, mark)
    return found
