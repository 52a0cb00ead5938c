"""What a segment does to the time account of its connection: the rules of `accounting.py`."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from tcpsight.network._account_state cimport (
    ANSWERING, ASKING, AS_USUAL, BEFORE, FAR_OFFSET, GREETING, HOUR_NS, IN_FIRST, IN_LAST, LEAPT, MOST_NEAR_NS,
    NO_OPENER, REACTION_NS, RECOVERING, SHAKING, SYN_ACKED, SYN_REPEATED, SYN_SEEN, TIGHT, UNHEARD, WAS_TIGHT, Made,
    Slot, Turn,
)
from tcpsight.tables cimport (
    DIRECTION_CLIENT,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    KIND_DUPLICATE,
    KIND_KEEP_ALIVE,
    KIND_OUT_OF_ORDER,
    KIND_RETRANSMISSION,
    KIND_ZERO_WINDOW_PROBE,
    PART_CONNECT,
    PART_PATH_LIMITED,
    PART_RECEIVER_LIMITED,
    PART_RECOVERY,
    PART_REQUEST_TRANSFER,
    PART_RESPONSE_TRANSFER,
    PART_SERVER,
    PART_THINK,
    PART_UNKNOWN,
    Header,
    RequestAccount,
    Segment,
)

cdef inline int64_t larger(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


# ------------------------------------------------------------------------------------------------- charges


cdef inline void charge(Slot *a, int part, int64_t until_ns) noexcept nogil:
    """Give the time up to `until_ns` to a part; of a handshake it is known at the end only."""
    cdef int64_t elapsed = until_ns - a.mark_ns
    if elapsed <= 0:
        return
    if not a.rare & SHAKING:
        a.parts[part - 1] += elapsed
    if elapsed > HOUR_NS:
        a.leap_part = <uint8_t>(PART_CONNECT if a.rare & SHAKING else part)
        a.rare |= LEAPT
        a.leap_ns = elapsed
        a.leap_is_in = 0
    a.mark_ns = until_ns


cdef inline void take_leap_back(Slot *a, Turn *turn) noexcept nogil:
    """The clock had jumped: that time did not pass, neither for the connection nor for its current request."""
    a.rare &= ~LEAPT
    a.mark_ns -= a.leap_ns
    # Of a handshake nothing was charged, even if it has ended since.
    if a.leap_part != PART_CONNECT:
        a.parts[a.leap_part - 1] -= a.leap_ns
        if turn != NULL and a.leap_is_in & IN_FIRST:
            turn.first[a.leap_part - 1] -= a.leap_ns
        if turn != NULL and a.leap_is_in & IN_LAST:
            turn.last[a.leap_part - 1] -= a.leap_ns


cdef inline int waiting_part(const Slot *a) noexcept nogil:
    """What the connection waits for while nobody sends data."""
    if a.phase == ASKING:
        return PART_SERVER
    return PART_UNKNOWN if a.phase == BEFORE else PART_THINK


cdef inline int turn_part(const Slot *a, int side) noexcept nogil:
    """What the wait for this side's data was, where it did not speak last."""
    if a.phase == BEFORE:
        return PART_UNKNOWN
    return PART_THINK if side == DIRECTION_CLIENT else PART_SERVER


# --------------------------------------------------------------------------------- windows, acknowledgments


cdef inline bint has_room(const Slot *a, int side) noexcept nogil:
    """Whether a side may send a whole segment more, or has nothing outstanding in a window that is open."""
    cdef int64_t window = a.window[side]
    cdef int64_t outstanding = a.edge[side] - a.acked[side]
    return (window < 0) | (window - outstanding >= a.mss) | ((outstanding <= 0) & (window != 0))


cdef inline void take_acknowledgment(Slot *a, const Segment *g, int other) noexcept nogil:
    """Note what a segment says about the data of the other side.

    Choices that compile to moves, not to branches: whose segment comes next cannot be predicted.
    """
    cdef int64_t acked = a.acked[other]
    cdef int64_t acked_ns = g.time_ns if a.phase == ASKING + other else a.acked_ns
    cdef int32_t window = g.window_bytes if g.window_bytes >= 0 else a.window[other]
    a.acked_ns = acked_ns if g.acked_offset > acked else a.acked_ns
    a.window[other] = window if g.acked_offset >= acked else a.window[other]
    a.acked[other] = larger(acked, g.acked_offset)


cdef inline void note_room(Slot *a, int other, int64_t time_ns) noexcept nogil:
    """See whether an acknowledgment closes or opens the window of the other side, if that is the speaker."""
    if a.phase != ASKING + other:
        return
    if not has_room(a, other):
        a.rare |= TIGHT | WAS_TIGHT
    elif a.rare & TIGHT:
        a.rare &= ~TIGHT
        a.opened_ns = time_ns


# ---------------------------------------------------------------------------------------------------- data


cdef inline int going_on(Slot *a, int side, int64_t time_ns) noexcept nogil:
    """Tell what the wait between two data segments of the speaker was; the time its peer's window took is charged."""
    cdef int64_t since_ns
    # While it is tight the sender did not wait for the window: here it is, still within it.
    if a.rare & (TIGHT | WAS_TIGHT) == WAS_TIGHT:
        a.rare &= ~WAS_TIGHT
        charge(a, PART_RECEIVER_LIMITED, smaller(a.opened_ns, time_ns))
    since_ns = time_ns - a.acked_ns
    if a.acked_ns > a.mark_ns and 0 <= since_ns <= a.near_ns[side]:
        return PART_PATH_LIMITED
    return PART_REQUEST_TRANSFER if side == DIRECTION_CLIENT else PART_RESPONSE_TRANSFER


cdef inline void give_turn(Made *made, const Slot *a, const Turn *turn) noexcept nogil:
    """Give the account of a request that was answered."""
    cdef RequestAccount *row = made.requests + made.request_rows
    made.request_rows += 1
    row.connection_id = a.connection_id
    row.request_index = a.turns - 1
    row.request_first_ns = a.asked_ns
    row.request_transfer_ns = turn.last[PART_REQUEST_TRANSFER - 1] - turn.first[PART_REQUEST_TRANSFER - 1]
    row.server_ns = turn.last[PART_SERVER - 1] - turn.first[PART_SERVER - 1]
    row.response_transfer_ns = turn.last[PART_RESPONSE_TRANSFER - 1] - turn.first[PART_RESPONSE_TRANSFER - 1]
    row.recovery_ns = turn.last[PART_RECOVERY - 1] - turn.first[PART_RECOVERY - 1]
    row.receiver_limited_ns = turn.last[PART_RECEIVER_LIMITED - 1] - turn.first[PART_RECEIVER_LIMITED - 1]
    row.path_limited_ns = turn.last[PART_PATH_LIMITED - 1] - turn.first[PART_PATH_LIMITED - 1]


cdef inline void speak(Slot *a, int side) noexcept nogil:
    """Let a side be the speaker from now on: what the other one waited for does not matter any more."""
    a.phase = <uint8_t>(ASKING + side)
    a.rare &= ~(TIGHT | WAS_TIGHT)
    a.acked_ns = a.mark_ns


cdef inline void open_turn(Made *made, Slot *a, Turn *turn, int64_t first, int64_t time_ns) noexcept nogil:
    """Begin the next request with the client's byte `first`."""
    if turn != NULL:
        if a.turns > 0:
            give_turn(made, a, turn)
        memcpy(turn.first, a.parts, sizeof(a.parts))
        a.leap_is_in = IN_FIRST if a.rare & LEAPT else 0
        a.asked_ns = time_ns
    a.turns += 1
    a.begin = first if a.edge[DIRECTION_CLIENT] == -FAR_OFFSET else smaller(first, a.edge[DIRECTION_CLIENT])
    speak(a, DIRECTION_CLIENT)


cdef inline bint is_going_on_again(const Slot *a, int side) noexcept nogil:
    """Whether a side that speaks had something to send again, which is not acknowledged yet."""
    return a.rare & (RECOVERING << side) and a.phase == ASKING + side


cdef inline bint is_of_before(const Slot *a, const Segment *g) noexcept nogil:
    """Whether a server that sent this had seen nothing of the open request: the answer before it, or a greeting, goes on."""
    return g.direction & 1 != DIRECTION_CLIENT and a.turns > 0 and INT64_MIN < g.acked_offset <= a.begin


cdef inline int part_before(Slot *a, const Segment *g) noexcept nogil:
    """Tell what the wait for data that a segment carries, or shows, was."""
    cdef int side = g.direction & 1
    if a.phase == ASKING + side:
        return going_on(a, side, g.time_ns)
    return PART_RESPONSE_TRANSFER if is_of_before(a, g) else turn_part(a, side)


cdef inline void change_sides(Made *made, Slot *a, Turn *turn, const Segment *g, int64_t first) noexcept nogil:
    """Let the side that did not speak last speak, if these are not still the data of its turn before."""
    if g.direction & 1 == DIRECTION_CLIENT:
        open_turn(made, a, turn, first, g.time_ns)
    elif not is_of_before(a, g):
        speak(a, g.direction & 1)


cdef inline void take_sign(Slot *a, const Segment *g) noexcept nogil:
    """Take a segment without new data beyond the captured ones: what is missing had been sent, so the wait for it ends."""
    cdef int side = g.direction & 1
    cdef int64_t edge = a.edge[side]
    # One byte further may be a FIN that was sent before.
    cdef int64_t least = g.offset - (not g.flags & FLAG_FIN)
    if edge == -FAR_OFFSET and a.shook & (SYN_SEEN << side):
        edge = 0
    if -FAR_OFFSET < edge < least and a.shown[side] <= edge and g.kind != KIND_RETRANSMISSION:
        a.shown[side] = g.offset
        charge(a, PART_RECOVERY if is_going_on_again(a, side) else part_before(a, g), g.time_ns)


cdef inline void take_fill(Made *made, Slot *a, Turn *turn, const Segment *g, int64_t first) noexcept nogil:
    """Take data from below the edge: they fill a hole, and are nobody's turn unless they are the first request."""
    charge(a, PART_RECOVERY, g.time_ns)
    if g.direction & 1 == DIRECTION_CLIENT:
        if a.turns == 0:
            open_turn(made, a, turn, first, g.time_ns)
        elif a.turns == 1:
            a.begin = smaller(a.begin, first)


cdef inline void take_data(Made *made, Slot *a, Turn *turn, const Segment *g, int forced) noexcept nogil:
    """Take new bytes; `forced` is the part of the time before them, or AS_USUAL."""
    cdef int side = g.direction & 1
    cdef int64_t first = g.offset + g.new_at
    cdef int64_t end = larger(first + g.new_bytes, g.offset + g.payload_bytes)
    if first < a.edge[side]:
        take_fill(made, a, turn, g, first)
    else:
        charge(a, part_before(a, g) if forced == AS_USUAL else forced, g.time_ns)
        if a.phase != ASKING + side:
            change_sides(made, a, turn, g, first)
    if end > a.edge[side]:
        a.edge[side] = end
        if a.phase == ASKING + side and not has_room(a, side):
            a.rare |= TIGHT | WAS_TIGHT
    if turn != NULL and a.phase == ANSWERING and side != DIRECTION_CLIENT and a.turns > 0:
        memcpy(turn.last, a.parts, sizeof(a.parts))
        if a.rare & LEAPT:
            a.leap_is_in |= IN_LAST


# -------------------------------------------------------------------------------------------- the handshake


cdef inline void take_syn(Slot *a, const Segment *g, const Header *h, int side) noexcept nogil:
    """Note a SYN or SYN-ACK."""
    cdef bint is_answer = False
    if a.phase == BEFORE and a.turns == 0 and a.opener == NO_OPENER:
        a.rare |= SHAKING
        a.opener = <uint8_t>(1 - side if g.acked_offset != INT64_MIN else side)
    if h.mss_bytes > 0:
        a.mss = <int32_t>smaller(a.mss, h.mss_bytes)
    is_answer = side != a.opener
    if a.shook & (SYN_SEEN << side):
        a.shook |= SYN_REPEATED
    elif is_answer:
        a.syn_ack_ns = g.time_ns
    else:
        a.syn_ns = g.time_ns
    a.shook |= SYN_SEEN << side
    if a.rare & SHAKING and g.kind == KIND_RETRANSMISSION and g.time_ns > a.mark_ns:
        # Clocks that jump back and forth: more than any connection lasts is enough.
        a.repeated_ns = smaller(a.repeated_ns, INT64_MAX - (g.time_ns - a.mark_ns)) + (g.time_ns - a.mark_ns)


cdef inline int32_t near_of(int64_t own_ns, int64_t peer_ns) noexcept nogil:
    """How soon after an acknowledgment passed here the data pass that it let go.

    That is one round trip to the sender. Where the sender is the farther side, what it waits for cannot be seen.
    """
    if own_ns > larger(peer_ns, REACTION_NS):
        return -1
    return <int32_t>(REACTION_NS + smaller(larger(own_ns, 0), MOST_NEAR_NS) * 5 // 4)


cdef inline void end_handshake(Slot *a, const Segment *g, int side) noexcept nogil:
    """The connection is set up: from now on time is charged."""
    cdef int64_t answerer_ns, opener_ns
    a.mark_ns = larger(a.mark_ns, g.time_ns)
    a.rare &= ~SHAKING
    if a.phase == BEFORE:
        a.phase = GREETING
    if a.shook & SYN_REPEATED or a.shook & (SYN_SEEN * 3) != SYN_SEEN * 3:
        return
    answerer_ns, opener_ns = a.syn_ack_ns - a.syn_ns, g.time_ns - a.syn_ack_ns
    a.near_ns[1 - a.opener] = near_of(answerer_ns, opener_ns)
    a.near_ns[a.opener] = near_of(opener_ns, answerer_ns)


cdef inline void shake(Slot *a, const Segment *g, int side) noexcept nogil:
    """See whether this segment, no SYN unless both sides sent one with ACK, completes the handshake."""
    cdef int other = 1 - side
    if g.acked_offset == INT64_MIN or g.flags & FLAG_RST:
        return
    if g.acked_offset >= 0 and a.shook & (SYN_SEEN << other):
        a.shook |= SYN_ACKED << other
    if a.shook & (SYN_ACKED * 3) == SYN_ACKED * 3:
        end_handshake(a, g, side)
    elif side == a.opener and not g.flags & FLAG_SYN and g.offset >= 0:
        if not a.shook & (SYN_SEEN << other) or g.acked_offset >= 0:
            end_handshake(a, g, side)


# ---------------------------------------------------------------------------------------------- the long way


cdef inline void hear(Slot *a, const Segment *g, const Header *h, int side) noexcept nogil:
    """Take a side's first segment; a RST may be anybody's."""
    if not g.flags & FLAG_RST:
        a.rare &= ~(UNHEARD << side)
        a.ttl[side] = h.ttl


cdef inline void take_again(Slot *a, const Segment *g, int side) noexcept nogil:
    """Take what was sent again: the wait for it was recovery, and so is the wait for its acknowledgment."""
    cdef int64_t end = g.offset + g.payload_bytes + (g.flags & FLAG_FIN != 0)
    if g.flags & FLAG_FIN and g.payload_bytes == 0 and not g.flags & FLAG_SYN:
        charge(a, waiting_part(a), smaller(a.fin_ns, g.time_ns))
    charge(a, PART_RECOVERY, g.time_ns)
    if g.flags & FLAG_SYN:
        return
    a.again[side] = larger(a.again[side], end) if a.rare & (RECOVERING << side) else end
    if a.again[side] > a.acked[side]:
        a.rare |= RECOVERING << side


cdef inline void take_recovery(Slot *a, const Segment *g, int other) noexcept nogil:
    """See whether this acknowledges what the other side had sent again."""
    if a.rare & (RECOVERING << other) and a.acked[other] >= a.again[other]:
        a.rare &= ~(RECOVERING << other)
        if g.new_bytes <= 0 or g.offset == INT64_MIN:
            charge(a, PART_RECOVERY, g.time_ns)


cdef inline void take_believed(Made *made, Slot *a, Turn *turn, const Segment *g, const Header *h) noexcept nogil:
    """Take whatever a segment says about its own side."""
    cdef int side = g.direction & 1
    cdef bint is_again
    if a.rare & LEAPT:
        a.rare &= ~LEAPT
        if g.time_ns < a.mark_ns - HOUR_NS:
            take_leap_back(a, turn)
    if a.rare & (UNHEARD << side):
        hear(a, g, h, side)
    if g.flags & FLAG_SYN:
        take_syn(a, g, h, side)
    if g.new_bytes <= 0 and g.offset > a.edge[side]:
        take_sign(a, g)
    if a.rare & SHAKING:
        shake(a, g, side)
    if g.kind == KIND_RETRANSMISSION:
        take_again(a, g, side)
    elif g.kind == KIND_ZERO_WINDOW_PROBE and a.rare & TIGHT and a.phase == ASKING + side:
        charge(a, PART_RECEIVER_LIMITED, g.time_ns)
    if g.new_bytes > 0 and g.kind != KIND_KEEP_ALIVE:
        is_again = g.kind == KIND_OUT_OF_ORDER or is_going_on_again(a, side)
        take_data(made, a, turn, g, PART_RECOVERY if is_again else AS_USUAL)
        if g.kind == KIND_OUT_OF_ORDER:
            take_again(a, g, side)
    elif a.rare & SHAKING:
        a.mark_ns = larger(a.mark_ns, g.time_ns)
    if g.flags & FLAG_FIN and g.kind != KIND_RETRANSMISSION:
        a.fin_ns = larger(a.mark_ns, g.time_ns)


cdef inline void take_unusual(Made *made, Slot *a, Turn *turn, const Segment *g, const Header *h) noexcept nogil:
    """Take any segment by the full rules."""
    cdef int side = g.direction & 1
    if g.kind == KIND_DUPLICATE:
        return
    if g.offset != INT64_MIN:
        take_believed(made, a, turn, g, h)
    take_acknowledgment(a, g, 1 - side)
    if a.rare & TIGHT or g.window_bytes == 0:
        note_room(a, 1 - side, g.time_ns)
    take_recovery(a, g, 1 - side)


cdef inline bint take_usual(Slot *a, const Segment *g) noexcept nogil:
    """Take data with which the speaker goes on, in few steps; False if they need the full rules.

    The result is that of the full rules, which the tests compare.
    """
    cdef int side = g.direction & 1
    cdef int64_t first = g.offset + g.new_at
    cdef int64_t elapsed = g.time_ns - a.mark_ns
    cdef int64_t since_ns = g.time_ns - a.acked_ns
    cdef int part = PART_REQUEST_TRANSFER + (PART_RESPONSE_TRANSFER - PART_REQUEST_TRANSFER) * side
    if (a.phase != ASKING + side) | (first < a.edge[side]) | (<uint64_t>elapsed > <uint64_t>HOUR_NS):
        return False
    if (since_ns < elapsed) & (since_ns >= 0) & (since_ns <= a.near_ns[side]):
        part = PART_PATH_LIMITED
    a.parts[part - 1] += elapsed
    a.mark_ns = g.time_ns
    a.edge[side] = larger(first + g.new_bytes, g.offset + g.payload_bytes)
    if not has_room(a, side):
        a.rare |= TIGHT | WAS_TIGHT
    return True
