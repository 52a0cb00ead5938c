# How a stream's end moves on over bytes that were not captured: a little at once, far only when it is confirmed.
#
# What lies farther from a stream than its sender could have in flight is a jump. It comes from a long gap in the
# capture or from garbage. One segment or acknowledgment cannot tell which, so its place is kept and nothing changes
# until the next one agrees with it, or does not.
cimport cython
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint32_t, uint64_t
from tcpsight.connections._context cimport Context, is_later_by, note, note_again
from tcpsight.connections._handshake cimport largest_window
from tcpsight.connections._sequence cimport PLAUSIBLE, SLACK, add_hole, to_offset
from tcpsight.connections._slots cimport Share
from tcpsight.connections._state cimport (
    APPROXIMATE, GAP_UNKNOWN, HAS_ISN, JUMP_BY_ACK, JUMP_IS_FIN, JUMP_PENDING, PROBE_PENDING, SAW_FIN, SCALE_KNOWN,
    State, Stream,
)
from tcpsight.tables cimport (
    FLAG_FIN, REASON_ACKNOWLEDGMENT_OUTSIDE_WINDOW, REASON_SEGMENT_OUTSIDE_WINDOW, Header,
)

cdef enum:
    # Bits of what the rules give back.
    GAVE_UP_HOLE = 1        # more holes than are kept
    NOT_BELIEVED = 2        # the sequence number, or the FIN, can't be true
    HELD = 4                # it may be believed later

cdef enum:
    # Where the scale of the window is unknown: the largest receive buffer that Linux has by default (tcp_rmem).
    UNKNOWN_WINDOW = 6_291_456
    # Modulo 2**32 a gap of 2 GiB or more looks like a step back, and so does a run of old segments that the capture
    # shows late. Even at 100 Gbit/s that much takes longer than this.
    STEP_BACK_NS = 100_000_000
    STEADY_JUMPS = 8        # so many ever farther ahead, and none in place: a capture that shows samples only


cdef inline void settle_probe(Stream *s) noexcept nogil:
    """The byte of a zero-window probe was taken: it is part of the stream after all."""
    s.next_offset += 1
    s.flags &= ~PROBE_PENDING


cdef inline int pass_over(Share *share, Stream *s, int64_t offset) noexcept nogil:
    """Bytes up to `offset` were sent, and not captured."""
    cdef int overflow = add_hole(s, share, s.next_offset, offset)
    s.next_offset = offset
    return GAVE_UP_HOLE if overflow else 0


# --- near -------------------------------------------------------------------------------------------------------


cdef inline int64_t reach(const State *c, int d) noexcept nogil:
    """How far beyond what was captured side d may be."""
    cdef int64_t window = largest_window(c, d)
    if not c.streams[1 - d].flags & SCALE_KNOWN:
        window = min(window, <int64_t>UNKNOWN_WINDOW)
    return min(window + SLACK, <int64_t>PLAUSIBLE)


cdef inline bint is_in_place(const State *c, int d, int64_t offset) noexcept nogil:
    """Whether a segment of side d that begins at this offset may follow what was captured, or repeat some of it."""
    cdef const Stream *s = &c.streams[d]
    cdef int64_t far = reach(c, d), outstanding = s.next_offset
    if s.acked != INT64_MIN and s.acked < outstanding:
        outstanding = s.acked
    return max(outstanding - far, s.next_offset - PLAUSIBLE) <= offset <= s.next_offset + far


cdef inline bint is_acked_in_place(const State *c, int d, const Header *h, int64_t acked) noexcept nogil:
    """Whether side d may have sent what is acknowledged here. An old acknowledgment does no harm."""
    cdef const Stream *s = &c.streams[d]
    cdef int64_t far = reach(c, d)
    if h.flags & FLAG_FIN and s.flags & HAS_ISN and s.next_offset == 0:
        # Between a SYN and a FIN alone lies the whole stream.
        far = PLAUSIBLE
    return s.next_offset - PLAUSIBLE <= acked <= s.next_offset + far


# --- far --------------------------------------------------------------------------------------------------------


@cython.overflowcheck(False)  # modular on purpose
cdef inline int64_t apart(uint32_t number, uint32_t other) noexcept nogil:
    """How far `number` lies beyond `other`; below 0 if before it."""
    return <int64_t><int32_t>(number - other)


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint32_t edge_number(const Stream *s) noexcept nogil:
    return s.base + <uint32_t>(<uint64_t>s.next_offset & 0xFFFFFFFFu)


cdef inline bint is_near_jump(const State *c, int d, uint32_t number) noexcept nogil:
    cdef int64_t far = reach(c, d)
    return -far <= apart(number, c.streams[d].jump_number) <= far


cdef inline void drop_jump(Context *x, Stream *s) noexcept nogil:
    """Nothing agreed with what is held: it was garbage."""
    cdef int reason = REASON_SEGMENT_OUTSIDE_WINDOW
    if not s.flags & JUMP_PENDING:
        return
    if s.flags & JUMP_BY_ACK:
        reason = REASON_ACKNOWLEDGMENT_OUTSIDE_WINDOW
    note(x, reason, s.jump_frame, 0)
    note_again(x, reason, s.jump_count - 1)
    s.flags &= ~(JUMP_PENDING | JUMP_BY_ACK | JUMP_IS_FIN)


@cython.overflowcheck(False)  # modular on purpose
cdef inline int follow_jump(Context *x, State *c, int d, uint32_t number, bint is_fin) noexcept nogil:
    """The stream's end is at this number now."""
    cdef Stream *s = &c.streams[d]
    cdef int64_t ahead
    cdef int result = 0
    s.flags &= ~(JUMP_PENDING | JUMP_BY_ACK | JUMP_IS_FIN)
    if s.flags & PROBE_PENDING:
        settle_probe(s)
    ahead = apart(number, edge_number(s))
    if ahead > 0:
        result = pass_over(&x.slots.shares[c.share], s, s.next_offset + ahead)
    elif ahead < 0:
        # How much was sent in between cannot be known: offsets go on, and the gap is owned up to.
        s.base += <uint32_t>(<uint64_t>ahead & 0xFFFFFFFFu)
        s.flags |= GAP_UNKNOWN
        c.flags |= APPROXIMATE
    if is_fin and not s.flags & SAW_FIN:
        s.flags |= SAW_FIN
        s.fin_offset = s.next_offset
    return result


@cython.overflowcheck(False)  # modular on purpose
cdef inline void hold_jump(Stream *s, const Header *h, uint32_t number, bint by_ack) noexcept nogil:
    """Keep where this segment, or what it acknowledges, ends."""
    s.flags = (s.flags & ~(JUMP_BY_ACK | JUMP_IS_FIN)) | JUMP_PENDING
    if by_ack:
        s.flags |= JUMP_BY_ACK
        s.jump_number = number
        return
    s.jump_number = number + <uint32_t>h.payload_bytes
    if h.flags & FLAG_FIN:
        s.flags |= JUMP_IS_FIN


cdef inline bint agrees(const State *c, int d, const Header *h, uint32_t number) noexcept nogil:
    """Whether this number confirms what is held."""
    cdef const Stream *s = &c.streams[d]
    if not is_near_jump(c, d, number):
        return False
    return apart(s.jump_number, edge_number(s)) > 0 or is_later_by(h.time_ns, s.jump_since_ns, STEP_BACK_NS)


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint repeats_jump(const Stream *s, const Header *h, uint32_t number) noexcept nogil:
    """Whether this segment says no more than the one that is held: sent again, it is no second witness."""
    cdef uint32_t end = number + <uint32_t>h.payload_bytes
    cdef uint32_t held = s.jump_number
    if s.flags & JUMP_BY_ACK or (h.payload_bytes == 0 and not h.flags & FLAG_FIN):
        return False
    if h.flags & FLAG_FIN:
        end += 1
    if s.flags & JUMP_IS_FIN:
        held += 1
    return apart(end, held) <= 0


cdef inline bint goes_on(const State *c, int d, uint32_t number) noexcept nogil:
    """Whether this number, far away too, is what may follow what is held."""
    cdef const Stream *s = &c.streams[d]
    if is_near_jump(c, d, number):
        return True
    return apart(number, s.jump_number) > 0 and apart(number, edge_number(s)) > 0


cdef inline int weigh_jump(Context *x, State *c, int d, const Header *h, uint32_t number, bint by_ack) noexcept nogil:
    """Side d sent what begins at `number`, or it was acknowledged up to there (`by_ack`), and that is far away.

    HELD, unless with what was held before it is believed.
    """
    cdef Stream *s = &c.streams[d]
    if s.flags & JUMP_PENDING:
        if not by_ack and is_near_jump(c, d, number) and repeats_jump(s, h, number):
            note(x, REASON_SEGMENT_OUTSIDE_WINDOW, h.frame_number, 0)
            return HELD
        if agrees(c, d, h, number):
            return follow_jump(x, c, d, s.jump_number, (s.flags & JUMP_IS_FIN) != 0)
        if by_ack and not s.flags & JUMP_BY_ACK:
            # What the sender itself shows is better evidence.
            note(x, REASON_ACKNOWLEDGMENT_OUTSIDE_WINDOW, h.frame_number, 0)
            return HELD
        if by_ack == ((s.flags & JUMP_BY_ACK) != 0) and goes_on(c, d, number):
            s.jump_count += 1
            if s.jump_count >= STEADY_JUMPS and apart(number, edge_number(s)) > 0:
                return follow_jump(x, c, d, number, False)
            hold_jump(s, h, number, by_ack)
            return HELD
        drop_jump(x, s)
    s.jump_frame = h.frame_number
    s.jump_since_ns = c.last_ns
    s.jump_count = 1
    hold_jump(s, h, number, by_ack)
    return HELD


cdef inline int find_place(Context *x, State *c, int d, const Header *h, uint32_t number) noexcept nogil:
    """Whether a segment of side d, no SYN, is to be believed where its sequence number says: 0, else HELD.

    The stream may have moved there: take its offset afterwards.
    """
    cdef Stream *s = &c.streams[d]
    if not is_in_place(c, d, to_offset(s, number)):
        return weigh_jump(x, c, d, h, number, False)
    drop_jump(x, s)
    return 0


cdef inline int find_acked_place(Context *x, State *c, int d, const Header *h, uint32_t number) noexcept nogil:
    """The same for an acknowledgment of what side d sent."""
    cdef Stream *s = &c.streams[d]
    if not is_acked_in_place(c, d, h, to_offset(s, number)) or (s.flags & JUMP_PENDING and agrees(c, d, h, number)):
        return weigh_jump(x, c, d, h, number, True)
    if s.flags & JUMP_BY_ACK:
        drop_jump(x, s)
    return 0
