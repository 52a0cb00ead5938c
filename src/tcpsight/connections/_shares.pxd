# How many connections may be open, and who has to go when one more comes.
#
# Connections live in 256 shares, by a hash of their endpoints that everybody knows, and each share has its own limit:
# so the answer is the same however connections are spread over workers. In a full share the oldest connection whose
# handshake is not over has to go; if there is none, the first, in turn, that was silent since it was last looked at.
# Those whose handshake is not over may have an eighth of a share: a flood of SYNs takes no more memory than that.
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from tcpsight.connections._slots cimport Slots
from tcpsight.connections._state cimport BEYOND_HANDSHAKE, HANDSHAKE_OVER, State

cdef enum:
    # The lists of a share.
    EMBRYONIC = 0
    OVER = 1
    # The part of a share that those have whose handshake is not over.
    EMBRYONIC_PART = 8


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint64_t known_hash(const uint8_t *address, uint16_t port) noexcept nogil:
    """A hash of an endpoint; of its address in two halves, each a number as this machine reads it."""
    cdef uint64_t halves[2]
    cdef uint64_t h
    memcpy(halves, address, 16)
    h = halves[1] ^ (halves[0] * 0x94D049BB133111EBull)
    h = (h ^ (h >> 32)) * 0xBF58476D1CE4E5B9ull + port
    h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93ull
    return h ^ (h >> 32)


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint8_t share_of(
    const uint8_t *address, uint16_t port, const uint8_t *other_address, uint16_t other_port
) noexcept nogil:
    """The same for both directions."""
    cdef uint64_t both = known_hash(address, port) + known_hash(other_address, other_port)
    return <uint8_t>((both * 0x9E3779B97F4A7C15ull) >> 56)


cdef inline uint32_t recent(const State *c) noexcept nogil:
    """When it was active last, as far as it takes to see that it was active since."""
    return <uint32_t>(<uint64_t>c.active_ns & 0xFFFFFFFFu)


cdef inline void append(Slots *s, uint32_t slot, int where) noexcept nogil:
    cdef State *c = &s.states[slot]
    c.newer = 0
    c.older = s.shares[c.share].newest[where]
    if c.older:
        s.states[c.older - 1].newer = slot + 1
    else:
        s.shares[c.share].oldest[where] = slot + 1
    s.shares[c.share].newest[where] = slot + 1


cdef inline void take_out(Slots *s, uint32_t slot, int where) noexcept nogil:
    cdef State *c = &s.states[slot]
    if c.older:
        s.states[c.older - 1].newer = c.newer
    else:
        s.shares[c.share].oldest[where] = c.newer
    if c.newer:
        s.states[c.newer - 1].older = c.older
    else:
        s.shares[c.share].newest[where] = c.older


cdef inline void join_share(Slots *s, uint32_t slot, uint8_t share) noexcept nogil:
    s.states[slot].share = share
    s.shares[share].count += 1
    s.shares[share].embryonic += 1
    append(s, slot, EMBRYONIC)


cdef inline void leave_share(Slots *s, uint32_t slot) noexcept nogil:
    cdef State *c = &s.states[slot]
    if c.flags & HANDSHAKE_OVER:
        take_out(s, slot, OVER)
    else:
        take_out(s, slot, EMBRYONIC)
        s.shares[c.share].embryonic -= 1
    s.shares[c.share].count -= 1


cdef inline void note_handshake_over(Slots *s, uint32_t slot) noexcept nogil:
    """Move it to those that are beyond their handshake, if it is and was not before."""
    cdef State *c = &s.states[slot]
    if c.flags & (BEYOND_HANDSHAKE | HANDSHAKE_OVER) != BEYOND_HANDSHAKE:
        return
    take_out(s, slot, EMBRYONIC)
    s.shares[c.share].embryonic -= 1
    c.flags |= HANDSHAKE_OVER
    c.looked_at = recent(c)
    append(s, slot, OVER)


cdef inline bint is_full(const Slots *s, uint8_t share) noexcept nogil:
    cdef uint32_t most = s.share_limit // EMBRYONIC_PART
    return s.shares[share].count >= s.share_limit or s.shares[share].embryonic >= (most if most else 1)


cdef inline uint32_t dispensable(Slots *s, uint8_t share) noexcept nogil:
    """The slot of the connection of this share, which has some, that has to go."""
    cdef uint32_t slot
    cdef State *c
    if s.shares[share].oldest[EMBRYONIC]:
        return s.shares[share].oldest[EMBRYONIC] - 1
    while True:
        slot = s.shares[share].oldest[OVER] - 1
        c = &s.states[slot]
        if c.looked_at == recent(c):
            return slot
        c.looked_at = recent(c)
        take_out(s, slot, OVER)
        append(s, slot, OVER)
