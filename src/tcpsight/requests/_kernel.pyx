"""Loop over segments and boundaries that pairs requests with responses.

`pairing.py` has the theory, `_turns.pxd` the state of a connection and what bytes do to it. Rows without new bytes,
FIN or RST (pure acknowledgments, most of them) touch no state.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from tcpsight._door cimport prefetch, rows_of, start_of
from tcpsight.requests._tls cimport drop_held, hold_of, release_held, take_bytes
from tcpsight.requests._turns cimport (
    ANSWERED_ALIKE,
    CANNOT_ANSWER,
    GIVE_AT_ANSWER,
    GIVE_NONE,
    HOLDS_CLIENT,
    HOLDS_SERVER,
    Made,
    Slot,
    give_current,
    give_previous,
    give_unanswered,
    larger,
    smaller,
)
from tcpsight.tables cimport (
    BOUNDARY_ENDED,
    BOUNDARY_OPENED,
    DIRECTION_CLIENT,
    DIRECTION_SERVER,
    FLAG_FIN,
    FLAG_RST,
    KIND_DUPLICATE,
    Boundary,
    Header,
    Request,
    RequestCount,
    Segment,
    UnansweredRequest,
)

cdef enum:
    # Rows whose state is fetched together: enough to hide a miss, few enough to stay in L1.
    BLOCK = 64

cdef enum:
    # A client that says goodbye closes at once; this much allows for a FIN that had to be sent twice (RFC 6298 asks
    # for 1 s at least, Linux waits for 200 ms). One that closes later has waited for an answer.
    FAREWELL_NS = 300000000

cdef enum:
    # What `pair_batch` found wrong in its input.
    FINE = 0
    BAD_POSITION = 1
    BAD_SLOT = 2

cdef struct Batch:
    const Segment *segments
    const Boundary *boundaries
    Slot *slots
    int64_t segment_count
    int64_t boundary_count
    int64_t slot_count
    Made made

SLOT_BYTES = sizeof(Slot)


# ------------------------------------------------------------------------------- segments and boundaries


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
    if segment.flags & (FLAG_FIN | FLAG_RST) and segment.kind != KIND_DUPLICATE and segment.offset != INT64_MIN:
        take_ending(made, slot, segment, side)


cdef inline void take_ending(Made *made, Slot *slot, const Segment *segment, int side) noexcept nogil:
    """Take a FIN or RST that its receiver believed (others have no offset): the first one tells how a last request ended.

    After the server's, or any RST, no answer can come; after the client's FIN it can.
    """
    if side == DIRECTION_SERVER or segment.flags & FLAG_RST:
        slot.marks |= CANNOT_ANSWER
    if slot.tls & (HOLDS_CLIENT | HOLDS_SERVER) and (segment.flags & FLAG_RST or slot.tls & hold_of(side)):
        drop_held(made, slot)
    if slot.saw_farewell or slot.saw_other_end:
        return
    if (
        side == DIRECTION_CLIENT
        and not segment.flags & FLAG_RST
        and segment.time_ns <= slot.last_ns[DIRECTION_CLIENT] + FAREWELL_NS
    ):
        slot.saw_farewell = True
    else:
        slot.saw_other_end = True


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
    cdef bint is_waiting
    if slot.tls & (HOLDS_CLIENT | HOLDS_SERVER):
        release_held(made, slot)
    is_waiting = slot.turns > 0 and not slot.is_answered
    made.count_rows += 1
    if slot.has_previous:
        give_previous(made, slot)
    if slot.turns > 0 and slot.is_answered and (not made.measure & GIVE_AT_ANSWER or slot.tls & ANSWERED_ALIKE):
        give_current(made, slot)
    count.connection_id = slot.connection_id
    count.requests = slot.turns - is_waiting
    count.unsolicited_bytes = slot.unsolicited_bytes
    count.is_farewell = is_waiting and slot.saw_farewell
    count.unanswered = is_waiting and not count.is_farewell
    if count.unanswered:
        give_unanswered(made, slot, boundary)
    slot.is_used = False


cdef int take_block(Batch *batch, int64_t begin, int length) noexcept nogil:
    """Take up to BLOCK segments: choose those that matter without a branch, fetch their state, then take each.

    Connections interleave at random, so a branch per row would be mispredicted at every other row.
    """
    cdef uint8_t chosen[BLOCK]
    cdef const Segment *segments = batch.segments + begin
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
        prefetch(batch.slots + segment.slot)
    for i in range(count):
        segment = segments + chosen[i]
        line = <const uint8_t *>(batch.slots + segment.slot)
        step = 64 * (segment.direction != batch.slots[segment.slot].is_answered)
        prefetch(line + step)
        prefetch(line + 2 * step)
        prefetch(line + 3 * step)
    for i in range(count):
        segment = segments + chosen[i]
        if not batch.slots[segment.slot].is_used:
            return BAD_SLOT
        batch.made.made_by = <int32_t>(begin + chosen[i])
        take_segment(&batch.made, batch.slots + segment.slot, segment)
    return FINE


cdef int take_segments(Batch *batch, int64_t begin, int64_t end) noexcept nogil:
    """Take the segments of rows [begin, end)."""
    cdef int wrong
    while begin < end:
        wrong = take_block(batch, begin, <int>smaller(BLOCK, end - begin))
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
        batch.made.made_by = -1 - <int32_t>i
        if wrong == FINE:
            wrong = take_boundary(batch, boundary)
        if wrong != FINE:
            return wrong
        row = boundary.position
    return take_segments(batch, row, batch.segment_count)


# ------------------------------------------------------------------------------------------------ the door


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
    tuple so_far not None,
    const uint8_t[::1] headers=None,
):
    """Take a batch; give how many rows were written to each output, how many turns have been opened, and segments held.

    Parameters
    ----------
    segments, boundaries : bytes of Segments and Boundaries rows
    slots : bytes of per-connection state, SLOT_BYTES each, zero at first; changed
    outputs : tuple of three blocks of bytes
        Requests (at least two rows per segment, boundary and segment that is held), Unanswered and RequestCounts (one
        per boundary); overwritten.
    measure : int
        1 if response time starts at the first segment of the request; + 2 if it ends at the last of the response;
        + 4 if rows are given when the answer begins.
    so_far : tuple of int
        How many turns were opened by the batches before, and how many segments are held: what may be alerts of TLS.
    headers : bytes of Headers rows, optional
        What the segments were made from, row for row.
    """
    cdef Batch batch
    cdef int wrong
    memset(&batch, 0, sizeof(Batch))
    batch.made.measure = measure
    batch.made.opened = so_far[0]
    batch.made.held = so_far[1]
    batch.segment_count = rows_of(segments, sizeof(Segment))
    batch.segments = <const Segment *>start_of(segments)
    batch.made.segments = batch.segments
    if headers is not None:
        if rows_of(headers, sizeof(Header)) != batch.segment_count:
            raise ValueError("headers and segments are not of the same number")
        batch.made.headers = <const Header *>start_of(headers)
    batch.boundary_count = rows_of(boundaries, sizeof(Boundary))
    batch.boundaries = <const Boundary *>start_of(boundaries)
    batch.slot_count = rows_of(slots, sizeof(Slot))
    batch.slots = <Slot *>start_of(slots)
    point_outputs(
        &batch.made,
        outputs,
        2 * (batch.segment_count + batch.boundary_count + batch.made.held),
        batch.boundary_count,
    )
    with nogil:
        wrong = pair_batch(&batch)
    if wrong == BAD_POSITION:
        raise ValueError("boundaries are not in the order of their positions, or lie outside the batch")
    if wrong == BAD_SLOT:
        raise ValueError("a segment or an end has a slot that is not open, or a slot was opened twice")
    return (
        batch.made.request_rows,
        batch.made.unanswered_rows,
        batch.made.count_rows,
        batch.made.opened,
        batch.made.held,
    )


cdef inline bint is_asked_for(const Slot *slot, bint with_counts) noexcept nogil:
    """Tell whether a connection is open; without counts, whether a request of it may wait, or what may become one."""
    if with_counts or not slot.is_used:
        return slot.is_used
    return slot.turns > 0 and not slot.is_answered or (slot.tls & (HOLDS_CLIENT | HOLDS_SERVER)) != 0


def waiting(
    const uint8_t[::1] slots not None,
    int64_t until_ns,
    int measure,
    tuple outputs not None,
    bint with_counts,
):
    """Write what the open connections would leave if they ended at `until_ns`; give the rows of each output.

    It changes nothing. Parameters as for `pair`; without counts connections that do not wait are passed over, and rows
    of counts mean nothing. A third number tells how many rows may be needed of unanswered requests and of counts: if
    that is more than there are, some were left out.
    """
    cdef int64_t slot_count = rows_of(slots, sizeof(Slot))
    cdef const Slot *slot = <const Slot *>start_of(slots)
    cdef Slot copy
    cdef Boundary end
    cdef Made made
    cdef int64_t i, needed = 0
    cdef int64_t room = min(rows_of(outputs[1], sizeof(UnansweredRequest)), rows_of(outputs[2], sizeof(RequestCount)))
    memset(&made, 0, sizeof(Made))
    memset(&end, 0, sizeof(Boundary))
    end.time_ns = until_ns
    end.is_open = True
    # Rows of answered requests are not asked for.
    made.measure = measure | GIVE_NONE
    point_outputs(&made, outputs, 0, 0)
    with nogil:
        for i in range(slot_count):
            if is_asked_for(slot + i, with_counts):
                needed += 1
                if needed <= room:
                    copy = slot[i]
                    end_slot(&made, &copy, &end)
    return made.unanswered_rows, made.count_rows, needed


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
                boundary[found].is_open = True
            found += 1
    return found
