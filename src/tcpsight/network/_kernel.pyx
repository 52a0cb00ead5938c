"""Loop over segments and boundaries that measures each direction of each connection.

`measuring.py` has the theory, `_state.pxd` what is remembered, `_flow_rules.pxd` what a segment does to it,
`_windows.pxd` what its window says, `_pauses.pxd` when its data were outstanding.
"""

cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from tcpsight._door cimport Carried, Chunks, open_in, opened_in, prefetch, release, reserve, rows_of, slot_in, start_of
from tcpsight.network._clock cimport LEAPT, OPENED, is_odd, take_leap_back, take_odd_time
from tcpsight.network._flow_carrying cimport carried_bytes, read_slot, write_slot
from tcpsight.network._flow_rules cimport take_segment
from tcpsight.network._round_trips cimport own_round_trips
from tcpsight.network._rows cimport give_row
from tcpsight.network._sent cimport sent_at
from tcpsight.network._state cimport FIRST_BITS, FIRST_HOLES, STAMPS, Flow, Hole, Memory, Sent, Slot, pass_step, smaller
from tcpsight.tables cimport (
    BOUNDARY_OPENED,
    KIND_DUPLICATE,
    OPTION_UNSEQUENCED,
    Boundary,
    Header,
    NetworkRow,
    Segment,
)

cdef enum:
    # While one segment is taken, the state of the one so far behind it is on its way.
    AHEAD = 12
    CLOSE = 6

cdef enum:
    # What `measure_batch` found wrong in its input.
    FINE = 0
    BAD_POSITION = 1
    BAD_SLOT = 2

cdef struct Batch:
    const Segment *segments
    const Header *headers
    const Boundary *boundaries
    NetworkRow *rows
    Chunks chunks
    Memory *memory              # of each share
    Segment moved               # one with another time
    int64_t segment_count
    int64_t boundary_count
    int64_t row_count
    const int32_t *step_rows    # before which the capture's time went back
    int64_t step_count
    int64_t step_at             # the first that was not counted
    int64_t next_step           # its row
    uint32_t steps              # how many were counted, of all batches

SLOT_BYTES = sizeof(Slot)


# ------------------------------------------------------------------------------------------------ slots


cdef inline Slot *slot_at(const Batch *batch, int64_t slot) noexcept nogil:
    return <Slot *>slot_in(&batch.chunks, slot, sizeof(Slot))


cdef inline Slot *open_slot_at(const Batch *batch, int64_t slot) noexcept nogil:
    """NULL if it is not open."""
    cdef Slot *found = <Slot *>opened_in(&batch.chunks, slot, sizeof(Slot))
    return found if found != NULL and found.is_used else NULL


cdef void free_flow(Flow *f, Memory *memory) noexcept nogil:
    if f.sent != NULL:
        memory.sent_bytes -= (<int64_t>1 << f.size_bits) * <int64_t>sizeof(Sent)
    free(f.sent)
    free(f.round_trips)
    if f.rare != NULL:
        if f.rare.hole_size > FIRST_HOLES:
            memory.hole_bytes -= (f.rare.hole_size - FIRST_HOLES) * <int64_t>sizeof(Hole)
        free(f.rare.holes)
    free(f.rare)
    f.sent = NULL
    f.round_trips = NULL
    f.rare = NULL


cdef void open_slot(Slot *slot, const Boundary *boundary) noexcept nogil:
    cdef int d
    slot.is_used = True
    slot.connection_id = boundary.connection_id
    slot.first_ns = slot.last_ns = boundary.time_ns
    slot.leap = LEAPT | OPENED
    memcpy(slot.client_address, boundary.client_address, 16)
    memcpy(slot.server_address, boundary.server_address, 16)
    slot.client_port = boundary.client_port
    slot.server_port = boundary.server_port
    slot.ip_version = boundary.ip_version
    slot.share = boundary.share
    for d in range(2):
        slot.flows[d].size_bits = FIRST_BITS
        slot.flows[d].busy_since_ns = boundary.time_ns
        slot.flows[d].window = -1
        slot.flows[d].window_max = -1


# ------------------------------------------------------------------------------- segments and boundaries


cdef inline void fetch(const Batch *batch, const Segment *g) noexcept nogil:
    """Start fetching what every segment touches, which tells what else this one will."""
    cdef const Slot *slot
    if g.slot >= batch.chunks.slots:
        return
    slot = slot_at(batch, g.slot)
    prefetch(slot)
    prefetch(&slot.flows[0])
    prefetch(&slot.flows[1])


cdef inline void fetch_more(const Batch *batch, const Segment *g) noexcept nogil:
    """Start fetching the other lines of the usual segment: stamps, what it sends, and what it acknowledges."""
    cdef Slot *slot = <Slot *>opened_in(&batch.chunks, g.slot, sizeof(Slot))
    cdef Flow *own
    cdef Flow *other
    if slot == NULL:
        return
    own = &slot.flows[g.direction & 1]
    other = &slot.flows[1 - (g.direction & 1)]
    prefetch(&own.echoed_ns)
    prefetch(&own.stamps[(own.stamps_head + own.stamps_count) & (STAMPS - 1)])
    if g.payload_bytes > 0:
        prefetch(&own.busy_since_ns)
        prefetch(sent_at(own, own.count))
        prefetch(&other.echoed_ns)
        if other.stamps_count > 1:
            prefetch(&other.stamps[1])
            prefetch(&other.stamps[STAMPS - 1])
    if g.acked_offset > other.acked:
        prefetch(&other.srtt_ns)
        prefetch(&other.rising)
        prefetch(&other.busy_since_ns)
        prefetch(sent_at(other, 0))
        prefetch(sent_at(other, 1))


cdef const Segment *take_odd(Batch *batch, Slot *slot, const Segment *segment) noexcept nogil:
    """Move an odd clock; give the segment, with the time of those before it if the clock was set back."""
    take_odd_time(slot, segment.time_ns)
    if not slot.is_behind:
        return segment
    batch.moved = segment[0]
    batch.moved.time_ns = slot.last_ns
    return &batch.moved


@cython.overflowcheck(False)
cdef void pass_steps(Batch *batch, int64_t row) noexcept nogil:
    """Count where the capture's clock may have been set back, up to this row."""
    while batch.step_at < batch.step_count and batch.step_rows[batch.step_at] <= row:
        batch.steps += 1
        batch.step_at += 1
    batch.next_step = batch.step_rows[batch.step_at] if batch.step_at < batch.step_count else INT64_MAX


@cython.overflowcheck(False)
cdef int take_segments(Batch *batch, int64_t begin, int64_t end) noexcept nogil:
    """Take the segments of rows [begin, end)."""
    cdef const Segment *segment
    cdef const Header *header
    cdef Slot *slot
    cdef int64_t row
    for row in range(begin, smaller(begin + AHEAD, end)):
        fetch(batch, batch.segments + row)
    for row in range(begin, end):
        if row + AHEAD < batch.segment_count:
            fetch(batch, batch.segments + row + AHEAD)
        if row + CLOSE < batch.segment_count:
            fetch_more(batch, batch.segments + row + CLOSE)
        segment = batch.segments + row
        header = batch.headers + row
        slot = open_slot_at(batch, segment.slot)
        if slot == NULL:
            return BAD_SLOT
        if segment.kind == KIND_DUPLICATE:
            continue
        if row >= batch.next_step:
            pass_steps(batch, row)
        if slot.steps != batch.steps:
            slot.steps = batch.steps
            pass_step(slot)
        slot.is_unsequenced |= (header.options & OPTION_UNSEQUENCED) != 0
        if is_odd(slot, segment.time_ns):
            segment = take_odd(batch, slot, segment)
        else:
            slot.last_ns = segment.time_ns
        take_segment(slot, batch.memory + slot.share, segment, header)
    return FINE


cdef int take_boundary(Batch *batch, const Boundary *boundary) noexcept nogil:
    """Open or end a slot."""
    cdef Slot *slot = open_slot_at(batch, boundary.slot)
    if boundary.boundary == BOUNDARY_OPENED:
        if slot == NULL:
            slot = <Slot *>open_in(&batch.chunks, boundary.slot, sizeof(Slot))
            if slot != NULL:
                open_slot(slot, boundary)
                return FINE
        return BAD_SLOT
    if slot == NULL:
        return BAD_SLOT
    if slot.leap and boundary.time_ns < slot.last_ns:
        take_leap_back(slot, boundary.time_ns)
    give_row(batch.rows + batch.row_count, slot, 0)
    give_row(batch.rows + batch.row_count + 1, slot, 1)
    batch.row_count += 2
    free_flow(&slot.flows[0], batch.memory + slot.share)
    free_flow(&slot.flows[1], batch.memory + slot.share)
    slot.is_used = False
    return FINE


cdef int measure_batch(Batch *batch) noexcept nogil:
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
    wrong = take_segments(batch, row, batch.segment_count)
    pass_steps(batch, batch.segment_count)
    return wrong


# ------------------------------------------------------------------------------------------------ the door


cdef class Measures:
    """State of all open connections."""

    cdef Batch batch    # what outlives a batch: chunks
    cdef Memory memory[256]

    def __dealloc__(self):
        cdef int64_t i
        cdef Slot *slot
        for i in range(self.batch.chunks.opened):
            slot = open_slot_at(&self.batch, i)
            if slot != NULL:
                free_flow(&slot.flows[0], self.memory + slot.share)
                free_flow(&slot.flows[1], self.memory + slot.share)
        release(&self.batch.chunks)

    def feed(
        self,
        const uint8_t[::1] segments not None,
        const uint8_t[::1] headers not None,
        const uint8_t[::1] boundaries not None,
        int64_t slots,
        uint8_t[::1] rows not None,
        const int32_t[::1] steps not None,
    ):
        """Take a batch; give how many rows were written.

        Parameters
        ----------
        segments, headers, boundaries : bytes of Segments, Headers and Boundaries rows
            Header i is that of segment i.
        slots : int
            One more than the highest slot in the boundaries.
        rows : bytes of Network rows
            At least two per boundary; overwritten.
        steps : array of int32
            Rows before which the capture's time went back.
        """
        cdef Batch batch
        cdef int wrong
        reserve(&self.batch.chunks, slots, sizeof(Slot))
        batch = self.batch
        batch.segment_count = rows_of(segments, sizeof(Segment))
        batch.segments = <const Segment *>start_of(segments)
        if rows_of(headers, sizeof(Header)) != batch.segment_count:
            raise ValueError("there is not one header for each segment")
        batch.headers = <const Header *>start_of(headers)
        batch.boundary_count = rows_of(boundaries, sizeof(Boundary))
        batch.boundaries = <const Boundary *>start_of(boundaries)
        if rows_of(rows, sizeof(NetworkRow)) < 2 * batch.boundary_count:
            raise ValueError("too little room for rows")
        batch.rows = <NetworkRow *>start_of(rows)
        batch.memory = self.memory
        batch.step_rows = &steps[0] if steps.shape[0] else NULL
        batch.step_count, batch.step_at = steps.shape[0], 0
        batch.next_step = steps[0] if steps.shape[0] else INT64_MAX
        with nogil:
            wrong = measure_batch(&batch)
        self.batch.chunks = batch.chunks
        self.batch.steps = batch.steps
        if wrong == BAD_POSITION:
            raise ValueError("boundaries are not in the order of their positions, or lie outside the batch")
        if wrong == BAD_SLOT:
            raise ValueError("a segment or an end has a slot that is not open, or a slot was opened twice")
        return batch.row_count

    def carried(self, const int64_t[::1] slots not None):
        """Give what is known of the connections in these slots, as bytes."""
        cdef int64_t i, total = 0
        cdef bytearray made
        cdef Carried out
        for i in range(slots.shape[0]):
            if slots[i] < 0 or open_slot_at(&self.batch, slots[i]) == NULL:
                raise IndexError(slots[i])
            total += carried_bytes(slot_at(&self.batch, slots[i]))
        made = bytearray(total)
        out.at, out.left = <uint8_t *><char *>made, total
        for i in range(slots.shape[0]):
            write_slot(&out, slot_at(&self.batch, slots[i]), self.batch.steps)
        return made

    def restore(self, const uint8_t[::1] carried not None, const int64_t[::1] numbers not None):
        """Take the connections with these numbers as `carried` gave them, in the next slots.

        ValueError if they are others, or something is wrong with one; then nothing is to be done but to give up.
        """
        cdef Carried rest
        cdef int64_t i, first = self.batch.chunks.opened
        cdef Slot *slot
        rest.at, rest.left = <uint8_t *>start_of(carried), carried.shape[0]
        reserve(&self.batch.chunks, first + numbers.shape[0], sizeof(Slot))
        for i in range(numbers.shape[0]):
            slot = <Slot *>open_in(&self.batch.chunks, first + i, sizeof(Slot))
            if slot == NULL or not read_slot(&rest, slot, self.memory) or slot.connection_id != numbers[i]:
                raise ValueError("what was measured of a connection that was carried is damaged")
            slot.steps = self.batch.steps
        if rest.left:
            raise ValueError("what was measured of more connections was carried")

    def snapshot(self, uint8_t[::1] rows not None, int64_t begin):
        """Write the rows of open connections as if they ended now, by slot from `begin` on, until there is no room.

        It changes nothing; gives how many rows there are, and the slot to go on at: that behind the last one if no
        more are open.
        """
        cdef int64_t room = rows_of(rows, sizeof(NetworkRow))
        cdef NetworkRow *row = <NetworkRow *>start_of(rows)
        cdef const Slot *slot
        cdef Slot copy
        cdef int64_t i = max(begin, 0), end = self.batch.chunks.opened, found = 0
        cdef int d
        cdef bint is_full = False
        with nogil:
            while i < end and found + 2 <= room:
                slot = open_slot_at(&self.batch, i)
                i += 1
                if slot == NULL:
                    continue
                copy = slot[0]
                for d in range(2):
                    if own_round_trips(&copy.flows[d]):
                        give_row(row + found + d, &copy, d)
                        free(copy.flows[d].round_trips)
                    else:
                        is_full = True
                found += 2
        if is_full:
            raise MemoryError("no memory for a copy of round trips")
        return found, i

    @property
    def slots(self):
        """How many slots there are, open or not."""
        return self.batch.chunks.opened
