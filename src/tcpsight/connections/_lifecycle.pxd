# How connections open, end and time out.
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from tcpsight.connections._community cimport name_connection
from tcpsight.connections._context cimport (
    ENDED, EPHEMERAL_PORT, JUMP_S, NS_PER_S, Context, deadline_of, is_later_by, next_row, note, note_again,
    timer_class,
)
from tcpsight.connections._edge cimport drop_jump
from tcpsight.connections._handshake cimport elapsed, least_of
from tcpsight.connections._sequence cimport missing_bytes
from tcpsight.connections._shares cimport dispensable, is_full, join_share, leave_share, share_of
from tcpsight.connections._slots cimport give_slot, insert, path_of, same_address, take_slot
from tcpsight.connections._state cimport (
    APPROXIMATE, BEYOND_HANDSHAKE, GAP_UNKNOWN, HAS_ISN, NO_OPENER, PENDING_SYN, REFUSED, RESET_BY_CLIENT,
    RESET_BY_SERVER, SAW_FIN, SAW_SYN_ACK, UNSEQUENCED, Hole, State, Stream,
)
from tcpsight.connections._timers cimport pop_timer, push_timer
from tcpsight.tables cimport (
    BOUNDARY_ENDED, BOUNDARY_OPENED, FLAG_ACK, FLAG_SYN, OPTION_UNSEQUENCED, REASON_CAPTURE_GAP,
    REASON_CONNECTION_OVERFLOW, REASON_SEGMENT_OUTSIDE_WINDOW, ROLE_FIRST, ROLE_OPTION, ROLE_PORT, ROLE_SYN, ROLE_SYN_ACK, STATE_CLIENT_RESET,
    STATE_CLOSED, STATE_HALF_CLOSED, STATE_HANDSHAKING, STATE_OPEN, STATE_REFUSED, STATE_SERVER_RESET,
    STATE_UNANSWERED, Boundary, Connection, Header,
)

cdef enum:
    STATE_UNKNOWN = 255     # the null of Connections.state and fin_from
    BATCH_CONNECTIONS = 16_384  # so many at once, lest many that end together take much memory


cdef inline bint is_server(const Context *x, const uint8_t *address, uint16_t port, uint8_t ip_version) noexcept nogil:
    cdef int i
    for i in range(x.server_count):
        if x.servers[i].port and x.servers[i].port != port:
            continue
        if x.servers[i].any_address:
            return True
        if x.servers[i].ip_version == ip_version and same_address(x.servers[i].address, address):
            return True
    return False


cdef inline uint8_t role_of(const Context *x, const Header *h, bint *from_client) noexcept nogil:
    """Tell who is the client, by the best evidence in the connection's first segment."""
    cdef bint to_server = is_server(x, h.destination_address, h.destination_port, h.ip_version)
    cdef bint by_server = is_server(x, h.source_address, h.source_port, h.ip_version)
    cdef bint low_source = h.source_port < EPHEMERAL_PORT
    cdef bint low_destination = h.destination_port < EPHEMERAL_PORT
    if to_server != by_server:
        from_client[0] = to_server
        return ROLE_OPTION
    if h.flags & FLAG_SYN and not h.options & OPTION_UNSEQUENCED:
        from_client[0] = not h.flags & FLAG_ACK
        return ROLE_SYN_ACK if h.flags & FLAG_ACK else ROLE_SYN
    if h.source_port == h.destination_port:
        from_client[0] = True
        return ROLE_FIRST
    if low_source != low_destination:
        from_client[0] = low_destination
    else:
        from_client[0] = h.destination_port < h.source_port
    return ROLE_PORT


cdef inline void file_deadline(Context *x, State *c, uint32_t slot) noexcept nogil:
    c.filed_class = <uint8_t>timer_class(c)
    c.filed_deadline = deadline_of(x, c)
    push_timer(&x.slots, c.filed_deadline, c.connection_id, slot)


cdef inline void announce(Context *x, const State *c, uint32_t slot, int32_t position) noexcept nogil:
    cdef Boundary *b = <Boundary *>next_row(x, &x.boundaries, sizeof(Boundary))
    if b == NULL:
        return
    b.connection_id = c.connection_id
    b.time_ns = c.start_ns
    memcpy(b.client_address, c.client_address, 16)
    memcpy(b.server_address, c.server_address, 16)
    b.client_port = c.client_port
    b.server_port = c.server_port
    b.slot = slot
    b.position = position
    b.row = x.row
    b.share = c.share
    b.due_ns = INT64_MAX
    b.boundary = BOUNDARY_OPENED
    b.ip_version = c.ip_version


cdef inline uint32_t open_connection(
    Context *x, const Header *h, uint32_t hash, int32_t position, bint from_client, uint8_t role
) noexcept nogil:
    cdef uint8_t share = share_of(h.source_address, h.source_port, h.destination_address, h.destination_port)
    cdef uint32_t slot
    cdef State *c
    cdef int d
    if is_full(&x.slots, share):
        note(x, REASON_CONNECTION_OVERFLOW, h.frame_number, 0)
        end_connection(x, dispensable(&x.slots, share), position, x.clock, INT64_MAX)
    slot = take_slot(&x.slots)
    c = &x.slots.states[slot]
    if from_client:
        memcpy(c.client_address, h.source_address, 16)
        memcpy(c.server_address, h.destination_address, 16)
        c.client_port, c.server_port = h.source_port, h.destination_port
    else:
        memcpy(c.client_address, h.destination_address, 16)
        memcpy(c.server_address, h.source_address, 16)
        c.client_port, c.server_port = h.destination_port, h.source_port
    c.ip_version = h.ip_version
    c.path = path_of(h)
    c.role_source = role
    c.connection_id = h.frame_number
    c.start_ns = c.last_ns = h.time_ns
    c.active_ns = x.clock
    c.connect_ns = c.rtt_ns[0] = c.rtt_ns[1] = -1
    c.opener = NO_OPENER
    for d in range(2):
        c.streams[d].acked = INT64_MIN
    insert(&x.slots, hash, slot)
    join_share(&x.slots, slot, share)
    file_deadline(x, c, slot)
    announce(x, c, slot, position)
    return slot


# --- the end ----------------------------------------------------------------------------------------------------


cdef inline bint is_fin_inferred(Context *x, State *c, int d) noexcept nogil:
    """Whether side d's FIN was acknowledged but not captured.

    One acknowledged number at the very end of its stream is missing, and its peer closed: that was the FIN.
    """
    cdef Stream *s = &c.streams[d]
    cdef const Hole *last
    if s.flags & SAW_FIN or not c.streams[1 - d].flags & SAW_FIN or s.hole_count == 0 or s.acked < s.next_offset:
        return False
    last = s.holes + s.hole_count - 1
    return last.end == s.next_offset and last.start == s.next_offset - 1


cdef inline uint8_t state_of(const State *c, bint both_closed) noexcept nogil:
    if both_closed:
        return STATE_CLOSED
    if c.flags & REFUSED:
        return STATE_REFUSED
    if c.flags & RESET_BY_CLIENT:
        return STATE_CLIENT_RESET
    if c.flags & RESET_BY_SERVER:
        return STATE_SERVER_RESET
    if (c.streams[0].flags | c.streams[1].flags) & SAW_FIN:
        return STATE_HALF_CLOSED
    if not c.flags & BEYOND_HANDSHAKE:
        return STATE_HANDSHAKING if c.flags & SAW_SYN_ACK else STATE_UNANSWERED
    return STATE_OPEN


cdef inline uint8_t fin_sides(const State *c) noexcept nogil:
    """Whose FIN was seen or inferred, as `Connections.fin_from` counts: 1 the client's, 2 the server's."""
    return (1 if c.streams[0].flags & SAW_FIN else 0) + (2 if c.streams[1].flags & SAW_FIN else 0)


cdef inline int64_t gap_bytes(Context *x, const State *c, Stream *s) noexcept nogil:
    cdef int64_t gap = missing_bytes(s)
    if gap or s.flags & GAP_UNKNOWN:
        note(x, REASON_CAPTURE_GAP, c.connection_id, gap)
    return -1 if s.flags & GAP_UNKNOWN else gap


cdef inline void fill_streams(Context *x, State *c, Connection *r) noexcept nogil:
    cdef Stream *client = &c.streams[0]
    cdef Stream *server = &c.streams[1]
    r.client_isn = <int64_t>client.isn if client.flags & HAS_ISN else -1
    r.server_isn = <int64_t>server.isn if server.flags & HAS_ISN else -1
    r.client_bytes = client.next_offset
    r.server_bytes = server.next_offset
    r.client_segments = client.segments
    r.server_segments = server.segments
    if c.flags & UNSEQUENCED:
        r.client_retransmissions = r.server_retransmissions = -1
        r.client_control_retransmissions = r.server_control_retransmissions = -1
        r.client_retransmitted_bytes = r.server_retransmitted_bytes = -1
        r.client_gap_bytes = r.server_gap_bytes = -1
        return
    r.client_retransmissions = client.retransmissions
    r.server_retransmissions = server.retransmissions
    r.client_control_retransmissions = client.control_retransmissions
    r.server_control_retransmissions = server.control_retransmissions
    r.client_retransmitted_bytes = client.retransmitted_bytes
    r.server_retransmitted_bytes = server.retransmitted_bytes
    r.client_gap_bytes = gap_bytes(x, c, client)
    r.server_gap_bytes = gap_bytes(x, c, server)


cdef inline int64_t unless_leapt(int64_t round_trip_ns, int64_t duration_ns) noexcept nogil:
    """A round trip; unknown where it holds a leap of the clock: hours that the connection did not last."""
    if round_trip_ns > duration_ns and is_later_by(round_trip_ns, 0, JUMP_S * NS_PER_S):
        return -1
    return round_trip_ns if round_trip_ns >= 0 else -1


cdef inline void fill_row(Context *x, State *c, Connection *r, bint both_closed) noexcept nogil:
    r.connection_id = c.connection_id
    memcpy(r.client_address, c.client_address, 16)
    memcpy(r.server_address, c.server_address, 16)
    r.client_port = c.client_port
    r.server_port = c.server_port
    r.ip_version = c.ip_version
    r.encapsulation = <uint8_t>(c.path >> 8)
    r.role_source = c.role_source
    r.state = STATE_UNKNOWN if c.flags & UNSEQUENCED else state_of(c, both_closed)
    r.fin_from = STATE_UNKNOWN if c.flags & UNSEQUENCED else fin_sides(c)
    r.is_sequenced = not c.flags & UNSEQUENCED
    r.is_approximate = (c.flags & APPROXIMATE) != 0
    r.start_ns = c.start_ns
    r.end_ns = c.last_ns
    r.duration_ns = elapsed(c.start_ns, c.last_ns)
    r.connect_attempts = c.connect_attempts
    # What would take longer than the connection was measured by a clock that jumped.
    r.connect_ns = c.connect_ns if c.connect_ns <= r.duration_ns else -1
    r.server_handshake_rtt_ns = unless_leapt(c.rtt_ns[1], r.duration_ns)
    r.client_handshake_rtt_ns = unless_leapt(c.rtt_ns[0], r.duration_ns)
    r.server_handshake_least_ns = unless_leapt(least_of(c.rtt_ns[1]), r.duration_ns)
    r.client_handshake_least_ns = unless_leapt(least_of(c.rtt_ns[0]), r.duration_ns)
    r.duplicates = c.duplicates
    r.ignored_resets = c.ignored_resets
    fill_streams(x, c, r)


cdef inline bint conclude(Context *x, State *c) noexcept nogil:
    """Judge what only the end can tell. True if both sides closed their streams."""
    cdef int d
    if c.flags & PENDING_SYN:
        drop_pending(x, c)
    for d in range(2):
        drop_jump(x, &c.streams[d])
        if is_fin_inferred(x, c, d):
            c.streams[d].hole_count -= 1
            c.streams[d].next_offset -= 1
            c.streams[d].flags |= SAW_FIN
    return (c.streams[0].flags & c.streams[1].flags & SAW_FIN) != 0


cdef inline void drop_pending(Context *x, State *c) noexcept nogil:
    """The held SYN was never answered: it was not understood."""
    c.flags &= ~PENDING_SYN
    note(x, REASON_SEGMENT_OUTSIDE_WINDOW, c.pending_frame, 0)
    note_again(x, REASON_SEGMENT_OUTSIDE_WINDOW, c.pending_count - 1)


cdef inline void end_connection(
    Context *x, uint32_t slot, int32_t position, int64_t at_ns, int64_t due_ns
) noexcept nogil:
    """Give the connection's row and the slot back.

    `at_ns` is when it was given up, if it did not end itself; `due_ns` the deadline, if that is why it ends.
    """
    cdef State *c = &x.slots.states[slot]
    cdef Connection *r = <Connection *>next_row(x, &x.connections, sizeof(Connection))
    cdef Boundary *b = <Boundary *>next_row(x, &x.boundaries, sizeof(Boundary))
    cdef bint both_closed
    if r == NULL or b == NULL:
        return
    both_closed = conclude(x, c)
    b.connection_id = c.connection_id
    b.time_ns = c.last_ns if timer_class(c) == ENDED else max(at_ns, c.last_ns)
    b.slot = slot
    b.position = position
    b.row = x.row
    b.share = c.share
    b.due_ns = due_ns
    b.boundary = BOUNDARY_ENDED
    b.is_open = x.is_over and timer_class(c) != ENDED
    fill_row(x, c, r, both_closed)
    name_connection(r)
    leave_share(&x.slots, slot)
    give_slot(&x.slots, slot)


cdef inline void fill_open_rows(Context *x) noexcept nogil:
    """Write the rows of open connections as if they ended now; what is known of them stays."""
    cdef uint32_t slot
    cdef Connection *r
    cdef State c
    for slot in range(x.slots.used):
        if x.slots.states[slot].connection_id:
            r = <Connection *>next_row(x, &x.connections, sizeof(Connection))
            if r == NULL:
                return
            c = x.slots.states[slot]
            fill_row(x, &c, r, conclude(x, &c))


cdef inline bint expire(Context *x, int32_t position) noexcept nogil:
    """End every connection whose deadline the clock has passed. False if there are more than a batch takes."""
    cdef uint32_t slot
    cdef int64_t connection_id, filed, due
    cdef State *c
    while x.slots.timer_count and x.slots.timers[0].deadline < x.clock:
        if x.connections.count >= BATCH_CONNECTIONS:
            return False
        slot = x.slots.timers[0].slot
        connection_id = x.slots.timers[0].connection_id
        filed = x.slots.timers[0].deadline
        pop_timer(&x.slots)
        c = &x.slots.states[slot]
        if c.connection_id != connection_id or c.filed_deadline != filed:
            continue  # ended meanwhile, or filed anew
        due = deadline_of(x, c)
        if due > filed:
            # It was active since: deadlines are looked at only when the old one comes up.
            c.filed_class = <uint8_t>timer_class(c)
            c.filed_deadline = due
            push_timer(&x.slots, due, connection_id, slot)
        else:
            end_connection(x, slot, position, due, due)
    return True
