"""What TLS does to turns: the messages of a handshake, session tickets and alerts are no requests and no answers.

Records tell by their headers, which are not encrypted, what they hold (RFC 8446 §5, RFC 5246 §6.2); decoding has read
them, where payload was captured. What encryption hides is told by lengths and by what follows.
"""

from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint16_t
from libc.string cimport memset

from tcpsight.requests._turns cimport (
    ANSWERED_ALIKE,
    AT_FINISHED,
    AT_HELLO,
    AWAITS_TICKETS,
    CLOSING_BYTES,
    FULL_RECORD_BYTES,
    GIVE_AT_ANSWER,
    HOLDS_CLIENT,
    HOLDS_SERVER,
    IS_HANDSHAKE,
    LEAST_TICKET_BYTES,
    MAY_JOIN,
    MOST_TICKET_BYTES,
    SAW_FINISHED,
    SAW_RECORDS,
    SERVER_WAITS_FIRST,
    TICKETS,
    Made,
    Slot,
    Turn,
    answer_turn,
    begin_run,
    give_current,
    open_turn,
    speaks_over,
    take_plain,
)
from tcpsight.tables cimport (
    DIRECTION_CLIENT,
    DIRECTION_SERVER,
    TLS_ALERT,
    TLS_ALIKE,
    TLS_CHANGE,
    TLS_CLOSING,
    TLS_DATA,
    TLS_FINISHED,
    TLS_HANDSHAKE,
    TLS_HELLO,
    TLS_NONE,
    Header,
    Segment,
)


cdef inline size_t row_of(const Made *made, const Segment *segment) noexcept nogil:
    """The row of a segment; in numbers, because builds that check arithmetic take no difference of pointers."""
    return (<size_t>segment - <size_t>made.segments) // sizeof(Segment)


cdef inline void forget(Slot *slot, int flags) noexcept nogil:
    slot.tls &= <uint8_t>(255 - flags)


cdef inline void give_to_handshake(Slot *slot, int side, int64_t byte_count) noexcept nogil:
    """Count bytes of a handshake with the turn before, so that nothing of it seems to be missing."""
    if slot.has_previous:
        slot.previous.new_bytes[side] += byte_count


# ----------------------------------------------------------------- what may be an alert waits for what follows it


cdef inline uint8_t hold_of(int side) noexcept nogil:
    return HOLDS_SERVER if side == DIRECTION_SERVER else HOLDS_CLIENT


cdef inline bint may_hold(const Slot *slot, const Segment *segment, int side, int kind) noexcept nogil:
    """Tell whether a segment is as an alert of TLS 1.3, in place, and its side holds none.

    It acknowledges all that the other side said, whose FIN counts for one byte.
    """
    cdef int64_t theirs = slot.edge[1 - side]
    cdef int64_t acked = segment.acked_offset
    return (
        kind == TLS_CLOSING
        and segment.new_bytes == CLOSING_BYTES
        and acked != INT64_MIN
        and (theirs == INT64_MIN or acked == theirs or acked == theirs + 1)
        and not slot.tls & hold_of(side)
    )


cdef inline void hold(Made *made, Slot *slot, const Segment *segment, int side) noexcept nogil:
    slot.tls |= hold_of(side)
    slot.held_ns[side] = segment.time_ns
    if side == DIRECTION_SERVER and not slot.tls & HOLDS_CLIENT:
        slot.marks |= SERVER_WAITS_FIRST
    elif side == DIRECTION_CLIENT and not slot.tls & HOLDS_SERVER:
        slot.marks &= 255 - SERVER_WAITS_FIRST
    made.held += 1


cdef inline void drop_held(Made *made, Slot *slot) noexcept nogil:
    """An end followed: they were alerts."""
    made.held -= ((slot.tls & HOLDS_CLIENT) != 0) + ((slot.tls & HOLDS_SERVER) != 0)
    forget(slot, HOLDS_CLIENT | HOLDS_SERVER)


cdef inline void release_held(Made *made, Slot *slot) noexcept nogil:
    """More was said: they were data. Take them as they came, with both streams as they were then."""
    cdef Segment segment
    cdef uint8_t held = slot.tls
    cdef int first_side = (slot.marks & SERVER_WAITS_FIRST) != 0
    cdef int i, side
    drop_held(made, slot)
    for side in range(2):
        if held & hold_of(side):
            slot.edge[side] -= CLOSING_BYTES
    for i in range(2):
        side = first_side ^ i
        if not held & hold_of(side):
            continue
        memset(&segment, 0, sizeof(Segment))
        segment.direction = <uint8_t>side
        segment.time_ns = slot.held_ns[side]
        segment.offset = slot.edge[side]
        segment.acked_offset = slot.edge[1 - side]
        segment.payload_bytes = segment.new_bytes = CLOSING_BYTES
        take_plain(made, slot, &segment, segment.offset)
        slot.edge[side] += CLOSING_BYTES


# -------------------------------------------------------------------------------------------- the client's side


cdef inline int64_t handshake_bytes(const Slot *slot, const Segment *segment, const Header *header, bint opens) noexcept nogil:
    """Tell how much of what the client says, from its beginning, belongs to a handshake."""
    cdef uint8_t step = AT_HELLO if opens else AT_HELLO | AT_FINISHED
    if header.tls == TLS_HELLO:
        return segment.payload_bytes
    if header.tls == TLS_HANDSHAKE or header.tls == TLS_CHANGE:
        return header.tls_bytes
    if not slot.tls & step or (not opens and slot.tls & SAW_FINISHED):
        return 0
    # After the ClientHello all is, until the client's Finished ends it.
    if header.tls == TLS_FINISHED and (opens or slot.tls & AT_FINISHED):
        return header.tls_bytes
    return segment.payload_bytes


cdef inline void begin_request(Slot *slot, const Segment *segment, int64_t first, int64_t handshake) noexcept nogil:
    """Let the request begin behind what this turn, and this segment, have of the handshake."""
    give_to_handshake(slot, DIRECTION_CLIENT, slot.new_bytes[DIRECTION_CLIENT] + handshake)
    begin_run(slot, DIRECTION_CLIENT, segment, first)
    slot.begin[DIRECTION_CLIENT] = first + handshake
    slot.new_bytes[DIRECTION_CLIENT] -= handshake
    slot.is_overlapped = speaks_over(slot, segment)
    slot.marks &= 255 - IS_HANDSHAKE


cdef inline void take_client(
    Made *made, Slot *slot, const Segment *segment, int64_t first, const Header *header
) noexcept nogil:
    """Take bytes of the client in a connection with TLS, beyond all that it has said."""
    cdef bint opens
    cdef bint is_whole
    cdef int64_t handshake
    if slot.tls & ANSWERED_ALIKE and speaks_over(slot, segment):
        # It had not seen what looked like an answer, and goes on asking.
        forget(slot, ANSWERED_ALIKE)
        slot.is_answered = False
    opens = slot.turns == 0 or slot.is_answered
    handshake = handshake_bytes(slot, segment, header, opens)
    is_whole = handshake >= segment.new_bytes
    if opens:
        open_turn(made, slot, segment, first)
        slot.marks = slot.marks | IS_HANDSHAKE if is_whole else slot.marks & (255 - IS_HANDSHAKE)
        if header.tls == TLS_HELLO:
            forget(slot, AT_FINISHED | AWAITS_TICKETS)
            slot.tls |= AT_HELLO
        elif slot.tls & AT_FINISHED and not is_whole:
            slot.new_bytes[DIRECTION_CLIENT] = 0
            begin_request(slot, segment, first, handshake)
    elif slot.tls & AT_FINISHED and slot.marks & IS_HANDSHAKE and not is_whole:
        begin_request(slot, segment, first, handshake)
    else:
        take_plain(made, slot, segment, first)
    if slot.tls & AT_FINISHED and not slot.tls & SAW_FINISHED:
        note_finished(slot, header.tls)


cdef inline void note_finished(Slot *slot, int kind) noexcept nogil:
    """Note the client's last message of a handshake: in TLS 1.3 the server may answer it with tickets."""
    if kind == TLS_FINISHED:
        slot.tls |= SAW_FINISHED | AWAITS_TICKETS
        slot.ticket_bytes = 0
    elif kind == TLS_HANDSHAKE:
        slot.tls |= SAW_FINISHED


# -------------------------------------------------------------------------------------------- the server's side


cdef inline bint is_as_ticket(const Slot *slot, const Header *header) noexcept nogil:
    """Tell whether a segment has what may be tickets only: records of one length, that of those before."""
    return (
        header.tls == TLS_ALIKE
        and LEAST_TICKET_BYTES <= header.tls_bytes <= MOST_TICKET_BYTES
        and (slot.ticket_bytes == 0 or slot.ticket_bytes == header.tls_bytes)
    )


cdef inline void note_tickets(Slot *slot, const Header *header) noexcept nogil:
    """Note tickets; of more than two none is expected."""
    if header.tls_records >= TICKETS or slot.ticket_bytes != 0:
        forget(slot, AWAITS_TICKETS)
    slot.ticket_bytes = <uint16_t>header.tls_bytes


cdef inline void answer_anew(Made *made, Slot *slot, const Segment *segment, int64_t first, bint is_ticket) noexcept nogil:
    """More came after what may have been a ticket, and was: the answer begins now, or, if this is another, is yet to come."""
    forget(slot, ANSWERED_ALIKE | AWAITS_TICKETS)
    give_to_handshake(slot, DIRECTION_SERVER, slot.new_bytes[DIRECTION_SERVER])
    if is_ticket:
        give_to_handshake(slot, DIRECTION_SERVER, segment.new_bytes)
        slot.is_answered = False
        return
    begin_run(slot, DIRECTION_SERVER, segment, first)
    if made.measure & GIVE_AT_ANSWER:
        give_current(made, slot)


cdef inline void join_previous(Slot *slot) noexcept nogil:
    """What seemed to answer the turn before was a ticket: the client goes on with the same request."""
    cdef Turn *before = &slot.previous
    if not slot.has_previous:
        return
    slot.begin[DIRECTION_CLIENT] = before.begin[DIRECTION_CLIENT]
    slot.first_ns[DIRECTION_CLIENT] = before.first_ns[DIRECTION_CLIENT]
    slot.new_bytes[DIRECTION_CLIENT] += before.new_bytes[DIRECTION_CLIENT]
    slot.number = slot.previous_number
    slot.is_overlapped = slot.previous_is_overlapped
    slot.has_previous = False
    slot.turns -= 1


cdef inline void answer_request(
    Made *made, Slot *slot, const Segment *segment, int64_t first, const Header *header
) noexcept nogil:
    """Take what the server says to an open request while it may yet send tickets."""
    cdef bint is_ticket = is_as_ticket(slot, header)
    cdef bint may_join = slot.marks & MAY_JOIN
    cdef int64_t acked = segment.acked_offset
    cdef bint is_before = acked != INT64_MIN and acked <= slot.begin[DIRECTION_CLIENT]
    # Sent when only a part of what the client has said by now had come.
    cdef bint is_amid = acked != INT64_MIN and acked < slot.edge[DIRECTION_CLIENT]
    cdef bint is_sure = is_ticket and (is_amid or header.tls_records >= TICKETS or slot.ticket_bytes != 0)
    if may_join:
        slot.marks &= 255 - MAY_JOIN
        forget(slot, AWAITS_TICKETS)
        if is_ticket and (is_amid or slot.new_bytes[DIRECTION_CLIENT] >= FULL_RECORD_BYTES):
            join_previous(slot)
        else:
            answer_turn(made, slot, segment, first)
        return
    if is_before or is_sure:
        give_to_handshake(slot, DIRECTION_SERVER, segment.new_bytes)
        if is_ticket:
            note_tickets(slot, header)
        return
    if is_ticket:
        # One alone may be the answer: what follows tells.
        slot.ticket_bytes = <uint16_t>header.tls_bytes
        slot.tls |= ANSWERED_ALIKE
    else:
        forget(slot, AWAITS_TICKETS)
    answer_turn(made, slot, segment, first)


cdef inline void take_server(
    Made *made, Slot *slot, const Segment *segment, int64_t first, const Header *header
) noexcept nogil:
    """Take bytes of the server in a connection with TLS, beyond all that it has said."""
    cdef bint is_request = slot.turns > 0 and not slot.marks & IS_HANDSHAKE
    cdef bint is_shaking = header.tls == TLS_HANDSHAKE or header.tls == TLS_CHANGE
    if is_request and not slot.is_answered and is_shaking and header.tls_bytes >= segment.payload_bytes:
        give_to_handshake(slot, DIRECTION_SERVER, segment.new_bytes)
    elif not slot.tls & AWAITS_TICKETS:
        take_plain(made, slot, segment, first)
    elif is_request and slot.tls & ANSWERED_ALIKE:
        answer_anew(made, slot, segment, first, is_as_ticket(slot, header))
    elif is_request and not slot.is_answered:
        answer_request(made, slot, segment, first, header)
    else:
        if is_as_ticket(slot, header):
            note_tickets(slot, header)
        else:
            forget(slot, AWAITS_TICKETS)
        take_plain(made, slot, segment, first)


# -------------------------------------------------------------------------------------------- both


cdef inline void take_tls(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Take new bytes of a connection with TLS."""
    cdef const Header *header
    cdef int side = segment.direction & 1
    if made.headers == NULL or first == INT64_MIN or first < slot.edge[side]:
        take_plain(made, slot, segment, first)
        return
    header = made.headers + row_of(made, segment)
    if slot.tls & (HOLDS_CLIENT | HOLDS_SERVER) and not may_hold(slot, segment, side, header.tls):
        release_held(made, slot)
    if may_hold(slot, segment, side, header.tls):
        hold(made, slot, segment, side)
    elif header.tls == TLS_ALERT and (side == DIRECTION_CLIENT or slot.turns == 0 or slot.is_answered):
        # Nobody asks by it, and it belongs to no answer; an open request it ends.
        return
    elif side == DIRECTION_CLIENT:
        take_client(made, slot, segment, first, header)
    else:
        take_server(made, slot, segment, first, header)


cdef inline void take_bytes(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Take new bytes: a turn that begins with a record of TLS tells that a connection has it."""
    cdef bint opens = (segment.direction == DIRECTION_CLIENT) & (slot.is_answered | (slot.turns == 0))
    if not slot.tls and opens and made.headers != NULL and made.headers[row_of(made, segment)].tls != TLS_NONE:
        slot.tls = SAW_RECORDS
    if slot.tls:
        take_tls(made, slot, segment, first)
    else:
        take_plain(made, slot, segment, first)
