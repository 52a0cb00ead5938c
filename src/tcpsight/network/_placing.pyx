"""Loop over segments and boundaries that tells where each connection was captured, and nothing else of its time.

It knows what `_account.pyx` knows of that, from four bytes a connection: many fit the nearest cache.
"""

from libc.stdint cimport INT64_MIN, int64_t, uint8_t

from tcpsight._door cimport rows_of, start_of
from tcpsight.network._vantage cimport Place, place_of
from tcpsight.tables cimport (
    BOUNDARY_OPENED,
    FLAG_RST,
    KIND_DUPLICATE,
    Boundary,
    Connection,
    ConnectionAccount,
    Header,
    Segment,
)

cdef enum:
    # Bits of `Slot.marks`. Of each side the first segment tells its TTL.
    IS_USED = 1
    HEARD = 2               # the client; the server: twice that
    HEARD_BOTH = 6

cdef enum:
    # What `place_batch` found wrong in its input.
    FINE = 0
    BAD_POSITION = 1
    BAD_SLOT = 2
    BAD_CONNECTION = 3

cdef struct Slot:
    uint8_t marks
    uint8_t ttl[2]
    uint8_t padding

cdef struct Batch:
    const Segment *segments
    const Header *headers
    const Boundary *boundaries
    const Connection *connections
    Slot *slots
    ConnectionAccount *accounts
    int64_t segment_count
    int64_t boundary_count
    int64_t connection_count
    int64_t slot_count
    int64_t account_rows

SLOT_BYTES = sizeof(Slot)


cdef inline void hear(Slot *slot, const Segment *g, const Header *h) noexcept nogil:
    """Take a side's first segment that was believed; a RST may be anybody's."""
    cdef int side = g.direction & 1
    if slot.marks & (HEARD << side) or g.kind == KIND_DUPLICATE or g.offset == INT64_MIN or g.flags & FLAG_RST:
        return
    slot.marks |= HEARD << side
    slot.ttl[side] = h.ttl


cdef int take_segments(const Batch *batch, int64_t begin, int64_t end) noexcept nogil:
    """Take the segments of rows [begin, end)."""
    cdef Slot *slot
    cdef int64_t i
    for i in range(begin, end):
        if batch.segments[i].slot >= batch.slot_count:
            return BAD_SLOT
        slot = batch.slots + batch.segments[i].slot
        if not slot.marks & IS_USED:
            return BAD_SLOT
        if slot.marks & HEARD_BOTH != HEARD_BOTH:
            hear(slot, batch.segments + i, batch.headers + i)
    return FINE


cdef int take_boundary(Batch *batch, const Boundary *boundary) noexcept nogil:
    """Open or end a slot."""
    cdef bint is_opening = boundary.boundary == BOUNDARY_OPENED
    cdef const Connection *c
    cdef ConnectionAccount *row
    cdef Slot *slot
    cdef Place place
    if boundary.slot >= batch.slot_count:
        return BAD_SLOT
    slot = batch.slots + boundary.slot
    if ((slot.marks & IS_USED) != 0) == is_opening:
        return BAD_SLOT
    if is_opening:
        slot.marks = IS_USED
        slot.ttl[0] = slot.ttl[1] = 0
        return FINE
    c = batch.connections + batch.account_rows
    if batch.account_rows >= batch.connection_count or c.connection_id != boundary.connection_id:
        return BAD_CONNECTION
    place = place_of(c, slot.ttl[1], slot.ttl[0])
    row = batch.accounts + batch.account_rows
    row.connection_id = c.connection_id
    row.vantage = place.vantage
    row.vantage_confidence = place.confidence
    batch.account_rows += 1
    slot.marks = 0
    return FINE


cdef int place_batch(Batch *batch) noexcept nogil:
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


def place(
    const uint8_t[::1] segments not None,
    const uint8_t[::1] headers not None,
    const uint8_t[::1] boundaries not None,
    const uint8_t[::1] connections not None,
    uint8_t[::1] slots not None,
    uint8_t[::1] accounts not None,
):
    """Take a batch; give how many accounts were written, as far as they tell of places.

    Parameters
    ----------
    segments, headers, boundaries, connections : bytes of rows
        Header i is that of segment i; connections are those that the boundaries end, in that order.
    slots : bytes of per-connection state, SLOT_BYTES each, zero at first; changed
    accounts : bytes of ConnectionAccounts rows
        At least one per connection that ends.
    """
    cdef Batch batch
    cdef int wrong
    batch.segment_count = rows_of(segments, sizeof(Segment))
    batch.segments = <const Segment *>start_of(segments)
    if rows_of(headers, sizeof(Header)) != batch.segment_count:
        raise ValueError("there must be a header for each segment")
    batch.headers = <const Header *>start_of(headers)
    batch.boundary_count = rows_of(boundaries, sizeof(Boundary))
    batch.boundaries = <const Boundary *>start_of(boundaries)
    batch.connection_count = rows_of(connections, sizeof(Connection))
    batch.connections = <const Connection *>start_of(connections)
    batch.slot_count = rows_of(slots, sizeof(Slot))
    batch.slots = <Slot *>start_of(slots)
    if rows_of(accounts, sizeof(ConnectionAccount)) < batch.connection_count:
        raise ValueError("too little room for accounts")
    batch.accounts = <ConnectionAccount *>start_of(accounts)
    batch.account_rows = 0
    with nogil:
        wrong = place_batch(&batch)
    if wrong == BAD_POSITION:
        raise ValueError("boundaries are not in the order of their positions, or lie outside the batch")
    if wrong == BAD_SLOT:
        raise ValueError("a segment or an end has a slot that is not open, or a slot was opened twice")
    if wrong == BAD_CONNECTION:
        raise ValueError("the connections are not those that the boundaries end")
    return batch.account_rows
