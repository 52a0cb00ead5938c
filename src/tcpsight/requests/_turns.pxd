"""What bytes do to a turn: the rules of `pairing.py`, and the rows that come of them.

Per connection there are four cache lines. A segment that extends a turn touches the first only, one that opens or
answers a turn the first two; the others are for the turn before and for the endpoints of the rows that come out.
"""

cimport cython
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from tcpsight.tables cimport (
    Boundary,
    DIRECTION_CLIENT,
    DIRECTION_SERVER,
    Header,
    Request,
    RequestCount,
    Segment,
    UnansweredRequest,
)

cdef enum:
    # Bits of `measure`: which end of the request, and of the response, the response time runs between; when rows come.
    START_AT_FIRST = 1
    END_AT_LAST = 2
    # Rows are given as soon as the answer begins, with what is known then, not when they are final.
    GIVE_AT_ANSWER = 4
    # No rows of answered requests: their numbers are asked for only.
    GIVE_NONE = 8

cdef enum:
    # A clock that goes back by so much was set: an answer does not begin then, too.
    STEP_NS = 1000000000

cdef enum:
    # Bits of `marks`.
    IS_HANDSHAKE = 1
    PREVIOUS_IS_HANDSHAKE = 2
    CANNOT_ANSWER = 4       # the server sent its FIN, or one side a RST
    SERVER_WAITS_FIRST = 8  # of what may be last alerts, the server's came first
    MAY_JOIN = 16           # the turn before may have been answered by a session ticket only

cdef enum:
    # Bits of `tls`: what is known of the TLS of a connection. It is 0 while none was seen.
    SAW_RECORDS = 1         # there is some
    AT_HELLO = 2            # the current turn has a ClientHello
    AT_FINISHED = 4         # the current turn follows that
    SAW_FINISHED = 8        # and what the client said last in its handshake has been seen
    AWAITS_TICKETS = 16     # the server may send session tickets before it answers
    ANSWERED_ALIKE = 32     # all that answers the current turn may be a session ticket
    HOLDS_CLIENT = 64       # what may be the client's last alert waits for what follows it
    HOLDS_SERVER = 128      # and the server's

cdef enum:
    # A record is at most so long; a ticket is no shorter (RFC 8446 §4.6.1, with 16 bytes in it) and fits a segment.
    LEAST_TICKET_BYTES = 54
    MOST_TICKET_BYTES = 8192
    # What fills records (2^14 bytes each: RFC 8446 §5.1) goes on.
    FULL_RECORD_BYTES = 16384
    # Servers send two, mostly.
    TICKETS = 2
    # A record of TLS 1.3 that holds an alert (RFC 8446 §5.2 and §6).
    CLOSING_BYTES = 24

# Arrays of two are indexed by direction: what the client sent, what the server sent.

cdef struct Turn:
    # Where its bytes begin in each stream; INT64_MIN if unknown.
    int64_t begin[2]
    int64_t first_ns[2]
    int64_t last_ns[2]
    int64_t new_bytes[2]

cdef struct Slot:
    # First cache line: whatever extending the current turn needs.
    # One past the highest byte of each stream that was seen, or that data of the other side acknowledged.
    int64_t edge[2]
    int64_t last_ns[2]
    int64_t new_bytes[2]
    int64_t turns
    uint8_t is_used
    uint8_t is_answered
    uint8_t is_overlapped
    uint8_t has_previous
    uint8_t previous_is_overlapped
    uint8_t saw_farewell        # the client's FIN came at once, and before any other end
    uint8_t saw_other_end
    uint8_t tls
    # Second: the rest of the current turn, and of the connection.
    int64_t begin[2]
    int64_t first_ns[2]
    int64_t unsolicited_bytes
    # Where the first response begins; INT64_MAX before there is one, INT64_MIN if unknown.
    int64_t greeting_end
    int64_t connection_id
    uint16_t client_port
    uint16_t server_port
    uint16_t ticket_bytes       # how long each record of the first answer to a Finished was
    uint8_t marks               # what follows
    uint8_t ip_version
    # Third and fourth.
    Turn previous
    uint8_t client_address[16]
    uint8_t server_address[16]
    # How many turns had been opened before the current one, and before the previous one.
    int64_t number
    int64_t previous_number
    int64_t held_ns[2]          # when what waits was captured

cdef struct Made:
    Request *requests
    UnansweredRequest *unanswered
    RequestCount *counts
    int64_t request_rows
    int64_t unanswered_rows
    int64_t count_rows
    int64_t opened  # turns, by all connections, since the beginning
    int64_t held    # segments that wait for what follows them
    # What the segments of the batch were made from, row for row; NULL if that is not known.
    const Segment *segments
    const Header *headers
    int32_t made_by  # what of the batch is being taken
    int measure

cdef inline int64_t larger(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


# ---------------------------------------------------------------------------------------------- rows out


cdef inline void write_row(
    Request *row, const Slot *slot, const Turn *turn, int64_t index, const Made *made
) noexcept nogil:
    """Write the columns that answered and unanswered requests share, as if there were no answer."""
    row.connection_id = slot.connection_id
    row.request_index = index
    row.made_by = made.made_by
    row.request_number = slot.number if index == slot.turns - 1 else slot.previous_number
    memcpy(row.client_address, slot.client_address, 16)
    memcpy(row.server_address, slot.server_address, 16)
    row.client_port = slot.client_port
    row.server_port = slot.server_port
    row.ip_version = slot.ip_version
    row.request_first_ns = turn.first_ns[DIRECTION_CLIENT]
    row.request_last_ns = turn.last_ns[DIRECTION_CLIENT]
    row.request_bytes = turn.new_bytes[DIRECTION_CLIENT]
    row.arrival_ns = turn.first_ns[DIRECTION_CLIENT] if made.measure & START_AT_FIRST else turn.last_ns[DIRECTION_CLIENT]
    row.response_first_ns = -1
    row.response_last_ns = -1
    row.response_bytes = 0
    row.completion_ns = -1
    row.response_time_ns = -1
    row.is_first = index == 0
    row.is_handshake = (slot.marks & (IS_HANDSHAKE if index == slot.turns - 1 else PREVIOUS_IS_HANDSHAKE)) != 0


cdef inline void give_request(
    Made *made, const Slot *slot, const Turn *turn, int64_t index, uint8_t is_overlapped
) noexcept nogil:
    """Give the row of an answered request."""
    cdef Request *row = made.requests + made.request_rows
    if made.measure & GIVE_NONE:
        return
    made.request_rows += 1
    write_row(row, slot, turn, index, made)
    row.response_first_ns = turn.first_ns[DIRECTION_SERVER]
    row.response_last_ns = turn.last_ns[DIRECTION_SERVER]
    row.response_bytes = turn.new_bytes[DIRECTION_SERVER]
    row.completion_ns = turn.last_ns[DIRECTION_SERVER] if made.measure & END_AT_LAST else turn.first_ns[DIRECTION_SERVER]
    # Clocks step back; a duration is never negative.
    row.response_time_ns = 0 if row.completion_ns < row.arrival_ns else row.completion_ns - row.arrival_ns
    row.is_overlapped = is_overlapped


cdef inline void gather_current(const Slot *slot, Turn *turn) noexcept nogil:
    """Copy the current turn together from where the slot keeps its parts."""
    cdef int side
    for side in range(2):
        turn.begin[side] = slot.begin[side]
        turn.first_ns[side] = slot.first_ns[side]
        turn.last_ns[side] = slot.last_ns[side]
        turn.new_bytes[side] = slot.new_bytes[side]


cdef inline void give_unanswered(Made *made, const Slot *slot, const Boundary *boundary) noexcept nogil:
    """Give the row of the request that its connection left waiting."""
    cdef UnansweredRequest *row = made.unanswered + made.unanswered_rows
    cdef Turn turn
    gather_current(slot, &turn)
    made.unanswered_rows += 1
    # Unanswered repeats the columns of Requests first, so its rows begin like theirs.
    write_row(<Request *>row, slot, &turn, slot.turns - 1, made)
    row.is_overlapped = slot.is_overlapped
    row.end_ns = larger(boundary.time_ns, row.arrival_ns)
    row.is_open = boundary.is_open and not slot.marks & CANNOT_ANSWER


cdef inline void give_previous(Made *made, Slot *slot) noexcept nogil:
    """Give the turn before the current one, whose row can't change any more."""
    if not made.measure & GIVE_AT_ANSWER:
        give_request(made, slot, &slot.previous, slot.turns - 2, slot.previous_is_overlapped)
    slot.has_previous = False


cdef inline bint lacks_bytes(int64_t begin, int64_t end, int64_t seen) noexcept nogil:
    """Tell whether a run of stream bytes has a hole that may yet be filled."""
    return begin != INT64_MIN and end != INT64_MIN and end - begin > seen


cdef inline void settle_previous(Made *made, Slot *slot) noexcept nogil:
    """Give the previous turn if the current one is answered and no byte of the previous is missing."""
    cdef const Turn *before = &slot.previous
    cdef int side
    if not slot.has_previous or not slot.is_answered:
        return
    for side in range(2):
        if lacks_bytes(before.begin[side], slot.begin[side], before.new_bytes[side]):
            return
    give_previous(made, slot)


cdef inline void give_current(Made *made, const Slot *slot) noexcept nogil:
    """Give the current turn, which is answered, with what is known of it."""
    cdef Turn turn
    gather_current(slot, &turn)
    give_request(made, slot, &turn, slot.turns - 1, slot.is_overlapped)


# ------------------------------------------------------------------------------------ bytes of either side


cdef inline int64_t owned_from(const Slot *slot, int side, int64_t first) noexcept nogil:
    """Tell where a run that begins with byte `first` owns its stream from.

    A hole right before it is its own lost beginning: whatever came earlier lies below the edge.
    """
    return first if slot.edge[side] == INT64_MIN else smaller(first, slot.edge[side])


cdef inline void begin_run(Slot *slot, int side, const Segment *segment, int64_t first) noexcept nogil:
    """Let the current turn's request or response begin with this segment."""
    slot.begin[side] = owned_from(slot, side, first)
    slot.first_ns[side] = segment.time_ns
    slot.last_ns[side] = segment.time_ns
    slot.new_bytes[side] = segment.new_bytes


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint is_out_of_order(int64_t last_ns, int64_t time_ns) noexcept nogil:
    """Whether what comes now may have been captured before the last: by a second and more, a clock was set back."""
    return <uint64_t>last_ns - <uint64_t>time_ns < STEP_NS


cdef inline void extend_run(Slot *slot, int side, const Segment *segment) noexcept nogil:
    slot.new_bytes[side] += segment.new_bytes
    if segment.time_ns >= slot.last_ns[side]:
        slot.last_ns[side] = segment.time_ns
    elif side == DIRECTION_CLIENT or is_out_of_order(slot.last_ns[side], segment.time_ns):
        slot.first_ns[side] = smaller(slot.first_ns[side], segment.time_ns)


cdef inline bint speaks_over(const Slot *slot, const Segment *segment) noexcept nogil:
    """Tell whether the client sent this before it had all that the server had sent."""
    return (segment.acked_offset != INT64_MIN) & (segment.acked_offset < slot.edge[DIRECTION_SERVER])


# ------------------------------------------------------------------------------------------ client bytes


cdef inline void leave_turn(Made *made, Slot *slot) noexcept nogil:
    """Note for TLS that the next turn begins: after a ClientHello it has the client's last messages of the handshake."""
    cdef uint8_t awaits_finished = slot.tls & AT_HELLO
    if slot.tls & ANSWERED_ALIKE:
        # Nothing came after what could have been a ticket: it was the answer, if what the server says next allows it.
        if made.measure & GIVE_AT_ANSWER:
            give_current(made, slot)
            slot.tls &= 255 - AWAITS_TICKETS
        else:
            slot.marks |= MAY_JOIN
    elif slot.marks & MAY_JOIN:
        slot.marks &= 255 - MAY_JOIN
        slot.tls &= 255 - AWAITS_TICKETS
    slot.tls &= 255 - (AT_HELLO | AT_FINISHED | SAW_FINISHED | ANSWERED_ALIKE)
    if awaits_finished:
        slot.tls |= AT_FINISHED
        slot.marks |= IS_HANDSHAKE


cdef inline void open_turn(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Begin the next request with this segment; the turn so far becomes the previous one."""
    if slot.has_previous:
        give_previous(made, slot)
    if slot.turns:
        gather_current(slot, &slot.previous)
        slot.previous_is_overlapped = slot.is_overlapped
        slot.previous_number = slot.number
        slot.has_previous = True
    # The mark of the turn so far is that of the previous one.
    slot.marks = (slot.marks & (CANNOT_ANSWER | SERVER_WAITS_FIRST | MAY_JOIN)) | ((slot.marks & IS_HANDSHAKE) << 1)
    if slot.tls:
        leave_turn(made, slot)
    slot.turns += 1
    slot.number = made.opened
    made.opened += 1
    if slot.has_previous and (first == INT64_MIN or segment.acked_offset == INT64_MIN):
        # Without sequence and acknowledgment numbers nothing that follows can be told to belong to it.
        give_previous(made, slot)
    slot.saw_farewell = slot.saw_other_end = False
    begin_run(slot, DIRECTION_CLIENT, segment, first)
    slot.is_answered = False
    slot.is_overlapped = speaks_over(slot, segment)


cdef inline void fill_request(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Give client bytes that fill a hole to the turn that owns them.

    They never move the last time of an answered request, which would pass its response.
    """
    cdef Turn *before = &slot.previous
    if first >= slot.begin[DIRECTION_CLIENT] or slot.turns == 1:
        slot.begin[DIRECTION_CLIENT] = smaller(slot.begin[DIRECTION_CLIENT], first)
        if slot.is_answered:
            slot.new_bytes[DIRECTION_CLIENT] += segment.new_bytes
            slot.first_ns[DIRECTION_CLIENT] = smaller(slot.first_ns[DIRECTION_CLIENT], segment.time_ns)
        else:
            extend_run(slot, DIRECTION_CLIENT, segment)
            slot.is_overlapped |= speaks_over(slot, segment)
    elif slot.has_previous and (first >= before.begin[DIRECTION_CLIENT] or slot.turns == 2):
        before.begin[DIRECTION_CLIENT] = smaller(before.begin[DIRECTION_CLIENT], first)
        before.new_bytes[DIRECTION_CLIENT] += segment.new_bytes
        before.first_ns[DIRECTION_CLIENT] = smaller(before.first_ns[DIRECTION_CLIENT], segment.time_ns)
        settle_previous(made, slot)


# ------------------------------------------------------------------------------------------ server bytes


cdef inline void extend_previous_response(Turn *turn, const Segment *segment) noexcept nogil:
    turn.new_bytes[DIRECTION_SERVER] += segment.new_bytes
    if is_out_of_order(turn.last_ns[DIRECTION_SERVER], segment.time_ns):
        turn.first_ns[DIRECTION_SERVER] = smaller(turn.first_ns[DIRECTION_SERVER], segment.time_ns)
    turn.last_ns[DIRECTION_SERVER] = larger(turn.last_ns[DIRECTION_SERVER], segment.time_ns)


cdef inline void fill_response(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Give bytes from before the current response to the greeting, or to the previous response."""
    if first < slot.greeting_end:
        slot.unsolicited_bytes += segment.new_bytes
    elif slot.has_previous and first >= slot.previous.begin[DIRECTION_SERVER]:
        extend_previous_response(&slot.previous, segment)
        settle_previous(made, slot)


cdef inline void answer_turn(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Begin the response to the open request, unless the server had not seen any of that request."""
    if segment.acked_offset != INT64_MIN and segment.acked_offset <= slot.begin[DIRECTION_CLIENT]:
        if slot.has_previous:
            extend_previous_response(&slot.previous, segment)
            slot.is_overlapped = True
        else:
            slot.unsolicited_bytes += segment.new_bytes
        return
    begin_run(slot, DIRECTION_SERVER, segment, first)
    slot.is_answered = True
    if slot.turns == 1:
        slot.greeting_end = slot.begin[DIRECTION_SERVER]
    settle_previous(made, slot)
    if made.measure & GIVE_AT_ANSWER and not slot.tls & ANSWERED_ALIKE:
        give_current(made, slot)


# ------------------------------------------------------------------------------------------ new bytes


cdef inline void take_plain(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Let new bytes extend the current turn (most do), begin the next run, or fill a hole."""
    cdef int side = segment.direction & 1
    cdef bint is_fill = (first != INT64_MIN) & (first < slot.edge[side])
    # An unanswered turn grows by what the client sends, an answered one by what the server sends.
    cdef bint extends = (side == slot.is_answered) & (slot.turns > 0)
    if extends and not (is_fill and first < slot.begin[side]):
        extend_run(slot, side, segment)
        slot.is_overlapped |= (side == DIRECTION_CLIENT) & speaks_over(slot, segment)
    elif side == DIRECTION_CLIENT:
        if is_fill and slot.turns > 0:
            fill_request(made, slot, segment, first)
        else:
            open_turn(made, slot, segment, first)
    elif slot.turns == 0:
        slot.unsolicited_bytes += segment.new_bytes
    elif is_fill:
        fill_response(made, slot, segment, first)
    else:
        answer_turn(made, slot, segment, first)
