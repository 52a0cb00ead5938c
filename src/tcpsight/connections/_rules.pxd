# The rules of one connection: what a segment does to the state of the stream it extends and of the stream it
# acknowledges. Nothing here knows of other connections, tables or clocks.
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from tcpsight.connections._duplicates cimport fingerprint, remember
from tcpsight.connections._sequence cimport (
    PLAUSIBLE, add_hole, fill_holes, set_base, to_offset,
)
from tcpsight.connections._slots cimport Slots, holes_of
from tcpsight.connections._state cimport (
    APPROXIMATE, BEYOND_HANDSHAKE, COMPLETE, HAS_BASE, HAS_ISN, HAS_SCALE, PROBE_PENDING, REFUSED,
    RESET_BY_CLIENT, RESET_BY_SERVER, RING, SAW_FIN, SAW_SYN_ACK, SAW_WINDOW, SCALE_KNOWN, SYN_ACKED, SYN_HAD_ACK,
    State, Stream,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_KEEP_ALIVE, KIND_NEW, KIND_OUT_OF_ORDER, KIND_RETRANSMISSION,
    KIND_ZERO_WINDOW_PROBE, OPTION_CUT, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE, Header, Segment,
)

cdef inline int64_t elapsed(int64_t start, int64_t end) noexcept nogil:
    """A duration; times that go backwards give 0, not a negative one."""
    return end - start if end > start else 0


cdef inline int64_t resolved_rtt(
    int64_t now, uint32_t echo, int64_t *times, uint32_t *values, int copies
) noexcept nogil:
    """The round trip that an answer to the first or last of `copies` segments closes.

    One copy: no doubt. Several: only timestamps can tell which was answered (Karn's rule, RFC 6298 §3); -1 if not.
    `times` and `values` hold first and last; `values` is NULL where there are no timestamps.
    """
    if copies == 1:
        return elapsed(times[0], now)
    if values == NULL or values[0] == values[1]:
        return -1
    if echo == values[1]:
        return elapsed(times[1], now)
    if echo == values[0]:
        return elapsed(times[0], now)
    return -1


cdef inline void take_syn(State *c, int d, const Header *h) noexcept nogil:
    """Handshake bookkeeping of a SYN or SYN-ACK, before its bytes are looked at."""
    cdef Stream *s = &c.streams[d]
    cdef bint has_value = (h.options & OPTION_TIMESTAMPS) != 0
    if not s.flags & HAS_ISN:
        s.isn = h.sequence_number
        s.flags |= HAS_ISN
        if not s.flags & HAS_BASE:
            set_base(s, s.isn + 1)
        if h.options & OPTION_WINDOW_SCALE:
            s.scale = h.window_scale
            s.flags |= HAS_SCALE | SCALE_KNOWN
        elif not h.options & OPTION_CUT:
            s.flags |= SCALE_KNOWN
    if h.flags & FLAG_ACK:
        s.flags |= SYN_HAD_ACK
        take_syn_ack(c, h, has_value)
    elif d == 0:
        if c.connect_attempts == 0:
            c.syn_first_ns = h.time_ns
            c.syn_first_value = h.timestamp_value
            c.syn_has_value = has_value
        c.syn_last_ns = h.time_ns
        c.syn_last_value = h.timestamp_value
        if not c.flags & SAW_SYN_ACK:
            c.connect_attempts += 1


cdef inline void take_syn_ack(State *c, const Header *h, bint has_value) noexcept nogil:
    cdef int64_t times[2]
    cdef uint32_t values[2]
    if not c.flags & SAW_SYN_ACK:
        c.flags |= SAW_SYN_ACK
        c.syn_ack_first_ns = h.time_ns
        c.syn_ack_first_value = h.timestamp_value
        c.syn_ack_has_value = has_value
        if c.connect_attempts > 0:
            times[0] = c.syn_first_ns
            times[1] = c.syn_last_ns
            values[0] = c.syn_first_value
            values[1] = c.syn_last_value
            c.server_rtt_ns = resolved_rtt(
                h.time_ns, h.timestamp_echo, times, values if c.syn_has_value and has_value else NULL,
                1 if c.connect_attempts == 1 else 2,
            )
    c.syn_acks += 1
    c.syn_ack_last_ns = h.time_ns
    c.syn_ack_last_value = h.timestamp_value


cdef inline void complete_handshake(State *c, int d, const Header *h) noexcept nogil:
    """Both SYNs are acknowledged as of this segment."""
    cdef int64_t times[2]
    cdef uint32_t values[2]
    c.flags |= COMPLETE
    if c.connect_attempts > 0:
        c.connect_ns = elapsed(c.syn_first_ns, h.time_ns)
    if d == 0 and c.syn_acks > 0:
        times[0] = c.syn_ack_first_ns
        times[1] = c.syn_ack_last_ns
        values[0] = c.syn_ack_first_value
        values[1] = c.syn_ack_last_value
        c.client_rtt_ns = resolved_rtt(
            h.time_ns, h.timestamp_echo, times,
            values if c.syn_ack_has_value and h.options & OPTION_TIMESTAMPS else NULL,
            1 if c.syn_acks == 1 else 2,
        )


cdef inline int take_acknowledgment(Slots *slots, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """What this segment says about the other direction. Give 1 if a hole was given up."""
    cdef Stream *o = &c.streams[1 - d]
    cdef int64_t acked, limit
    cdef int overflow = 0
    if not o.flags & HAS_BASE:
        # Mid-stream: whatever was acknowledged before the capture began lies below offset 0.
        set_base(o, h.acknowledgment_number)
    acked = to_offset(o, h.acknowledgment_number)
    limit = o.next_offset + (1 if o.flags & (SAW_FIN | PROBE_PENDING) else 0)
    if acked > limit + PLAUSIBLE or acked < o.next_offset - PLAUSIBLE:
        return 0
    if o.flags & PROBE_PENDING and acked == o.next_offset + 1:
        # The probe's byte was taken: it is part of the stream after all.
        o.next_offset += 1
        o.flags &= ~PROBE_PENDING
    elif acked > limit:
        # Acknowledged but never captured: the capture lost it, not the network.
        overflow = add_hole(o, holes_of(slots, o), o.next_offset, acked)
        o.next_offset = acked
        o.flags &= ~PROBE_PENDING
    g.acked_offset = acked
    if acked > o.acked:
        o.acked = acked
    if o.flags & HAS_ISN and acked >= 0:
        o.flags |= SYN_ACKED
    if (
        not c.flags & COMPLETE
        and c.streams[0].flags & c.streams[1].flags & SYN_ACKED
    ):
        complete_handshake(c, d, h)
    return overflow


cdef inline int take_payload(Slots *slots, State *c, int d, const Header *h, Segment *g, int64_t offset) noexcept nogil:
    """Place the payload in its stream. Give 1 if a hole was given up.

    Sets new_bytes and new_at (counted from `offset`) and, unless the bytes are plainly new, the kind.
    """
    cdef Stream *s = &c.streams[d]
    cdef Stream *o = &c.streams[1 - d]
    cdef int64_t n = h.payload_bytes
    cdef int64_t end = offset + n
    cdef int64_t filled = 0, first = offset
    cdef bint closed_window = o.flags & SAW_WINDOW and o.last_window == 0
    cdef int overflow = 0
    if offset == s.next_offset:
        if n == 1 and closed_window and not h.flags & (FLAG_SYN | FLAG_FIN):
            s.flags |= PROBE_PENDING
            g.kind = KIND_ZERO_WINDOW_PROBE
            return 0
        s.next_offset = end
        g.new_bytes = <int32_t>n
        s.flags &= ~PROBE_PENDING
        return 0
    if offset > s.next_offset:
        if s.flags & PROBE_PENDING and offset == s.next_offset + 1:
            # The probe's byte was taken without our seeing its ACK; it counts with these.
            g.new_bytes = <int32_t>(n + 1)
            g.new_at = -1
        else:
            overflow = add_hole(s, holes_of(slots, s), s.next_offset, offset)
            g.new_bytes = <int32_t>n
        s.next_offset = end
        s.flags &= ~PROBE_PENDING
        return overflow
    if s.hole_count:
        filled = fill_holes(s, holes_of(slots, s), offset, min(end, s.next_offset), &first)
    if filled:
        g.kind = KIND_OUT_OF_ORDER
    else:
        first = s.next_offset
    if end > s.next_offset:
        filled += end - s.next_offset
        s.next_offset = end
        s.flags &= ~PROBE_PENDING
    g.new_bytes = <int32_t>filled
    g.new_at = <int32_t>(first - offset) if filled else 0
    if filled == 0 and n == 1 and end == s.next_offset and s.acked >= s.next_offset:
        # RFC 1122 §4.2.3.6: a keep-alive may carry one garbage octet just below the next sequence number.
        g.kind = KIND_ZERO_WINDOW_PROBE if closed_window else KIND_KEEP_ALIVE
        return 0
    s.retransmitted_bytes += n - filled
    if filled == 0:
        g.kind = KIND_RETRANSMISSION
    return 0


cdef inline int take_bare(Slots *slots, State *c, int d, const Header *h, Segment *g, int64_t offset) noexcept nogil:
    """A segment without payload, SYN or RST: a pure ACK, a FIN, a keep-alive. Give 1 if a hole was given up."""
    cdef Stream *s = &c.streams[d]
    cdef Stream *o = &c.streams[1 - d]
    cdef int64_t limit = s.next_offset + (1 if s.flags & (SAW_FIN | PROBE_PENDING) else 0)
    cdef int overflow = 0
    if offset > limit:
        # The sender had sent more than was captured.
        overflow = add_hole(s, holes_of(slots, s), s.next_offset, offset)
        s.next_offset = offset
        s.flags &= ~PROBE_PENDING
    elif (
        offset == s.next_offset - 1
        and not h.flags & FLAG_FIN
        and s.acked >= s.next_offset
    ):
        g.kind = KIND_ZERO_WINDOW_PROBE if o.flags & SAW_WINDOW and o.last_window == 0 else KIND_KEEP_ALIVE
    return overflow


cdef inline bint take_fin(State *c, int d, const Header *h, Segment *g, int64_t offset) noexcept nogil:
    """Note where the stream ends. False if that place can't be its end."""
    cdef Stream *s = &c.streams[d]
    cdef int64_t end = offset + h.payload_bytes
    if s.flags & SAW_FIN:
        if end != s.fin_offset:
            return False
        if g.new_bytes == 0:
            if g.kind != KIND_RETRANSMISSION:
                s.retransmissions += 1
            g.kind = KIND_RETRANSMISSION
            s.control_retransmissions += 1
        return True
    if end < s.next_offset:
        return False
    s.flags |= SAW_FIN
    s.fin_offset = end
    if g.kind == KIND_RETRANSMISSION:
        # Its data are old but its FIN is new.
        s.retransmissions -= 1
        g.kind = KIND_NEW
    return True


cdef inline bint is_reset_valid(const State *c, int d, const Header *h) noexcept nogil:
    """Whether the receiver of this RST would have believed it (RFC 9293 §3.10.7, RFC 5961 §3.2)."""
    cdef const Stream *s = &c.streams[d]
    cdef const Stream *o = &c.streams[1 - d]
    cdef int64_t offset, ack, window
    if d == 1 and c.connect_attempts > 0 and not s.flags & HAS_ISN and not c.flags & BEYOND_HANDSHAKE:
        # In SYN-SENT only a RST that acknowledges the SYN (or data on it) counts.
        if not h.flags & FLAG_ACK:
            return False
        ack = to_offset(o, h.acknowledgment_number)
        return 0 <= ack <= o.next_offset
    if not s.flags & HAS_BASE:
        return True
    offset = to_offset(s, h.sequence_number)
    if s.acked != INT64_MIN and offset < s.acked:
        # A sender resets from its SND.NXT; a late SYN, from its ISN + 1.
        return False
    window = 65535 if not o.flags & SAW_WINDOW else o.last_window
    window <<= o.scale if o.flags & HAS_SCALE else (0 if o.flags & SCALE_KNOWN else 14)
    return offset <= max(s.next_offset + 1, (s.acked if s.acked != INT64_MIN else s.next_offset) + window)


cdef inline void take_reset(State *c, int d) noexcept nogil:
    if c.flags & (RESET_BY_CLIENT | RESET_BY_SERVER):
        return
    if d == 1 and c.connect_attempts > 0 and not c.streams[1].flags & HAS_ISN and not c.flags & BEYOND_HANDSHAKE:
        c.flags |= REFUSED
    c.flags |= RESET_BY_CLIENT if d == 0 else RESET_BY_SERVER


cdef inline void take_window(State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """The receive window that this segment offers, scaled if the handshake told how (RFC 7323 §2.2)."""
    cdef Stream *s = &c.streams[d]
    cdef Stream *o = &c.streams[1 - d]
    s.last_window = h.window
    s.flags |= SAW_WINDOW
    if h.flags & FLAG_SYN or h.window == 0:
        g.window_bytes = h.window
    elif s.flags & o.flags & HAS_SCALE:
        g.window_bytes = <int32_t>h.window << s.scale
    elif (s.flags & SCALE_KNOWN and not s.flags & HAS_SCALE) or (o.flags & SCALE_KNOWN and not o.flags & HAS_SCALE):
        g.window_bytes = h.window
    else:
        g.window_bytes = -1


cdef inline int take_sequence(Slots *slots, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Everything that a segment's own sequence number tells. Bit 0: a hole was given up; bit 1: not believed."""
    cdef Stream *s = &c.streams[d]
    cdef uint32_t sequence_number = h.sequence_number
    cdef bint is_syn = (h.flags & FLAG_SYN) != 0
    cdef bint again = is_syn and (s.flags & HAS_ISN) != 0 and s.isn == sequence_number
    cdef bint had_ack = (s.flags & SYN_HAD_ACK) != 0
    cdef int64_t offset
    cdef int result = 0
    if is_syn:
        take_syn(c, d, h)
        sequence_number += 1
    if not s.flags & HAS_BASE:
        set_base(s, sequence_number)
    offset = to_offset(s, sequence_number)
    if offset > s.next_offset + PLAUSIBLE or offset < s.next_offset - PLAUSIBLE:
        return 2
    g.offset = offset - 1 if is_syn else offset
    if h.payload_bytes > 0:
        result = take_payload(slots, c, d, h, g, offset)
        if is_syn:
            g.new_at += 1
    elif not is_syn:
        result = take_bare(slots, c, d, h, g, offset)
    if g.kind == KIND_RETRANSMISSION:
        s.retransmissions += 1
    # The SYN-ACK of a simultaneous open repeats the SYN's number, but says something new.
    if again and (had_ack or not h.flags & FLAG_ACK) and g.new_bytes == 0:
        if g.kind != KIND_RETRANSMISSION:
            s.retransmissions += 1
        g.kind = KIND_RETRANSMISSION
        s.control_retransmissions += 1
    if h.flags & FLAG_FIN and not take_fin(c, d, h, g, offset):
        result |= 2
    return result


cdef inline bint take_usual(State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Take the usual segment of an established connection in few steps; False if it needs the full rules.

    Usual: the next bytes of its stream, or none, acknowledging something new or what was acknowledged before, and
    nothing in it that changes state. The result is that of the full rules, which the tests compare.
    """
    cdef Stream *s = &c.streams[d]
    cdef Stream *o = &c.streams[1 - d]
    cdef uint32_t n = <uint32_t>h.payload_bytes
    cdef int64_t acked
    if (
        not c.flags & COMPLETE
        or h.flags & (FLAG_ACK | FLAG_SYN | FLAG_FIN | FLAG_RST) != FLAG_ACK
        or (s.flags | o.flags) & (PROBE_PENDING | SAW_FIN)
        or h.sequence_number != s.base + <uint32_t>(<uint64_t>s.next_offset & 0xFFFFFFFFu)
    ):
        return False
    acked = to_offset(o, h.acknowledgment_number)
    # Something must be new, or it could be a copy; and with the window closed a single byte is a probe.
    if acked > o.next_offset or acked < o.acked or (acked == o.acked and n == 0) or (n == 1 and o.last_window == 0):
        return False
    remember(s, h, fingerprint(h))
    g.offset = s.next_offset
    g.acked_offset = acked
    g.new_bytes = <int32_t>n
    s.next_offset += n
    s.segments += 1
    o.acked = acked
    c.flags |= BEYOND_HANDSHAKE
    take_window(c, d, h, g)
    return True
