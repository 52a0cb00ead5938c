"""Loop over segments and boundaries that keeps the time account of each connection.

`accounting.py` has the theory, `_account_rules.pxd` the state of a connection and what a segment does to it.
"""

from libc.stdint cimport INT64_MIN, int64_t, uint8_t
from libc.string cimport memset

from tcpsight._door cimport prefetch, rows_of, start_of
from tcpsight.network._account_rules cimport (
    charge,
    give_turn,
    smaller,
    take_acknowledgment,
    take_data,
    take_leap_back,
    take_sign,
    take_unusual,
    take_usual,
    waiting_part,
)
from tcpsight.network._account_state cimport (
    ANSWERING,
    AS_USUAL,
    BEFORE,
    FAR_OFFSET,
    LEAPT,
    NO_OPENER,
    PARTS,
    REACTION_NS,
    UNHEARD,
    USUAL_MSS,
    Made,
    Slot,
    Turn,
)
from tcpsight.network._vantage cimport Place, place_of
from tcpsight.tables cimport (
    BOUNDARY_OPENED,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    PART_CONNECT,
    PART_PATH_LIMITED,
    PART_RECEIVER_LIMITED,
    PART_RECOVERY,
    PART_REQUEST_TRANSFER,
    PART_RESPONSE_TRANSFER,
    PART_SERVER,
    PART_THINK,
    PART_UNKNOWN,
    Boundary,
    Connection,
    ConnectionAccount,
    Header,
    RequestAccount,
    Segment,
)

cdef enum:
    # While one segment is taken, the state of the one so far behind it is on its way.
    AHEAD = 16

cdef enum:
    # `Connection.limited_by` of no time.
    NO_PART = 255

cdef enum:
    # What `account_batch` found wrong in its input.
    FINE = 0
    BAD_POSITION = 1
    BAD_SLOT = 2
    BAD_CONNECTION = 3

cdef struct Batch:
    const Segment *segments
    const Header *headers
    const Boundary *boundaries
    const Connection *connections
    Slot *slots
    Turn *turns                 # NULL where nobody wants to know of requests
    ConnectionAccount *accounts
    int64_t segment_count
    int64_t boundary_count
    int64_t connection_count
    int64_t slot_count
    int64_t account_rows
    Made made

SLOT_BYTES = sizeof(Slot)
TURN_BYTES = sizeof(Turn)


# ------------------------------------------------------------------------------------------ openings and ends


cdef void open_slot(Slot *a, const Boundary *boundary) noexcept nogil:
    cdef int side
    memset(a, 0, sizeof(Slot))
    a.is_used = True
    a.connection_id = boundary.connection_id
    a.mark_ns = a.acked_ns = boundary.time_ns
    a.mss = USUAL_MSS
    a.opener = NO_OPENER
    a.phase = BEFORE
    a.rare = UNHEARD * 3
    for side in range(2):
        a.edge[side] = -FAR_OFFSET
        a.acked[side] = -FAR_OFFSET
        a.shown[side] = -FAR_OFFSET
        a.window[side] = -1
        a.near_ns[side] = REACTION_NS


cdef inline void forget(Slot *a) noexcept nogil:
    """Where only one side was captured nobody knows whose turn it was; what was sent again was."""
    cdef int part
    for part in range(1, PARTS + 1):
        if part != PART_RECOVERY:
            a.parts[part - 1] = 0


cdef inline int64_t sum_of(const Slot *a) noexcept nogil:
    cdef int64_t total = 0
    cdef int part
    for part in range(PARTS):
        total += a.parts[part]
    return total


cdef inline void settle(Slot *a, const Connection *c) noexcept nogil:
    """Let the parts add up to the time that the connection took."""
    cdef int64_t connect_ns = max(c.connect_ns, <int64_t>0)
    cdef int64_t rest, repeated_ns
    if a.rare & LEAPT and c.end_ns < a.mark_ns:
        take_leap_back(a, NULL)  # its last request was told before
    charge(a, waiting_part(a), c.end_ns)
    if c.client_segments == 0 or c.server_segments == 0:
        forget(a)
    rest = c.duration_ns - connect_ns - sum_of(a)
    if rest < 0:
        # Only where clocks jump: then nobody knows which of its times are right.
        memset(a.parts, 0, sizeof(a.parts))
        rest = max(c.duration_ns - connect_ns, <int64_t>0)
    elif c.connect_ns < 0:
        repeated_ns = smaller(a.repeated_ns, rest)
        a.parts[PART_RECOVERY - 1] += repeated_ns
        rest -= repeated_ns
    a.parts[PART_UNKNOWN - 1] += rest


cdef inline uint8_t largest_part(const Slot *a, const Connection *c) noexcept nogil:
    cdef int64_t most = max(c.connect_ns, <int64_t>0)
    cdef uint8_t largest = PART_CONNECT
    cdef int part
    if c.duration_ns == 0:
        return NO_PART
    for part in range(1, PARTS + 1):
        if a.parts[part - 1] > most:
            most = a.parts[part - 1]
            largest = <uint8_t>part
    return largest


cdef void end_slot(Batch *batch, Slot *a, const Turn *turn, const Connection *c) noexcept nogil:
    """Give what is known of a connection's time."""
    cdef ConnectionAccount *row = batch.accounts + batch.account_rows
    cdef Place place = place_of(c, a.ttl[1], a.ttl[0])
    batch.account_rows += 1
    if turn != NULL and a.turns > 0 and a.phase == ANSWERING:
        give_turn(&batch.made, a, turn)
    settle(a, c)
    row.connection_id = a.connection_id
    row.think_ns = a.parts[PART_THINK - 1]
    row.request_transfer_ns = a.parts[PART_REQUEST_TRANSFER - 1]
    row.server_ns = a.parts[PART_SERVER - 1]
    row.response_transfer_ns = a.parts[PART_RESPONSE_TRANSFER - 1]
    row.recovery_ns = a.parts[PART_RECOVERY - 1]
    row.receiver_limited_ns = a.parts[PART_RECEIVER_LIMITED - 1]
    row.path_limited_ns = a.parts[PART_PATH_LIMITED - 1]
    row.unknown_ns = a.parts[PART_UNKNOWN - 1]
    row.limited_by = largest_part(a, c)
    row.vantage = place.vantage
    row.vantage_confidence = place.confidence
    a.is_used = False


# ---------------------------------------------------------------------------------------------------- the loop


cdef void take_with_care(Made *made, Slot *a, Turn *turn, const Segment *g, const Header *h) noexcept nogil:
    take_unusual(made, a, turn, g, h)


cdef void take_turn(Made *made, Slot *a, Turn *turn, const Segment *g) noexcept nogil:
    if g.offset != INT64_MIN:
        take_data(made, a, turn, g, AS_USUAL)


cdef inline void take_segment(Made *made, Slot *a, Turn *turn, const Segment *g, const Header *h) noexcept nogil:
    """Take one segment: most are new data or plain acknowledgments of a connection where nothing is amiss."""
    if (a.rare | g.kind | (g.flags & (FLAG_FIN | FLAG_SYN | FLAG_RST))) or g.window_bytes == 0:
        take_with_care(made, a, turn, g, h)
        return
    if g.new_bytes > 0:
        if turn != NULL or not take_usual(a, g):
            take_turn(made, a, turn, g)
    elif g.offset > a.edge[g.direction & 1]:
        take_sign(a, g)
    take_acknowledgment(a, g, 1 - (g.direction & 1))


cdef inline void fetch(const Batch *batch, const Segment *g) noexcept nogil:
    """Start fetching the state that a segment will need."""
    cdef const uint8_t *line
    if g.slot < batch.slot_count:
        # The second line holds the parts, which only data change; the first again does no harm.
        line = <const uint8_t *>(batch.slots + g.slot)
        prefetch(line)
        prefetch(line + (64 if g.new_bytes > 0 else 0))


cdef int take_segments(Batch *batch, int64_t begin, int64_t end) noexcept nogil:
    """Take the segments of rows [begin, end)."""
    cdef const Segment *g = batch.segments + begin
    cdef const Segment *last = batch.segments + end
    cdef const Segment *fetched = g
    cdef const Segment *stop = batch.segments + batch.segment_count
    cdef const Header *h = batch.headers + begin
    cdef Turn *turn = NULL
    while fetched < last and fetched < g + AHEAD:
        fetch(batch, fetched)
        fetched += 1
    while g < last:
        if fetched < stop:
            fetch(batch, fetched)
            fetched += 1
        if g.slot >= batch.slot_count or not batch.slots[g.slot].is_used:
            return BAD_SLOT
        if batch.turns != NULL:
            turn = batch.turns + g.slot
        take_segment(&batch.made, batch.slots + g.slot, turn, g, h)
        g += 1
        h += 1
    return FINE


cdef int take_boundary(Batch *batch, const Boundary *boundary) noexcept nogil:
    """Open or end a slot."""
    cdef bint is_opening = boundary.boundary == BOUNDARY_OPENED
    cdef const Connection *c
    if boundary.slot >= batch.slot_count or batch.slots[boundary.slot].is_used == is_opening:
        return BAD_SLOT
    if is_opening:
        open_slot(batch.slots + boundary.slot, boundary)
        return FINE
    c = batch.connections + batch.account_rows
    if batch.account_rows >= batch.connection_count or c.connection_id != boundary.connection_id:
        return BAD_CONNECTION
    end_slot(batch, batch.slots + boundary.slot, NULL if batch.turns == NULL else batch.turns + boundary.slot, c)
    return FINE


cdef int account_batch(Batch *batch) noexcept nogil:
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


cdef int point_inputs(Batch *batch, tuple inputs) except -1:
    cdef const uint8_t[::1] block
    block = inputs[0]
    batch.segment_count = rows_of(block, sizeof(Segment))
    batch.segments = <const Segment *>start_of(block)
    block = inputs[1]
    if rows_of(block, sizeof(Header)) != batch.segment_count:
        raise ValueError("there must be a header for each segment")
    batch.headers = <const Header *>start_of(block)
    block = inputs[2]
    batch.boundary_count = rows_of(block, sizeof(Boundary))
    batch.boundaries = <const Boundary *>start_of(block)
    block = inputs[3]
    batch.connection_count = rows_of(block, sizeof(Connection))
    batch.connections = <const Connection *>start_of(block)
    return 0


cdef int point_outputs(Batch *batch, tuple outputs) except -1:
    """Point to the blocks to write to, once it is sure that they are long enough."""
    cdef uint8_t[::1] block
    block = outputs[0]
    if rows_of(block, sizeof(ConnectionAccount)) < batch.connection_count:
        raise ValueError("too little room for accounts")
    batch.accounts = <ConnectionAccount *>start_of(block)
    block = outputs[1]
    if batch.turns != NULL and rows_of(block, sizeof(RequestAccount)) < batch.segment_count + batch.boundary_count:
        raise ValueError("too little room for accounts of requests")
    batch.made.requests = <RequestAccount *>start_of(block)
    return 0


def account(tuple inputs not None, uint8_t[::1] slots not None, uint8_t[::1] turns not None, tuple outputs not None):
    """Take a batch; give how many rows were written to each output.

    Parameters
    ----------
    inputs : tuple of four blocks of bytes
        Segments, the Headers they were made from, Boundaries, and the Connections that these end, in that order.
    slots : bytes of per-connection state, SLOT_BYTES each, zero at first; changed
    turns : bytes of what is known of each connection's request, TURN_BYTES each; changed
        Empty if nobody wants to know.
    outputs : tuple of two blocks of bytes
        ConnectionAccounts (one row per connection that ends) and RequestAccounts (one per segment and boundary);
        overwritten.
    """
    cdef Batch batch
    cdef int wrong
    memset(&batch, 0, sizeof(Batch))
    point_inputs(&batch, inputs)
    batch.slot_count = rows_of(slots, sizeof(Slot))
    batch.slots = <Slot *>start_of(slots)
    if turns.shape[0]:
        if rows_of(turns, sizeof(Turn)) < batch.slot_count:
            raise ValueError("too few turns for these slots")
        batch.turns = <Turn *>start_of(turns)
    point_outputs(&batch, outputs)
    with nogil:
        wrong = account_batch(&batch)
    if wrong == BAD_POSITION:
        raise ValueError("boundaries are not in the order of their positions, or lie outside the batch")
    if wrong == BAD_SLOT:
        raise ValueError("a segment or an end has a slot that is not open, or a slot was opened twice")
    if wrong == BAD_CONNECTION:
        raise ValueError("the connections are not those that the boundaries end")
    return batch.account_rows, batch.made.request_rows
