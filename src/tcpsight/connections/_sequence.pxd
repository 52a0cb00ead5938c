# Sequence numbers end here: modulo 2**32 in, 64-bit stream offsets out, and the holes between them.
cimport cython
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memmove
from tcpsight._door cimport Growth, grown
from tcpsight.connections._slots cimport Share
from tcpsight.connections._state cimport FIRST_HOLES, HAS_BASE, MOST_HOLE_BYTES, MOST_HOLES, Hole, Stream

cdef enum:
    # RFC 7323 §2.3 limits windows to 2**30 bytes: nothing that a sender has in flight lies farther apart.
    PLAUSIBLE = 1_073_741_824
    # What may lie between a stream's end and its next segment beyond the window: a burst that the capture lost.
    SLACK = 1_048_576


@cython.overflowcheck(False)  # modular on purpose
cdef inline int64_t to_offset(const Stream *s, uint32_t sequence_number) noexcept nogil:
    """Unwrap: the offset nearest to the stream's end that has this sequence number."""
    cdef uint32_t expected = s.base + <uint32_t>(<uint64_t>s.next_offset & 0xFFFFFFFFu)
    return s.next_offset + <int64_t><int32_t>(sequence_number - expected)


cdef inline bint is_plausible(const Stream *s, int64_t offset) noexcept nogil:
    return s.next_offset - PLAUSIBLE <= offset <= s.next_offset + PLAUSIBLE


cdef inline void set_base(Stream *s, uint32_t sequence_number) noexcept nogil:
    s.base = sequence_number
    s.next_offset = 0
    s.flags |= HAS_BASE


cdef inline void forget_base(Stream *s) noexcept nogil:
    """Begin the stream anew: what was known of it was wrong."""
    s.flags &= ~HAS_BASE
    s.next_offset = 0
    s.acked = INT64_MIN
    s.hole_count = 0
    s.evicted_bytes = 0


cdef inline bint can_keep_hole(Stream *s, Share *share) noexcept nogil:
    """Whether one more hole can be kept; there may be no memory for it."""
    cdef Growth growth = Growth(FIRST_HOLES, MOST_HOLES, sizeof(Hole), MOST_HOLE_BYTES)
    cdef uint32_t size = <uint32_t>FIRST_HOLES << s.hole_doublings if s.holes != NULL else 0
    cdef uint32_t room
    if s.hole_count < size:
        return True
    room = grown(<void **>&s.holes, size, &growth, &share.hole_bytes)
    s.hole_doublings += 0 < size < room
    return s.hole_count < room


cdef inline int add_hole(Stream *s, Share *share, int64_t start, int64_t end) noexcept nogil:
    """Note that [start, end) was passed over; it lies beyond all other holes. Give 1 if the oldest was given up."""
    cdef int overflow = 0
    if s.hole_count and s.holes[s.hole_count - 1].end == start:
        s.holes[s.hole_count - 1].end = end
        return 0
    if not can_keep_hole(s, share):
        if s.hole_count == 0:
            s.evicted_bytes += end - start
            return 1
        s.evicted_bytes += s.holes[0].end - s.holes[0].start
        s.hole_count -= 1
        memmove(s.holes, s.holes + 1, s.hole_count * sizeof(Hole))
        overflow = 1
    s.holes[s.hole_count].start = start
    s.holes[s.hole_count].end = end
    s.hole_count += 1
    return overflow


cdef inline bint split_hole(Stream *s, Share *share, int i, int64_t left, int64_t right) noexcept nogil:
    """Take [left, right) out of the middle of hole i. True if the smaller rest was given up, for want of room."""
    cdef bint is_kept = can_keep_hole(s, share)  # which may move them
    cdef Hole *hole = &s.holes[i]
    if is_kept:
        memmove(hole + 1, hole, (s.hole_count - i) * sizeof(Hole))
        s.hole_count += 1
        hole[0].end = left
        hole[1].start = right
        return False
    if left - hole.start < hole.end - right:
        s.evicted_bytes += left - hole.start
        hole.start = right
    else:
        s.evicted_bytes += hole.end - right
        hole.end = left
    return True


cdef inline int64_t fill_holes(
    Stream *s, Share *share, int64_t start, int64_t end, int64_t *first, int *overflow
) noexcept nogil:
    """Take [start, end) out of the holes; give how many bytes of it were missing.

    `first` receives where the first of them lies; `overflow`, 1 if part of a hole was given up.
    """
    cdef Hole *holes = s.holes
    cdef int i = 0
    cdef int64_t filled = 0, left, right
    while i < s.hole_count and holes[i].start < end:
        left = max(start, holes[i].start)
        right = min(end, holes[i].end)
        if left >= right:
            i += 1
            continue
        if filled == 0:
            first[0] = left
        filled += right - left
        if left == holes[i].start and right == holes[i].end:
            s.hole_count -= 1
            memmove(holes + i, holes + i + 1, (s.hole_count - i) * sizeof(Hole))
            continue
        if left == holes[i].start:
            holes[i].start = right
        elif right == holes[i].end:
            holes[i].end = left
        else:
            # [start, end) lies inside this hole: no other one is touched.
            if split_hole(s, share, i, left, right):
                overflow[0] = 1
            break
        i += 1
    return filled


cdef inline int64_t missing_bytes(const Stream *s) noexcept nogil:
    """Bytes passed over and never captured."""
    cdef int64_t total = s.evicted_bytes
    cdef int i
    for i in range(s.hole_count):
        total += s.holes[i].end - s.holes[i].start
    return total
