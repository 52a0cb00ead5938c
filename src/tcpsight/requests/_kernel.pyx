"""Loop over segments that pairs requests with responses; `pairing.py` has the theory and the rules.

Per connection there are four cache lines. A segment that extends a turn touches the first only, one that opens or
answers a turn the first two; the others are for the turn before and for the endpoints of the rows that come out.
Rows without new bytes, FIN or RST (most of them) touch none.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from tcpsight.tables cimport (
    BOUNDARY_ENDED,
    BOUNDARY_OPENED,
    DIRECTION_CLIENT,
    DIRECTION_SERVER,
    FLAG_FIN,
    FLAG_RST,
    KIND_DUPLICATE,
    Boundary,
    Request,
    RequestCount,
    Segment,
    UnansweredRequest,
)

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define tcpsight_prefetch(address) __builtin_prefetch(address)
    #else
    #define tcpsight_prefetch(address) ((void)(address))
    #endif
    """
    void tcpsight_prefetch(const void *address) noexcept nogil

cdef enum:
    # Rows whose state is fetched together: enough to hide a miss, few enough to stay in L1.
    BLOCK = 64
    # Bits of `measure`: which end of the request, and of the response, the response time runs between.
    START_AT_FIRST = 1
    END_AT_LAST = 2

cdef enum:
    # What `pair_batch` found wrong in its input.
    FINE = 0
    BAD_POSITION = 1
    BAD_SLOT = 2

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
    uint8_t saw_client_fin
    uint8_t saw_early_reset
    uint8_t ip_version
    # Second: the rest of the current turn, and of the connection.
    int64_t begin[2]
    int64_t first_ns[2]
    int64_t unsolicited_bytes
    # Where the first response begins; INT64_MAX before there is one, INT64_MIN if unknown.
    int64_t greeting_end
    int64_t connection_id
    uint16_t client_port
    uint16_t server_port
    uint8_t padding[4]
    # Third and fourth.
    Turn previous
    uint8_t client_address[16]
    uint8_t server_address[16]
    uint8_t more_padding[32]

cdef struct Made:
    Request *requests
    UnansweredRequest *unanswered
    RequestCount *counts
    int64_t request_rows
    int64_t unanswered_rows
    int64_t count_rows
    int measure

cdef struct Batch:
    const Segment *segments
    const Boundary *boundaries
    Slot *slots
    int64_t segment_count
    int64_t boundary_count
    int64_t slot_count
    Made made

SLOT_BYTES = sizeof(Slot)


cdef inline int64_t larger(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


# ---------------------------------------------------------------------------------------------- rows out


cdef void write_row(Request *row, const Slot *slot, const Turn *turn, int64_t index, int measure) noexcept nogil:
    """Write the columns that answered and unanswered requests share, as if there were no answer."""
    row.connection_id = slot.connection_id
    row.request_index = index
    memcpy(row.client_address, slot.client_address, 16)
    memcpy(row.server_address, slot.server_address, 16)
    row.client_port = slot.client_port
    row.server_port = slot.server_port
    row.ip_version = slot.ip_version
    row.request_first_ns = turn.first_ns[DIRECTION_CLIENT]
    row.request_last_ns = turn.last_ns[DIRECTION_CLIENT]
    row.request_bytes = turn.new_bytes[DIRECTION_CLIENT]
    row.arrival_ns = turn.first_ns[DIRECTION_CLIENT] if measure & START_AT_FIRST else turn.last_ns[DIRECTION_CLIENT]
    row.response_first_ns = -1
    row.response_last_ns = -1
    row.response_bytes = 0
    row.completion_ns = -1
    row.response_time_ns = -1


cdef void give_request(
    Made *made, const Slot *slot, const Turn *turn, int64_t index, uint8_t is_overlapped
) noexcept nogil:
    """Give the row of an answered request."""
    cdef Request *row = made.requests + made.request_rows
    made.request_rows += 1
    write_row(row, slot, turn, index, made.measure)
    row.response_first_ns = turn.first_ns[DIRECTION_SERVER]
    row.response_last_ns = turn.last_ns[DIRECTION_SERVER]
    row.response_bytes = turn.new_bytes[DIRECTION_SERVER]
    row.completion_ns = turn.last_ns[DIRECTION_SERVER] if made.measure & END_AT_LAST else turn.first_ns[DIRECTION_SERVER]
    # Clocks step back; a duration is never negative.
    row.response_time_ns = 0 if row.completion_ns < row.arrival_ns else row.completion_ns - row.arrival_ns
    row.is_overlapped = is_overlapped


cdef void gather_current(const Slot *slot, Turn *turn) noexcept nogil:
    """Copy the current turn together from where the slot keeps its parts."""
    cdef int side
    for side in range(2):
        turn.begin[side] = slot.begin[side]
        turn.first_ns[side] = slot.first_ns[side]
        turn.last_ns[side] = slot.last_ns[side]
        turn.new_bytes[side] = slot.new_bytes[side]


cdef void give_unanswered(Made *made, const Slot *slot, int64_t end_ns) noexcept nogil:
    """Give the row of the request that its connection left waiting."""
    cdef UnansweredRequest *row = made.unanswered + made.unanswered_rows
    cdef Turn turn
    gather_current(slot, &turn)
    made.unanswered_rows += 1
    # Unanswered repeats the columns of Requests first, so its rows begin like theirs.
    write_row(<Request *>row, slot, &turn, slot.turns - 1, made.measure)
    row.is_overlapped = slot.is_overlapped
    row.end_ns = larger(end_ns, row.arrival_ns)


cdef void give_previous(Made *made, Slot *slot) noexcept nogil:
    """Give the turn before the current one, whose row can't change any more."""
    give_request(made, slot, &slot.previous, slot.turns - 2, slot.previous_is_overlapped)
    slot.has_previous = False


cdef inline bint lacks_bytes(int64_t begin, int64_t end, int64_t seen) noexcept nogil:
    """Tell whether a run of stream bytes has a hole that may yet be filled."""
    return begin != INT64_MIN and end != INT64_MIN and end - begin > seen


cdef void settle_previous(Made *made, Slot *slot) noexcept nogil:
    """Give the previous turn if the current one is answered and no byte of the previous is missing."""
    cdef const Turn *before = &slot.previous
    cdef int side
    if not slot.has_previous or not slot.is_answered:
        return
    for side in range(2):
        if lacks_bytes(before.begin[side], slot.begin[side], before.new_bytes[side]):
            return
    give_previous(made, slot)


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


cdef inline void extend_run(Slot *slot, int side, const Segment *segment) noexcept nogil:
    slot.new_bytes[side] += segment.new_bytes
    if segment.time_ns >= slot.last_ns[side]:
        slot.last_ns[side] = segment.time_ns
    else:
        slot.first_ns[side] = smaller(slot.first_ns[side], segment.time_ns)


cdef inline bint speaks_over(const Slot *slot, const Segment *segment) noexcept nogil:
    """Tell whether the client sent this before it had all that the server had sent."""
    return (segment.acked_offset != INT64_MIN) & (segment.acked_offset < slot.edge[DIRECTION_SERVER])


# ------------------------------------------------------------------------------------------ client bytes


cdef void open_turn(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Begin the next request with this segment; the turn so far becomes the previous one."""
    if slot.has_previous:
        give_previous(made, slot)
    if slot.turns:
        gather_current(slot, &slot.previous)
        slot.previous_is_overlapped = slot.is_overlapped
        slot.has_previous = True
    slot.turns += 1
    if slot.has_previous and (first == INT64_MIN or segment.acked_offset == INT64_MIN):
        # Without sequence and acknowledgment numbers nothing that follows can be told to belong to it.
        give_previous(made, slot)
    begin_run(slot, DIRECTION_CLIENT, segment, first)
    slot.begin[DIRECTION_SERVER] = INT64_MIN
    slot.new_bytes[DIRECTION_SERVER] = 0
    slot.is_answered = False
    slot.is_overlapped = speaks_over(slot, segment)


cdef void fill_request(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
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


cdef void extend_previous_response(Turn *turn, const Segment *segment) noexcept nogil:
    turn.new_bytes[DIRECTION_SERVER] += segment.new_bytes
    turn.first_ns[DIRECTION_SERVER] = smaller(turn.first_ns[DIRECTION_SERVER], segment.time_ns)
    turn.last_ns[DIRECTION_SERVER] = larger(turn.last_ns[DIRECTION_SERVER], segment.time_ns)


cdef void fill_response(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
    """Give bytes from before the current response to the greeting, or to the previous response."""
    if first < slot.greeting_end:
        slot.unsolicited_bytes += segment.new_bytes
    elif slot.has_previous and first >= slot.previous.begin[DIRECTION_SERVER]:
        extend_previous_response(&slot.previous, segment)
        settle_previous(made, slot)


cdef void answer_turn(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
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


# ------------------------------------------------------------------------------- segments and boundaries


cdef inline void take_bytes(Made *made, Slot *slot, const Segment *segment, int64_t first) noexcept nogil:
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


cdef inline void take_segment(Made *made, Slot *slot, const Segment *segment) noexcept nogil:
    """Take a segment that has new bytes, FIN or RST."""
    cdef int side = segment.direction & 1
    cdef int64_t first = INT64_MIN
    cdef int64_t end = INT64_MIN
    if segment.new_bytes > 0:
        if segment.offset != INT64_MIN:
            first = segment.offset + segment.new_at
            end = larger(first + segment.new_bytes, segment.offset + segment.payload_bytes)
        take_bytes(made, slot, segment, first)
        slot.edge[side] = larger(slot.edge[side], end)
        slot.edge[1 - side] = larger(slot.edge[1 - side], segment.acked_offset)
    if segment.flags & (FLAG_FIN | FLAG_RST) and segment.kind != KIND_DUPLICATE:
        if segment.flags & FLAG_RST and not slot.saw_client_fin:
            slot.saw_early_reset = True
        if segment.flags & FLAG_FIN and side == DIRECTION_CLIENT:
            slot.saw_client_fin = True


cdef void open_slot(Slot *slot, const Boundary *boundary) noexcept nogil:
    memset(slot, 0, sizeof(Slot))
    slot.is_used = True
    slot.connection_id = boundary.connection_id
    slot.edge[DIRECTION_CLIENT] = INT64_MIN
    slot.edge[DIRECTION_SERVER] = INT64_MIN
    slot.greeting_end = INT64_MAX
    memcpy(slot.client_address, boundary.client_address, 16)
    memcpy(slot.server_address, boundary.server_address, 16)
    slot.client_port = boundary.client_port
    slot.server_port = boundary.server_port
    slot.ip_version = boundary.ip_version


cdef void end_slot(Made *made, Slot *slot, const Boundary *boundary) noexcept nogil:
    """Give what is left of a connection, then its counts."""
    cdef RequestCount *count = made.counts + made.count_rows
    cdef Turn turn
    cdef bint is_waiting = slot.turns > 0 and not slot.is_answered
    made.count_rows += 1
    if slot.has_previous:
        give_previous(made, slot)
    if slot.turns > 0 and slot.is_answered:
        gather_current(slot, &turn)
        give_request(made, slot, &turn, slot.turns - 1, slot.is_overlapped)
    count.connection_id = slot.connection_id
    count.requests = slot.turns - is_waiting
    count.unsolicited_bytes = slot.unsolicited_bytes
    count.is_farewell = is_waiting and slot.saw_client_fin and not slot.saw_early_reset
    count.unanswered = is_waiting and not count.is_farewell
    if count.unanswered:
        give_unanswered(made, slot, boundary.time_ns)
    slot.is_used = False


cdef int take_block(Batch *batch, const Segment *segments, int length) noexcept nogil:
    """Take up to BLOCK segments: choose those that matter without a branch, fetch their state, then take each.

    Connections interleave at random, so a branch per row would be mispredicted at every other row.
    """
    cdef uint8_t chosen[BLOCK]
    cdef const Segment *segment
    cdef const uint8_t *line
    cdef size_t step
    cdef int count = 0
    cdef int i
    for i in range(length):
        chosen[count] = <uint8_t>i
        count += (segments[i].new_bytes > 0) | ((segments[i].flags & (FLAG_FIN | FLAG_RST)) != 0)
    for i in range(count):
        segment = segments + chosen[i]
        if segment.slot >= batch.slot_count:
            return BAD_SLOT
        tcpsight_prefetch(batch.slots + segment.slot)
    for i in range(count):
        segment = segments + chosen[i]
        line = <const uint8_t *>(batch.slots + segment.slot)
        step = 64 * (segment.direction != batch.slots[segment.slot].is_answered)
        tcpsight_prefetch(line + step)
        tcpsight_prefetch(line + 2 * step)
        tcpsight_prefetch(line + 3 * step)
    for i in range(count):
        segment = segments + chosen[i]
        if not batch.slots[segment.slot].is_used:
            return BAD_SLOT
        take_segment(&batch.made, batch.slots + segment.slot, segment)
    return FINE


cdef int take_segments(Batch *batch, int64_t begin, int64_t end) noexcept nogil:
    """Take the segments of rows [begin, end)."""
    cdef int wrong
    while begin < end:
        wrong = take_block(batch, batch.segments + begin, <int>smaller(BLOCK, end - begin))
        if wrong != FINE:
            return wrong
        begin += BLOCK
    return FINE


cdef int take_boundary(Batch *batch, const Boundary *boundary) noexcept nogil:
    """Open or end a slot."""
    cdef bint is_opening = boundary.boundary == BOUNDARY_OPENED
    if boundary.slot >= batch.slot_count or batch.slots[boundary.slot].is_used == is_opening:
        return BAD_SLOT
    if is_opening:
        open_slot(batch.slots + boundary.slot, boundary)
    else:
        end_slot(&batch.made, batch.slots + boundary.slot, boundary)
    return FINE


cdef int pair_batch(Batch *batch) noexcept nogil:
    """Walk segments and boundaries together, in the order in which they happened."""
    cdef int64_t row = 0
    cdef int64_t i
    cdef const Boundary *boundary
    cdef int wrong
    for i in range(batch.boundary_count):
        boundary = batch.boundaries + i
        if boundary.position < row or boundary.position > batch.segment_count:
            return BAD_POSITION
        wrong = take_segments(batch, row, boundary.position)
        if wrong == FINE:
            wrong = take_boundary(batch, boundary)
        if wrong != FINE:
            return wrong
        row = boundary.position
    return take_segments(batch, row, batch.segment_count)


# ------------------------------------------------------------------------------------------------ the door


cdef int64_t rows_of(const uint8_t[::1] block, size_t row_bytes) except -1:
    """Check a block of packed rows at the door; give its number of rows."""
    if block.shape[0] % row_bytes:
        raise ValueError(f"{block.shape[0]} bytes are not rows of {row_bytes} bytes")
    return block.shape[0] // <int64_t>row_bytes


cdef const uint8_t *start_of(const uint8_t[::1] block) noexcept:
    return &block[0] if block.shape[0] else NULL


cdef int point_outputs(Made *made, tuple outputs, int64_t requests, int64_t ends) except -1:
    """Point `made` at the blocks to write to, once it is sure that they are long enough."""
    cdef uint8_t[::1] block
    block = outputs[0]
    if rows_of(block, sizeof(Request)) < requests:
        raise ValueError("too little room for requests")
    made.requests = <Request *>start_of(block)
    block = outputs[1]
    if rows_of(block, sizeof(UnansweredRequest)) < ends:
        raise ValueError("too little room for unanswered requests")
    made.unanswered = <UnansweredRequest *>start_of(block)
    block = outputs[2]
    if rows_of(block, sizeof(RequestCount)) < ends:
        raise ValueError("too little room for counts")
    made.counts = <RequestCount *>start_of(block)
    return 0


def pair(
    const uint8_t[::1] segments not None,
    const uint8_t[::1] boundaries not None,
    uint8_t[::1] slots not None,
    tuple outputs not None,
    int measure,
):
    """Take a batch; give how many rows were written to each output.

    Parameters
    ----------
    segments, boundaries : bytes of Segments and Boundaries rows
    slots : bytes of per-connection state, SLOT_BYTES each, zero at first; changed
    outputs : tuple of three blocks of bytes
        Requests (at least one row per segment and two per boundary), Unanswered and RequestCounts (one per
        boundary); overwritten.
    measure : int
        1 if response time starts at the first segment of the request; + 2 if it ends at the last of the response.
    """
    cdef Batch batch
    cdef int wrong
    memset(&batch, 0, sizeof(Batch))
    batch.made.measure = measure
    batch.segment_count = rows_of(segments, sizeof(Segment))
    batch.segments = <const Segment *>start_of(segments)
    batch.boundary_count = rows_of(boundaries, sizeof(Boundary))
    batch.boundaries = <const Boundary *>start_of(boundaries)
    batch.slot_count = rows_of(slots, sizeof(Slot))
    batch.slots = <Slot *>start_of(slots)
    point_outputs(&batch.made, outputs, batch.segment_count + 2 * batch.boundary_count, batch.boundary_count)
    with nogil:
        wrong = pair_batch(&batch)
    if wrong == BAD_POSITION:
        raise ValueError("boundaries are not in the order of their positions, or lie outside the batch")
    if wrong == BAD_SLOT:
        raise ValueError("a segment or an end has a slot that is not open, or a slot was opened twice")
    return batch.made.request_rows, batch.made.unanswered_rows, batch.made.count_rows


def still_open(const uint8_t[::1] slots not None, uint8_t[::1] boundaries not None):
    """Write an end for each open slot to `boundaries`, by slot; give how many there are.

    The instant of each is that of the last data seen.
    """
    cdef int64_t room = rows_of(boundaries, sizeof(Boundary))
    cdef int64_t slot_count = rows_of(slots, sizeof(Slot))
    cdef const Slot *slot = <const Slot *>start_of(slots)
    cdef Boundary *boundary = <Boundary *>start_of(boundaries)
    cdef int64_t found = 0
    cdef int64_t i
    for i in range(slot_count):
        if slot[i].is_used:
            if found < room:
                boundary[found].connection_id = slot[i].connection_id
                boundary[found].time_ns = larger(slot[i].last_ns[0], slot[i].last_ns[1])
                boundary[found].slot = <uint32_t>i
                boundary[found].position = 0
                boundary[found].boundary = BOUNDARY_ENDED
            found += 1
    return found
