# How a connection is set up: SYNs, their answers, the round trips between them, and whose RST is believed.
#
# The side that sends the first SYN is the opener, the other one the answerer. The opener is the client, unless
# the user said otherwise (``--server``).
cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint32_t
from tcpsight.connections._sequence cimport PLAUSIBLE, forget_base, set_base, to_offset
from tcpsight.connections._state cimport (
    BEYOND_HANDSHAKE, COMPLETE, HAS_BASE, HAS_COPIES, HAS_ISN, HAS_NEWEST, HAS_SCALE, NO_OPENER, ON_SEVERAL_INTERFACES, REFUSED,
    RESET_BY_CLIENT, RESET_BY_SERVER, SAW_SYN_ACK, SAW_WINDOW, SCALE_KNOWN, SETTLED, SIMULTANEOUS, SYN_ACKED, SYN_AGAIN,
    SYN_HAD_ACK, State, Stream,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_SYN, OPTION_CUT, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE, Header, Segment,
)


cdef inline int64_t elapsed(int64_t start, int64_t end) noexcept nogil:
    """A duration; times that go backwards give 0, those that are too far apart the longest one there is."""
    if end <= start:
        return 0
    return INT64_MAX if start < 0 and end > INT64_MAX + start else end - start


cdef inline int64_t resolved_rtt(
    int64_t now, uint32_t echo, int64_t *times, uint32_t *values, bint is_repeated, bint is_first_certain
) noexcept nogil:
    """The round trip that an answer to the first or last copy of a segment closes.

    Never repeated: no doubt. Otherwise only timestamps can tell which was answered (Karn's rule, RFC 6298 §3). If they
    can't, −2 and less: it lasted at least as long as from the last copy on, see `least_of`.
    `times` and `values` hold first and last; `values` is NULL where there are no timestamps. What names the first copy
    is a repeated answer to it, perhaps, unless `is_first_certain`.
    """
    if not is_repeated:
        return elapsed(times[0], now)
    if values != NULL and values[0] != values[1]:
        if echo == values[1]:
            return elapsed(times[1], now)
        if echo == values[0] and is_first_certain:
            return elapsed(times[0], now)
    return -2 - min(elapsed(times[1], now), INT64_MAX - 2)


cdef inline int64_t least_of(int64_t round_trip_ns) noexcept nogil:
    """How long a round trip that is not known lasted at least; −1 if that is not known either, or it is."""
    return -2 - round_trip_ns if round_trip_ns < -1 else -1


cdef inline bint awaits_answer(const State *c, int d) noexcept nogil:
    """Whether side d has yet to answer the first SYN (its peer is in SYN-SENT), as far as was captured."""
    return (
        c.connect_attempts > 0 and d == 1 - c.opener
        and not c.flags & (SAW_SYN_ACK | BEYOND_HANDSHAKE)
        and not c.streams[d].flags & HAS_ISN
    )


cdef inline bint acknowledges_syn(const State *c, int d, const Header *h) noexcept nogil:
    """Whether this answer acknowledges the first SYN, or data on it (RFC 9293 §3.10.7.3: ISS < SEG.ACK <= SND.NXT)."""
    cdef const Stream *o = &c.streams[1 - d]
    if not h.flags & FLAG_ACK:
        return False
    return 0 <= to_offset(o, h.acknowledgment_number) <= o.next_offset


@cython.overflowcheck(False)  # modular on purpose
cdef inline void learn_isn(Stream *s, const Header *h) noexcept nogil:
    """What the first SYN of a direction tells."""
    s.isn = h.sequence_number
    s.flags |= HAS_ISN
    if not s.flags & HAS_BASE:
        set_base(s, s.isn + 1)
    if h.options & OPTION_WINDOW_SCALE:
        s.scale = h.window_scale
        s.flags |= HAS_SCALE | SCALE_KNOWN
    elif not h.options & OPTION_CUT:
        s.flags |= SCALE_KNOWN


cdef inline void forget_isn(Stream *s) noexcept nogil:
    """The side chose its number again: the stream begins anew."""
    forget_base(s)
    s.flags &= HAS_COPIES | ON_SEVERAL_INTERFACES
    s.marks &= ~HAS_NEWEST


cdef inline void take_syn(State *c, int d, const Header *h) noexcept nogil:
    """Handshake bookkeeping of a SYN or SYN-ACK, before its bytes are looked at."""
    cdef Stream *s = &c.streams[d]
    cdef bint has_value = (h.options & OPTION_TIMESTAMPS) != 0
    if not s.flags & HAS_ISN:
        learn_isn(s, h)
    if c.opener == NO_OPENER:
        c.flags &= ~SETTLED
        c.opener = 1 - d if h.flags & FLAG_ACK else d
    if h.flags & FLAG_ACK:
        s.flags |= SYN_HAD_ACK
        if d != c.opener:
            take_syn_ack(c, d, h, has_value)
    elif d != c.opener:
        c.flags |= SIMULTANEOUS
    elif c.connect_attempts == 0 or not c.flags & SAW_SYN_ACK:
        if c.connect_attempts == 0:
            c.syn_first_ns = h.time_ns
            c.syn_first_value = h.timestamp_value
            c.syn_has_value = has_value
        c.syn_last_ns = h.time_ns
        c.syn_last_value = h.timestamp_value
        c.connect_attempts += 1
    else:
        c.flags |= SYN_AGAIN


cdef inline void take_syn_ack(State *c, int d, const Header *h, bint has_value) noexcept nogil:
    cdef int64_t times[2]
    cdef uint32_t values[2]
    c.flags &= ~SYN_AGAIN
    if not c.flags & SAW_SYN_ACK:
        c.flags |= SAW_SYN_ACK
        if c.flags & REFUSED:
            # Refused at first, tried again, and taken.
            c.flags &= ~(REFUSED | RESET_BY_CLIENT | RESET_BY_SERVER)
        if c.connect_attempts > 0:
            times[0] = c.syn_first_ns
            times[1] = c.syn_last_ns
            values[0] = c.syn_first_value
            values[1] = c.syn_last_value
            c.rtt_ns[d] = resolved_rtt(
                h.time_ns, h.timestamp_echo, times, values if c.syn_has_value and has_value else NULL,
                c.connect_attempts > 1,
                False,  # the server answers a repeated SYN by what it answered the first one: that was lost, mostly
            )
    if c.syn_acks == 0:
        c.syn_ack_first_ns = h.time_ns
        c.syn_ack_first_value = h.timestamp_value
        c.syn_ack_has_value = has_value
    c.syn_acks += 1
    c.syn_ack_last_ns = h.time_ns
    c.syn_ack_last_value = h.timestamp_value


cdef inline bint completes_handshake(const State *c, int d, const Header *h, const Segment *g) noexcept nogil:
    """Whether with this acknowledgment both SYNs are acknowledged.

    The opener acknowledges only what it received: its first ACK is enough, even where the SYN-ACK was not captured.
    """
    cdef const Stream *o = &c.streams[1 - d]
    if c.streams[0].flags & c.streams[1].flags & SYN_ACKED:
        return True
    if d != c.opener or h.flags & FLAG_SYN or g.offset < 0:
        return False
    return not o.flags & HAS_ISN or g.acked_offset >= 0


cdef inline void complete_handshake(State *c, int d, const Header *h) noexcept nogil:
    cdef int64_t times[2]
    cdef uint32_t values[2]
    c.flags |= COMPLETE
    if c.flags & (RESET_BY_CLIENT | RESET_BY_SERVER) or c.streams[0].hole_count or c.streams[1].hole_count:
        # It was given up before, or something was not captured: then maybe the ACK that was first.
        return
    if c.connect_attempts > 0:
        c.connect_ns = elapsed(c.syn_first_ns, h.time_ns)
    if d != c.opener or c.syn_acks == 0 or c.flags & SIMULTANEOUS:
        return
    times[0] = c.syn_ack_first_ns
    times[1] = c.syn_ack_last_ns
    values[0] = c.syn_ack_first_value
    values[1] = c.syn_ack_last_value
    c.rtt_ns[d] = resolved_rtt(
        h.time_ns, h.timestamp_echo, times,
        values if c.syn_ack_has_value and h.options & OPTION_TIMESTAMPS else NULL,
        c.syn_acks > 1,
        True,
    )


# --- resets -----------------------------------------------------------------------------------------------------


cdef inline int64_t largest_window(const State *c, int d) noexcept nogil:
    """The largest window that the receiver of side d's segments may have offered last, in bytes."""
    cdef const Stream *o = &c.streams[1 - d]
    cdef int64_t window = o.last_window if o.flags & SAW_WINDOW else 65535
    if o.flags & HAS_SCALE:
        return window << o.scale
    return window if o.flags & SCALE_KNOWN else window << 14


cdef inline bint is_reset_valid(const State *c, int d, const Header *h) noexcept nogil:
    """Whether the receiver of this RST would have believed it (RFC 9293 §3.10.7, RFC 5961 §3.2)."""
    cdef const Stream *s = &c.streams[d]
    cdef int64_t offset, received
    if awaits_answer(c, d):
        return acknowledges_syn(c, d, h)
    if not s.flags & HAS_BASE:
        return True
    offset = to_offset(s, h.sequence_number)
    if s.acked != INT64_MIN:
        received = s.acked
    elif s.flags & HAS_ISN:
        received = -1
    else:
        received = s.next_offset - PLAUSIBLE
    if offset < received:
        return False
    if offset <= s.next_offset + 1:
        return True
    if not c.flags & BEYOND_HANDSHAKE and not c.streams[1 - d].flags & SAW_WINDOW:
        # Nothing but a SYN so far: there is no window to be in.
        return False
    return offset < (s.next_offset if s.acked == INT64_MIN else s.acked) + largest_window(c, d)


cdef inline void take_reset(State *c, int d, bint is_refusal) noexcept nogil:
    """Note a valid RST; only the first one says who reset the connection."""
    if c.flags & (RESET_BY_CLIENT | RESET_BY_SERVER):
        return
    if is_refusal:
        c.flags |= REFUSED
    c.flags |= RESET_BY_CLIENT if d == 0 else RESET_BY_SERVER
