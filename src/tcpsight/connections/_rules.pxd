# The rules of one connection: what a segment does to the state of the stream it extends and of the stream it
# acknowledges. Nothing here knows of other connections.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from tcpsight.connections._context cimport Context, note
from tcpsight.connections._duplicates cimport fingerprint, notice_interface, remember
from tcpsight.connections._edge cimport (
    GAVE_UP_HOLE, HELD, NOT_BELIEVED, drop_jump, find_acked_place, find_place, is_in_place, pass_over, settle_probe,
)
from tcpsight.connections._handshake cimport complete_handshake, completes_handshake, take_syn
from tcpsight.connections._sequence cimport PLAUSIBLE, fill_holes, forget_base, is_plausible, set_base, to_offset
from tcpsight.connections._slots cimport Share
from tcpsight.connections._state cimport (
    BASE_BY_ACK, BEYOND_HANDSHAKE, COMPLETE, HAS_BASE, HAS_ISN, HAS_SCALE, JUMP_PENDING, NO_OPENER, PROBE_PENDING, SAW_FIN, SAW_SYN_ACK,
    SAW_WINDOW, SCALE_KNOWN, SETTLED, SYN_ACKED, SYN_HAD_ACK, UNSEQUENCED, Hole, State, Stream,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_DUPLICATE, KIND_KEEP_ALIVE, KIND_NEW, KIND_OUT_OF_ORDER, KIND_RETRANSMISSION,
    KIND_ZERO_WINDOW_PROBE, REASON_CAPTURE_DUPLICATE, REASON_UNSEQUENCED, Header, Segment,
)

cdef inline bint is_window_closed(const State *c, int d) noexcept nogil:
    """Whether the receiver of side d's segments offered no window when last heard."""
    cdef const Stream *o = &c.streams[1 - d]
    return (o.flags & SAW_WINDOW) != 0 and o.last_window == 0


# --- acknowledgments --------------------------------------------------------------------------------------------


cdef inline int take_acknowledgment(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """What this segment says about the other direction."""
    cdef Stream *o = &c.streams[1 - d]
    cdef int64_t acked
    cdef int result
    if not o.flags & HAS_BASE:
        # Mid-stream: whatever was acknowledged before the capture began lies below offset 0.
        set_base(o, h.acknowledgment_number)
        o.flags |= BASE_BY_ACK
    result = find_acked_place(x, c, 1 - d, h, h.acknowledgment_number)
    if result & HELD:
        return 0
    acked = to_offset(o, h.acknowledgment_number)
    if acked > o.next_offset:
        if o.flags & PROBE_PENDING:
            settle_probe(o)
        if acked > o.next_offset + (1 if o.flags & SAW_FIN else 0):
            # Acknowledged but never captured: the capture lost it, not the network.
            result |= pass_over(&x.slots.shares[c.share], o, acked)
    g.acked_offset = acked
    if acked > o.acked:
        o.acked = acked
    if o.flags & HAS_ISN and acked >= 0:
        o.flags |= SYN_ACKED
    if not c.flags & COMPLETE and c.opener != NO_OPENER and completes_handshake(c, d, h, g):
        complete_handshake(c, d, h)
    return result


# --- sequence numbers -------------------------------------------------------------------------------------------


cdef inline int take_ahead(Share *share, State *c, int d, const Header *h, Segment *g, int64_t offset) noexcept nogil:
    """Place payload at or beyond the stream's end."""
    cdef Stream *s = &c.streams[d]
    cdef int result = 0
    if offset > s.next_offset and s.flags & PROBE_PENDING:
        settle_probe(s)
    if offset > s.next_offset:
        result = pass_over(share, s, offset)
    elif h.payload_bytes == 1 and not h.flags & (FLAG_SYN | FLAG_FIN) and is_window_closed(c, d):
        # RFC 9293 §3.8.6.1: one byte is sent to make the receiver speak; it may well not take it.
        s.flags |= PROBE_PENDING
        g.kind = KIND_ZERO_WINDOW_PROBE
        return 0
    s.flags &= ~PROBE_PENDING
    s.next_offset = offset + h.payload_bytes
    g.new_bytes = h.payload_bytes
    return result


cdef inline int take_behind(Share *share, State *c, int d, const Header *h, Segment *g, int64_t offset) noexcept nogil:
    """Place payload that begins below the stream's end: it repeats, or fills holes, or both."""
    cdef Stream *s = &c.streams[d]
    cdef int64_t n = h.payload_bytes
    cdef int64_t end = offset + n
    cdef int64_t filled = 0, first = s.next_offset
    cdef int overflow = 0
    if s.hole_count:
        filled = fill_holes(s, share, offset, min(end, s.next_offset), &first, &overflow)
        if filled:
            g.kind = KIND_OUT_OF_ORDER
    if end > s.next_offset:
        filled += end - s.next_offset
        s.next_offset = end
        s.flags &= ~PROBE_PENDING
    if filled:
        g.new_bytes = <int32_t>filled
        g.new_at = <int32_t>(first - offset)
    elif n == 1 and end == s.next_offset and s.acked >= end and not h.flags & (FLAG_SYN | FLAG_FIN):
        # RFC 9293 §3.8.4: a keep-alive may carry one garbage octet just below the next sequence number.
        g.kind = KIND_ZERO_WINDOW_PROBE if is_window_closed(c, d) else KIND_KEEP_ALIVE
        return 0
    else:
        g.kind = KIND_RETRANSMISSION
    s.retransmitted_bytes += n - filled
    return GAVE_UP_HOLE if overflow else 0


cdef inline int take_bare(Share *share, State *c, int d, const Header *h, Segment *g, int64_t offset) noexcept nogil:
    """A segment without payload, SYN or RST: a pure ACK, a FIN, a keep-alive."""
    cdef Stream *s = &c.streams[d]
    cdef bint is_fin = (h.flags & FLAG_FIN) != 0
    if s.flags & PROBE_PENDING and offset > s.next_offset and (is_fin or offset > s.next_offset + 1):
        settle_probe(s)
    if offset > s.next_offset + (1 if s.flags & (SAW_FIN | PROBE_PENDING) else 0):
        # The sender had sent more than was captured.
        return pass_over(share, s, offset)
    if offset == s.next_offset - 1 and s.acked >= s.next_offset and not is_fin:
        g.kind = KIND_ZERO_WINDOW_PROBE if is_window_closed(c, d) else KIND_KEEP_ALIVE
    return 0


cdef inline bint was_passed_over(Stream *s, int64_t end) noexcept nogil:
    """Whether the last number that was passed over was that of this FIN; then it is no missing byte."""
    cdef Hole *last
    if end != s.next_offset - 1 or s.hole_count == 0:
        return False
    last = s.holes + s.hole_count - 1
    if last.end != s.next_offset or last.start > end:
        return False
    last.end = end
    if last.start == end:
        s.hole_count -= 1
    s.next_offset = end
    return True


cdef inline bint take_fin(Stream *s, Segment *g, int64_t end) noexcept nogil:
    """Note that the stream ends at `end`. False if it can't."""
    if s.flags & SAW_FIN:
        if end != s.fin_offset:
            return False
        if g.new_bytes == 0:
            g.kind = KIND_RETRANSMISSION
            s.control_retransmissions += 1
        return True
    if end < s.next_offset and not was_passed_over(s, end):
        return False
    s.flags |= SAW_FIN
    s.fin_offset = end
    if g.kind == KIND_RETRANSMISSION:
        # Its data are old but its FIN is new.
        g.kind = KIND_NEW
    return True


@cython.overflowcheck(False)  # modular on purpose
cdef inline int place(
    Context *x, State *c, int d, const Header *h, uint32_t sequence_number, int64_t *offset
) noexcept nogil:
    """Find the offset of a segment's first payload byte. NOT_BELIEVED if it can't be true, HELD if it is not yet."""
    cdef Stream *s = &c.streams[d]
    cdef uint32_t ahead
    cdef int result
    if h.flags & FLAG_SYN:
        offset[0] = to_offset(s, sequence_number)
        return 0 if is_plausible(s, offset[0]) else NOT_BELIEVED
    if h.flags & FLAG_FIN and s.flags & HAS_ISN and s.next_offset == 0 and c.flags & SAW_SYN_ACK:
        # Between a SYN and a FIN alone lie up to 4 GiB: nearness says nothing, unless it is just below.
        ahead = sequence_number - s.base
        if ahead < 0xFFFF0000u:
            drop_jump(x, s)
            offset[0] = ahead
            return 0
    result = find_place(x, c, d, h, sequence_number)
    offset[0] = to_offset(s, sequence_number)
    return result


cdef inline void check_base(Context *x, State *c, int d, uint32_t sequence_number) noexcept nogil:
    """At a side's first own segment: its number is better evidence of where it is than what its peer acknowledged."""
    cdef Stream *s = &c.streams[d]
    s.flags &= ~BASE_BY_ACK
    if not is_in_place(c, d, to_offset(s, sequence_number)):
        drop_jump(x, s)
        forget_base(s)


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint is_syn_again(const Stream *s, const Header *h) noexcept nogil:
    """Whether a SYN was seen before. The SYN-ACK of a simultaneous open repeats its number, but says something new."""
    if not h.flags & FLAG_SYN or not s.flags & HAS_ISN or s.isn != h.sequence_number:
        return False
    return (s.flags & SYN_HAD_ACK) != 0 or not h.flags & FLAG_ACK


cdef inline int take_sequence(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Everything that a segment's own sequence number tells."""
    cdef Stream *s = &c.streams[d]
    cdef uint32_t sequence_number = h.sequence_number
    cdef bint is_syn = (h.flags & FLAG_SYN) != 0
    cdef bint is_repeated_syn = is_syn_again(s, h)
    cdef Share *share = &x.slots.shares[c.share]
    cdef int64_t offset
    cdef int result
    if is_syn:
        take_syn(c, d, h)
        sequence_number += 1
    if s.flags & BASE_BY_ACK:
        check_base(x, c, d, sequence_number)
    if not s.flags & HAS_BASE:
        set_base(s, sequence_number)
    result = place(x, c, d, h, sequence_number, &offset)
    if result & (NOT_BELIEVED | HELD):
        return result
    g.offset = offset - 1 if is_syn else offset
    if h.payload_bytes > 0:
        if offset >= s.next_offset:
            result |= take_ahead(share, c, d, h, g, offset)
        else:
            result |= take_behind(share, c, d, h, g, offset)
        if is_syn and g.new_bytes:
            g.new_at += 1
    elif not is_syn:
        result |= take_bare(share, c, d, h, g, offset)
    if is_repeated_syn and g.new_bytes == 0:
        g.kind = KIND_RETRANSMISSION
        s.control_retransmissions += 1
    if h.flags & FLAG_FIN and not take_fin(s, g, offset + h.payload_bytes):
        result |= NOT_BELIEVED
    if g.kind == KIND_RETRANSMISSION:
        s.retransmissions += 1
    return result


# --- windows ----------------------------------------------------------------------------------------------------


cdef inline int32_t scaled_window(const Stream *s, const Stream *o, const Header *h) noexcept nogil:
    """The receive window that this segment offers; -1 if the handshake was not seen (RFC 7323 §2.2)."""
    if h.flags & FLAG_SYN or h.window == 0:
        return h.window
    if s.flags & o.flags & HAS_SCALE:
        return <int32_t>h.window << s.scale
    if (s.flags & SCALE_KNOWN and not s.flags & HAS_SCALE) or (o.flags & SCALE_KNOWN and not o.flags & HAS_SCALE):
        return h.window
    return -1


cdef inline void take_window(State *c, int d, const Header *h, Segment *g) noexcept nogil:
    cdef Stream *s = &c.streams[d]
    s.last_window = h.window
    s.flags |= SAW_WINDOW
    g.window_bytes = scaled_window(s, &c.streams[1 - d], h)


# --- the short way ----------------------------------------------------------------------------------------------


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint take_usual(Share *shares, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Take the usual segment of an established connection in few steps; False if it needs the full rules.

    Usual: the next bytes of its stream, or none, acknowledging something new or what was acknowledged before, and
    nothing in it that changes state. The result is that of the full rules, which the tests compare.
    """
    cdef Stream *s = &c.streams[d]
    cdef Stream *o = &c.streams[1 - d]
    cdef uint32_t n = <uint32_t>h.payload_bytes
    cdef int64_t acked
    if (
        not c.flags & SETTLED
        or h.flags & (FLAG_ACK | FLAG_SYN | FLAG_FIN | FLAG_RST) != FLAG_ACK
        or not s.flags & o.flags & HAS_BASE
        or (s.flags | o.flags) & (PROBE_PENDING | SAW_FIN | JUMP_PENDING)
        or s.flags & BASE_BY_ACK
        or h.sequence_number != s.base + <uint32_t>(<uint64_t>s.next_offset & 0xFFFFFFFFu)
    ):
        return False
    acked = to_offset(o, h.acknowledgment_number)
    # Something must be new, or it could be a copy; and with the window closed a single byte is a probe.
    if acked > o.next_offset or acked < o.acked or (acked == o.acked and n == 0) or (n == 1 and o.last_window == 0):
        return False
    if acked < o.next_offset - PLAUSIBLE:
        return False
    notice_interface(s, h)
    remember(c, d, shares, h, fingerprint(h))
    g.offset = s.next_offset
    g.acked_offset = acked
    g.new_bytes = <int32_t>n
    s.next_offset += n
    s.segments += 1
    o.acked = acked
    take_window(c, d, h, g)
    return True


cdef inline void take_unsequenced(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Text that shows lengths only: bytes are taken to come in order, once."""
    cdef Stream *s = &c.streams[d]
    c.flags |= UNSEQUENCED | BEYOND_HANDSHAKE
    c.flags &= ~SETTLED     # nothing is usual from here on
    s.segments += 1
    g.offset = s.next_offset
    g.new_bytes = h.payload_bytes
    s.next_offset += h.payload_bytes
    note(x, REASON_UNSEQUENCED, h.frame_number, 0)


cdef inline void take_duplicate(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    cdef Stream *s = &c.streams[d]
    g.kind = KIND_DUPLICATE
    if s.flags & HAS_BASE:
        g.offset = to_offset(s, h.sequence_number)
    c.duplicates += 1
    note(x, REASON_CAPTURE_DUPLICATE, h.frame_number, 0)
