# Endpoints that are used again. A SYN with another ISN begins another connection at once after FIN, RST or a long
# silence; on a connection in use it is held until the peer's SYN-ACK tells that it was meant.
cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from tcpsight.connections._context cimport LONG_IDLE_S, NS_PER_S, Context, is_later_by
from tcpsight.connections._edge cimport drop_jump
from tcpsight.connections._handshake cimport forget_isn
from tcpsight.connections._lifecycle cimport drop_pending, end_connection, open_connection, role_of
from tcpsight.connections._rules cimport take_sequence, take_window
from tcpsight.connections._slots cimport direction_of, state_hash
from tcpsight.connections._state cimport (
    BEYOND_HANDSHAKE, COMPLETE, GROWN_UP, HAS_BASE, HAS_ISN, HAS_NEWEST, ON_SEVERAL_INTERFACES, PENDING_SYN, RESET_BY_CLIENT,
    RESET_BY_SERVER, SAW_FIN, SAW_SYN_ACK, SYN_AGAIN, State, Stream,
)
from tcpsight.tables cimport (
    FLAG_ACK, KIND_RETRANSMISSION, Header, Segment,
)

cdef enum:
    # What `on_syn` may answer besides a slot.
    OPEN_ANOTHER = -1       # the old connection, if any, is over
    HOLD = -2               # it may begin another connection
    IGNORE = -3             # it belongs to nothing that is known


cdef inline bint is_idle(const State *c, int64_t clock) noexcept nogil:
    return is_later_by(clock, c.active_ns, LONG_IDLE_S * NS_PER_S)


cdef inline bint is_over(const State *c, bint both_sides) noexcept nogil:
    """Whether a RST, or the FIN of one side (or both), was seen."""
    cdef bint client = (c.streams[0].flags & SAW_FIN) != 0
    cdef bint server = (c.streams[1].flags & SAW_FIN) != 0
    if c.flags & (RESET_BY_CLIENT | RESET_BY_SERVER):
        return True
    return (client and server) if both_sides else (client or server)


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint is_own_syn(const Stream *s, const Header *h) noexcept nogil:
    """Whether this SYN fits what is known of its stream: repeated, or captured late."""
    if s.flags & HAS_ISN:
        return s.isn == h.sequence_number
    return (s.flags & HAS_BASE) != 0 and s.base == h.sequence_number + 1


cdef inline bint begins_anew(const State *c, int d, const Header *h, int64_t clock) noexcept nogil:
    """Whether this SYN (no ACK, not its own) starts another connection between the same endpoints at once."""
    cdef const Stream *s = &c.streams[d]
    if is_over(c, False):
        return True
    if c.flags & BEYOND_HANDSHAKE:
        return is_idle(c, clock)
    # During the handshake: another number is another attempt, but the other side's SYN is a simultaneous open.
    return (s.flags & HAS_ISN) != 0 or (c.flags & SAW_SYN_ACK) != 0


cdef inline bint is_pending(const State *c, int d, const Header *h) noexcept nogil:
    return (
        (c.flags & PENDING_SYN) != 0 and c.pending_isn == h.sequence_number and c.pending_direction == d
    )


cdef inline void hold_syn(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Remember a SYN that may start another connection, if it is answered. Until then it counts where it was met."""
    cdef Stream *s = &c.streams[d]
    if is_pending(c, d, h):
        g.kind = KIND_RETRANSMISSION
        s.retransmissions += 1
        s.control_retransmissions += 1
        s.retransmitted_bytes += h.payload_bytes
        c.pending_count += 1
        c.pending_last_ns = h.time_ns
        c.pending_last_value = h.timestamp_value
        if c.pending_payload_again < 0x7FFFFFFF:
            c.pending_payload_again += h.payload_bytes
        return
    if c.flags & PENDING_SYN:
        drop_pending(x, c)
    c.flags |= PENDING_SYN
    c.before_pending_ns = c.last_ns
    c.pending_frame = h.frame_number
    c.pending_ns = c.pending_last_ns = h.time_ns
    c.pending_isn = h.sequence_number
    c.pending_value = c.pending_last_value = h.timestamp_value
    c.pending_count = 1
    c.pending_payload = h.payload_bytes
    c.pending_payload_again = 0
    c.pending_window = h.window
    c.pending_flags = h.flags
    c.pending_options = h.options
    c.pending_scale = h.window_scale
    c.pending_direction = <uint8_t>d


cdef inline Header pending_header(const State *c) noexcept nogil:
    """The held SYN as it came, as far as it matters."""
    cdef Header h
    memset(&h, 0, sizeof(Header))
    if c.pending_direction == 0:
        memcpy(h.source_address, c.client_address, 16)
        memcpy(h.destination_address, c.server_address, 16)
        h.source_port, h.destination_port = c.client_port, c.server_port
    else:
        memcpy(h.source_address, c.server_address, 16)
        memcpy(h.destination_address, c.client_address, 16)
        h.source_port, h.destination_port = c.server_port, c.client_port
    h.ip_version = c.ip_version
    h.encapsulation = <uint8_t>(c.path >> 8)
    h.tunnel = <uint16_t>(c.path >> 16)
    h.frame_number = c.pending_frame
    h.time_ns = c.pending_ns
    h.sequence_number = c.pending_isn
    h.flags = c.pending_flags
    h.payload_bytes = c.pending_payload
    h.window = c.pending_window
    h.options = c.pending_options
    h.window_scale = c.pending_scale
    h.timestamp_value = c.pending_value
    return h


cdef inline void take_back_pending(State *c) noexcept nogil:
    """The held SYN and its repetitions belong to another connection after all."""
    cdef Stream *s = &c.streams[c.pending_direction]
    c.flags &= ~PENDING_SYN
    c.last_ns = c.before_pending_ns
    s.segments -= c.pending_count
    s.retransmissions -= c.pending_count - 1
    s.control_retransmissions -= c.pending_count - 1
    s.retransmitted_bytes -= c.pending_payload_again


cdef inline uint32_t open_pending(Context *x, uint32_t slot, int32_t position) noexcept nogil:
    """The held SYN was meant: the old connection is over, the new one began with that SYN."""
    cdef State old = x.slots.states[slot]
    cdef Header syn = pending_header(&old)
    cdef Segment unused
    cdef bint from_client
    cdef uint8_t role = role_of(x, &syn, &from_client)
    cdef int d
    cdef State *c
    cdef Stream *s
    take_back_pending(&x.slots.states[slot])
    x.slots.states[slot].streams[old.pending_direction].seen_more = NULL  # it moves; its room stays counted
    x.slots.states[slot].streams[old.pending_direction].seen_bits = 0
    end_connection(x, slot, position, x.clock, INT64_MAX)
    slot = open_connection(x, &syn, state_hash(&old, x.slots.seed), position, from_client, role)
    c = &x.slots.states[slot]
    d = direction_of(c, &syn)
    s = &c.streams[d]
    memset(&unused, 0, sizeof(Segment))
    take_sequence(x, c, d, &syn, &unused)
    take_window(c, d, &syn, &unused)
    s.segments = old.pending_count
    s.retransmissions = s.control_retransmissions = old.pending_count - 1
    s.retransmitted_bytes = old.pending_payload_again
    c.connect_attempts = old.pending_count
    c.syn_last_ns = old.pending_last_ns
    c.syn_last_value = old.pending_last_value
    c.last_ns = max(old.pending_ns, old.pending_last_ns)
    move_seen(s, &old.streams[old.pending_direction])
    return slot


cdef inline void move_seen(Stream *s, Stream *from_stream) noexcept nogil:
    """The SYN may be captured twice, also after its answer. How far timestamps were is of the old connection."""
    s.seen_at = from_stream.seen_at
    s.seen_bits = from_stream.seen_bits
    s.marks = from_stream.marks & ~(GROWN_UP | HAS_NEWEST)
    s.last_id = from_stream.last_id
    s.seen_more = from_stream.seen_more
    s.last_interface = from_stream.last_interface
    s.flags |= from_stream.flags & ON_SEVERAL_INTERFACES
    memcpy(s.seen, from_stream.seen, sizeof(s.seen))
    from_stream.seen_more = NULL


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint answers_pending(const State *c, int d, const Header *h) noexcept nogil:
    """Whether this SYN-ACK acknowledges the held SYN, or data on it (RFC 7413)."""
    if not c.flags & PENDING_SYN or c.pending_direction != 1 - d:
        return False
    return <uint32_t>(h.acknowledgment_number - c.pending_isn - 1) <= <uint32_t>c.pending_payload


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint acknowledges_isn(const Stream *o, const Header *h) noexcept nogil:
    """Whether this SYN-ACK answers, if late, the SYN that opened the connection."""
    return (o.flags & HAS_ISN) != 0 and h.acknowledgment_number == o.isn + 1


cdef inline int64_t on_syn_ack(Context *x, uint32_t slot, int d, const Header *h, int32_t position) noexcept nogil:
    cdef State *c = &x.slots.states[slot]
    cdef Stream *s = &c.streams[d]
    if answers_pending(c, d, h):
        return open_pending(x, slot, position)
    if is_own_syn(s, h) or not s.flags & (HAS_ISN | HAS_BASE):
        return slot
    if not acknowledges_isn(&c.streams[1 - d], h) and (is_over(c, True) or is_idle(c, x.clock)):
        # Its SYN was not captured.
        end_connection(x, slot, position, x.clock, INT64_MAX)
        return OPEN_ANOTHER
    if not s.flags & HAS_ISN and acknowledges_isn(&c.streams[1 - d], h) and not c.flags & COMPLETE:
        # What came in its name before had no SYN, and was not acknowledged: it can't have been its own.
        drop_jump(x, s)
        forget_isn(s)
        return slot
    if c.flags & (BEYOND_HANDSHAKE | COMPLETE) or not c.flags & SYN_AGAIN:
        return IGNORE
    # The opener asked again, so it had taken no answer: the last word counts.
    drop_jump(x, s)
    forget_isn(s)
    c.syn_acks = 0
    return slot


cdef inline int64_t on_syn(Context *x, int64_t slot, int d, const Header *h, int32_t position) noexcept nogil:
    """Decide whose SYN or SYN-ACK this is: the slot to go on with, or OPEN_ANOTHER, HOLD, IGNORE."""
    cdef State *c = &x.slots.states[slot]
    if h.flags & FLAG_ACK:
        return on_syn_ack(x, <uint32_t>slot, d, h, position)
    if is_own_syn(&c.streams[d], h):
        return slot
    if begins_anew(c, d, h, x.clock):
        if is_pending(c, d, h):
            # Sent before, and held: then the old connection was reset (RFC 9293 §3.5.1).
            return open_pending(x, <uint32_t>slot, position)
        end_connection(x, <uint32_t>slot, position, x.clock, INT64_MAX)
        return OPEN_ANOTHER
    if c.flags & BEYOND_HANDSHAKE:
        return HOLD
    return slot
