# What one header causes: time moves on, its connection is found or opened, the rules are applied, its row is written.
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from tcpsight.connections._context cimport (
    Context, advance_clock, deadline_of, move_clock, note, note_step_at, timer_class, touch,
)
from tcpsight.connections._duplicates cimport FOUND_AMBIGUOUS, FOUND_DUPLICATE, look_for_duplicate
from tcpsight.connections._edge cimport GAVE_UP_HOLE, HELD, NOT_BELIEVED
from tcpsight.connections._handshake cimport acknowledges_syn, awaits_answer, is_reset_valid, take_reset
from tcpsight.connections._lifecycle cimport expire, file_deadline, open_connection, role_of
from tcpsight.connections._reuse cimport HOLD, IGNORE, OPEN_ANOTHER, hold_syn, on_syn
from tcpsight.connections._rules cimport (
    take_acknowledgment, take_duplicate, take_sequence, take_unsequenced, take_usual, take_window,
)
from tcpsight.connections._sequence cimport to_offset
from tcpsight.connections._shares cimport note_handshake_over
from tcpsight.connections._slots cimport direction_of, find
from tcpsight.connections._state cimport (
    APPROXIMATE, BEYOND_HANDSHAKE, COMPLETE, HAS_BASE, NO_OPENER, SETTLED, UNSEQUENCED, State,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_RST, FLAG_SYN, KIND_DUPLICATE, KIND_NEW, OPTION_UNSEQUENCED, REASON_AMBIGUOUS_DUPLICATE,
    REASON_HOLE_OVERFLOW, REASON_RESET_OUTSIDE_WINDOW, REASON_SEGMENT_OUTSIDE_WINDOW, Header, Segment,
)


cdef inline void begin_row(Segment *g, const Header *h) noexcept nogil:
    g.frame_number = h.frame_number
    g.time_ns = h.time_ns
    g.offset = INT64_MIN
    g.acked_offset = INT64_MIN
    g.payload_bytes = h.payload_bytes
    g.new_bytes = 0
    g.new_at = 0
    g.window_bytes = -1
    g.flags = h.flags
    g.kind = KIND_NEW


cdef inline void take_rst(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    if not is_reset_valid(c, d, h):
        c.ignored_resets += 1
        note(x, REASON_RESET_OUTSIDE_WINDOW, h.frame_number, 0)
        return
    take_reset(c, d, awaits_answer(c, d))
    if c.streams[d].flags & HAS_BASE:
        g.offset = to_offset(&c.streams[d], h.sequence_number)


cdef inline void take_segment(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Apply one segment, no copy, to its connection."""
    cdef int result = NOT_BELIEVED
    if h.flags & FLAG_RST:
        take_rst(x, c, d, h, g)
        return
    # An answer to something else than the SYN: an old connection's challenge ACK (RFC 9293 §3.10.7.4), a late SYN-ACK.
    if not awaits_answer(c, d) or acknowledges_syn(c, d, h) or h.flags & (FLAG_SYN | FLAG_ACK) == FLAG_SYN:
        result = take_sequence(x, c, d, h, g)
    if result & HELD:
        # Counted if nothing confirms it.
        return
    if result & NOT_BELIEVED:
        note(x, REASON_SEGMENT_OUTSIDE_WINDOW, h.frame_number, 0)
        if g.offset == INT64_MIN:
            return
    if h.flags & FLAG_ACK:
        result |= take_acknowledgment(x, c, d, h, g)
    take_window(c, d, h, g)
    if not h.flags & FLAG_SYN:
        c.flags |= BEYOND_HANDSHAKE
        if c.flags & COMPLETE or c.opener == NO_OPENER:
            c.flags |= SETTLED
    if result & GAVE_UP_HOLE:
        c.flags |= APPROXIMATE
        note(x, REASON_HOLE_OVERFLOW, h.frame_number, 0)


cdef inline int64_t choose(
    Context *x, const Header *h, uint32_t hash, int32_t position, int *d, int *verdict
) noexcept nogil:
    """The slot that this header belongs to, opened if need be, and its direction.

    `verdict` becomes HOLD or IGNORE where the header is no part of what that slot knows.
    """
    cdef bint from_client
    cdef uint8_t role
    cdef int64_t chosen, slot = find(&x.slots, h, hash, d)
    if slot >= 0 and h.flags & (FLAG_SYN | FLAG_RST) == FLAG_SYN and not h.options & OPTION_UNSEQUENCED:
        chosen = on_syn(x, slot, d[0], h, position)
        if chosen == HOLD or chosen == IGNORE:
            verdict[0] = <int>chosen
            return slot
        slot = chosen
    elif slot >= 0:
        return slot
    if slot == OPEN_ANOTHER:
        role = role_of(x, h, &from_client)
        slot = open_connection(x, h, hash, position, from_client, role)
    d[0] = direction_of(&x.slots.states[slot], h)
    return slot


cdef inline void apply_unsequenced(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Apply a segment of text that shows lengths only."""
    if look_for_duplicate(c, d, x.slots.shares, h) == FOUND_DUPLICATE:
        take_duplicate(x, c, d, h, g)
    else:
        take_unsequenced(x, c, d, h, g)


cdef inline void apply(Context *x, State *c, int d, const Header *h, Segment *g, int verdict) noexcept nogil:
    """Apply a segment that is not usual."""
    cdef int found
    if h.options & OPTION_UNSEQUENCED or c.flags & UNSEQUENCED:
        apply_unsequenced(x, c, d, h, g)
        return
    found = look_for_duplicate(c, d, x.slots.shares, h)
    if found == FOUND_DUPLICATE:
        take_duplicate(x, c, d, h, g)
        return
    if found == FOUND_AMBIGUOUS:
        note(x, REASON_AMBIGUOUS_DUPLICATE, h.frame_number, 0)
    c.streams[d].segments += 1
    if verdict == HOLD:
        hold_syn(x, c, d, h, g)
    elif verdict == IGNORE:
        note(x, REASON_SEGMENT_OUTSIDE_WINDOW, h.frame_number, 0)
    else:
        take_segment(x, c, d, h, g)


cdef inline void note_time(
    Context *x, State *c, uint32_t slot, int64_t time_ns, bint is_jump, bint is_held
) noexcept nogil:
    c.active_ns = x.clock
    if is_jump:
        x.candidate_slot = slot
        x.candidate_connection = c.connection_id
        x.candidate_is_held = is_held
    else:
        touch(c, time_ns, is_held)


cdef inline void place_segment(
    Context *x, const Header *h, uint32_t hash, Segment *g, int32_t position, bint is_jump
) noexcept nogil:
    cdef bint is_usual
    cdef int d = 0, verdict = 0
    cdef uint32_t slot
    cdef State *c
    slot = <uint32_t>choose(x, h, hash, position, &d, &verdict)
    c = &x.slots.states[slot]
    begin_row(g, h)
    is_usual = not h.options & OPTION_UNSEQUENCED and take_usual(x.slots.shares, c, d, h, g)
    if not is_usual:
        apply(x, c, d, h, g, verdict)
    g.connection_id = c.connection_id
    g.slot = slot
    g.direction = <uint8_t>d
    if g.kind == KIND_DUPLICATE:
        return
    note_time(x, c, slot, h.time_ns, is_jump, verdict == HOLD)
    if is_usual:
        # It changes nothing that its connection's time-out or place depends on.
        return
    note_handshake_over(&x.slots, slot)
    if c.filed_class != timer_class(c):
        # A later deadline can wait until the filed one comes up.
        c.filed_class = <uint8_t>timer_class(c)
        if c.filed_deadline > deadline_of(x, c):
            file_deadline(x, c, slot)


cdef inline bint track(Context *x, const Header *h, uint32_t hash, Segment *g, int32_t position) noexcept nogil:
    """Everything that one header causes. False if its time ends more connections than a batch takes: come again."""
    cdef bint is_jump
    if x.is_expiring:
        is_jump = x.expiring_is_jump
        x.is_expiring = False
    else:
        is_jump = advance_clock(x, h, position)
    if x.slots.timer_count and x.slots.timers[0].deadline < x.clock and not expire(x, position):
        x.is_expiring = True
        x.expiring_is_jump = is_jump
        return False
    place_segment(x, h, hash, g, position, is_jump)
    return True


cdef inline bint pass_by(Context *x, int64_t time_ns, int32_t position) noexcept nogil:
    """What a header causes that somebody else tracks: time moves on. False as `track`."""
    if x.is_expiring:
        x.is_expiring = False
    else:
        if time_ns < x.previous_ns:
            note_step_at(x, time_ns, position)
        move_clock(x, time_ns)
    if x.slots.timer_count and x.slots.timers[0].deadline < x.clock and not expire(x, position):
        x.is_expiring = True
        return False
    return True
