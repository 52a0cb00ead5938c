"""Loop over segments and boundaries that logs exchanges, and keeps those that are worth a judgment.

`policing.py` has the theory, `_log.pxd` what is logged, `_exchanges.pxd` what a segment does to it.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from tcpsight._door cimport Carried, Chunks, open_in, opened_in, prefetch, prefetch_both, release, reserve, rows_of, slot_in, start_of
from tcpsight.network._bucket cimport Fills, follow, order_of
from tcpsight.network._exchanges cimport Exchange, begins_next, is_data, take_segment
from tcpsight.network._log cimport (
    ACKED,
    AGAIN,
    HOLE,
    LOST,
    SPURIOUS,
    Budget,
    Entry,
    Log,
    forget,
    give_back,
)
from tcpsight.network._log_carrying cimport carried_bytes, read_exchange, write_exchange
from tcpsight.tables cimport (
    BOUNDARY_OPENED,
    KIND_DUPLICATE,
    Boundary,
    Header,
    PolicedRow,
    Segment,
)

cdef enum:
    # An exchange is worth a judgment if so many segments were lost, or if it sent so many over so long a time.
    LEAST_LOST = 15
    LEAST_SENT = 64
    LEAST_SENT_NS = 200000000
    # While one segment is taken, the state of the one so far behind it is on its way.
    AHEAD = 24
    NEAR = 12
    CLOSE = 5

cdef enum:
    FINE = 0
    BAD_POSITION = 1
    BAD_SLOT = 2
    NO_MEMORY = 3

cdef struct Done:
    PolicedRow row
    Log log

cdef struct Ended:
    Done *exchanges
    int64_t count
    int64_t size

cdef struct Batch:
    const Segment *segments
    const Header *headers
    const Boundary *boundaries
    Chunks chunks
    Budget *budget              # of each share
    Ended *ended
    int64_t segment_count
    int64_t boundary_count
    int32_t made_by             # what of the batch is being taken

ENTRY_BYTES = sizeof(Entry)
SLOT_BYTES = sizeof(Exchange)
FLAGS = {"lost": LOST, "spurious": SPURIOUS, "again": AGAIN, "hole": HOLE, "acked": ACKED}


# ------------------------------------------------------------------------------------------------ exchanges


cdef inline Exchange *exchange_at(const Batch *batch, int64_t slot) noexcept nogil:
    return <Exchange *>slot_in(&batch.chunks, slot, sizeof(Exchange))


cdef inline Exchange *open_exchange_at(const Batch *batch, int64_t slot) noexcept nogil:
    """NULL if it is not open."""
    cdef Exchange *x = <Exchange *>opened_in(&batch.chunks, slot, sizeof(Exchange))
    return x if x != NULL and x.is_used else NULL


cdef inline bint is_worth_judging(Log *log) noexcept nogil:
    if log.lost >= LEAST_LOST:
        return True
    return log.count >= LEAST_SENT and log.entries[log.count - 1].time_ns - log.entries[0].time_ns >= LEAST_SENT_NS


cdef int hand_over(Batch *batch, Exchange *x, int d) noexcept nogil:
    """Move a log to the ended ones; its memory goes with it."""
    cdef Ended *ended = batch.ended
    cdef Log *log = &x.logs[d]
    cdef void *fresh
    cdef PolicedRow *row
    if ended.count == ended.size:
        fresh = realloc(ended.exchanges, (ended.size + 16) * 2 * sizeof(Done))
        if fresh == NULL:
            return NO_MEMORY
        ended.exchanges = <Done *>fresh
        ended.size = (ended.size + 16) * 2
    row = &ended.exchanges[ended.count].row
    memset(row, 0, sizeof(PolicedRow))
    row.connection_id = x.connection_id
    row.direction = <uint8_t>d
    row.made_by = batch.made_by
    memcpy(row.client_address, x.client_address, 16)
    memcpy(row.server_address, x.server_address, 16)
    row.client_port = x.client_port
    row.server_port = x.server_port
    row.ip_version = x.ip_version
    row.is_cut = log.is_cut
    row.other_side_ns = x.logs[1 - d].handshake_ns
    row.this_side_ns = log.handshake_ns
    ended.exchanges[ended.count].log = log[0]
    if log.entries != NULL:
        # What is held until the next batch does not count: how rows are cut into batches must not matter.
        batch.budget[x.share].log_bytes -= log.size * <int64_t>sizeof(Entry)
    ended.count += 1
    log.entries = NULL
    return FINE


cdef int end_exchange(Batch *batch, Exchange *x) noexcept nogil:
    """End an exchange: what is worth it is judged, the rest forgotten."""
    cdef int d, wrong = FINE
    if x.is_logged:
        for d in range(2):
            if not x.is_set_back and is_worth_judging(&x.logs[d]):
                if hand_over(batch, x, d) != FINE:
                    wrong = NO_MEMORY
            forget(&x.logs[d], batch.budget + x.share)
    for d in range(2):
        x.is_begun[d] = x.is_probing[d] = False
    x.noted = x.is_logged = x.is_answered = x.is_set_back = False
    return wrong


cdef void open_slot(Exchange *x, const Boundary *boundary) noexcept nogil:
    x.is_used = True
    x.connection_id = boundary.connection_id
    x.last_ns = boundary.time_ns
    memcpy(x.client_address, boundary.client_address, 16)
    memcpy(x.server_address, boundary.server_address, 16)
    x.client_port = boundary.client_port
    x.server_port = boundary.server_port
    x.ip_version = boundary.ip_version
    x.share = boundary.share


# ------------------------------------------------------------------------------- segments and boundaries


cdef inline void fetch(const Batch *batch, const Segment *g) noexcept nogil:
    """Start fetching what every segment touches, and what tells what else it will."""
    if g.slot < batch.chunks.slots:
        prefetch(exchange_at(batch, g.slot))


cdef inline void fetch_logs(const Batch *batch, const Segment *g) noexcept nogil:
    """Start fetching where it is noted or logged."""
    cdef const Exchange *x = open_exchange_at(batch, g.slot)
    if x == NULL:
        return
    if not x.is_logged:
        prefetch(&x.notes[x.noted])
        return
    prefetch_both(x, 64)
    prefetch(<const uint8_t *>x + 192)


cdef inline void fetch_entries(const Batch *batch, const Segment *g) noexcept nogil:
    """Start fetching the entry that it adds, and those that it acknowledges: by now it is known where they are."""
    cdef const Exchange *x = open_exchange_at(batch, g.slot)
    cdef const Log *log
    cdef const Log *peer
    if x == NULL or not x.is_logged:
        return
    log = &x.logs[g.direction & 1]
    peer = &x.logs[1 - (g.direction & 1)]
    if g.payload_bytes > 0:
        prefetch(log.entries + log.count)
    if peer.acked_at < peer.count:
        prefetch(peer.entries + peer.acked_at)
        prefetch(peer.entries + peer.count - 1)


cdef int take_segments(Batch *batch, int64_t begin, int64_t end) noexcept nogil:
    """Take the segments of rows [begin, end)."""
    cdef const Segment *g
    cdef Exchange *x
    cdef int64_t i
    for i in range(begin, end if end < begin + AHEAD else begin + AHEAD):
        fetch(batch, batch.segments + i)
    for i in range(begin, end):
        if i + AHEAD < batch.segment_count:
            fetch(batch, batch.segments + i + AHEAD)
        if i + NEAR < batch.segment_count:
            fetch_logs(batch, batch.segments + i + NEAR)
        if i + CLOSE < batch.segment_count:
            fetch_entries(batch, batch.segments + i + CLOSE)
        g = batch.segments + i
        x = open_exchange_at(batch, g.slot)
        if x == NULL:
            return BAD_SLOT
        if g.kind == KIND_DUPLICATE:
            continue
        batch.made_by = <int32_t>i
        if begins_next(x, g) and is_data(g, batch.headers + i) and end_exchange(batch, x) != FINE:
            return NO_MEMORY
        take_segment(x, batch.budget + x.share, g, batch.headers + i)
    return FINE


cdef int take_boundary(Batch *batch, const Boundary *boundary) noexcept nogil:
    """Open or end a slot."""
    cdef Exchange *x = open_exchange_at(batch, boundary.slot)
    cdef int d, wrong
    if boundary.boundary == BOUNDARY_OPENED:
        if x == NULL:
            x = <Exchange *>open_in(&batch.chunks, boundary.slot, sizeof(Exchange))
            if x != NULL:
                open_slot(x, boundary)
                return FINE
        return BAD_SLOT
    if x == NULL:
        return BAD_SLOT
    x.is_used = False
    wrong = end_exchange(batch, x)
    for d in range(2):
        give_back(&x.logs[d], batch.budget + x.share)
    return wrong


cdef int log_batch(Batch *batch) noexcept nogil:
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
        batch.made_by = -1 - <int32_t>i
        if wrong == FINE:
            wrong = take_boundary(batch, boundary)
        if wrong != FINE:
            return wrong
        row = boundary.position
    return take_segments(batch, row, batch.segment_count)


def explain(const uint8_t[::1] rows not None, const double[::1] bucket not None):
    """Give how well a token bucket explains which segments were lost: two shares and a chance.

    Parameters
    ----------
    rows : bytes of entries
        In the order of capture, the first one a loss.
    bucket : array of float, shape (6,)
        Rate in bytes per nanosecond, size in bytes, the most tokens that a loss may have, the fewest that a pass may
        have, the usual size of a segment, above 0, and 1 if the bucket fills in a run of losses, else 0.
    """
    cdef int64_t n = rows_of(rows, sizeof(Entry))
    cdef Fills fills
    cdef double order
    if bucket.shape[0] != 6 or not bucket[4] > 0:
        raise ValueError("not the six numbers of a bucket")
    if n == 0:
        return 0.0, 0.0, 0.5
    with nogil:
        follow(&fills, <const Entry *>&rows[0], n, &bucket[0])
        order = order_of(&fills)
    return (
        fills.losses_outside / <double>(fills.losses if fills.losses else 1),
        fills.passes_outside / <double>(fills.passes if fills.passes else 1),
        order,
    )


cdef class Logs:
    """Logs of all open connections, and of the exchanges that ended in the last batch."""

    cdef Batch batch    # what outlives a batch: chunks
    cdef Budget budget[256]
    cdef Ended ended

    def __dealloc__(self):
        cdef int64_t i
        cdef Exchange *x
        self.forget_ended()
        for i in range(self.batch.chunks.opened):
            x = open_exchange_at(&self.batch, i)
            if x != NULL:
                give_back(&x.logs[0], self.budget + x.share)
                give_back(&x.logs[1], self.budget + x.share)
        release(&self.batch.chunks)
        free(self.ended.exchanges)

    cdef void forget_ended(self) noexcept:
        cdef int64_t i
        for i in range(self.ended.count):
            free(self.ended.exchanges[i].log.entries)
        self.ended.count = 0

    def memory(self):
        """Bytes that the logs hold beyond the state of each connection."""
        cdef int i
        cdef int64_t total = 0
        for i in range(256):
            total += self.budget[i].log_bytes
        return total

    def feed(
        self,
        const uint8_t[::1] segments not None,
        const uint8_t[::1] headers not None,
        const uint8_t[::1] boundaries not None,
        int64_t slots,
    ):
        """Take a batch; give how many exchanges ended in it that are worth a judgment.

        Parameters
        ----------
        segments, headers, boundaries : bytes of Segments, Headers and Boundaries rows
            Header i is that of segment i.
        slots : int
            One more than the highest slot in the boundaries.
        """
        cdef Batch batch
        cdef int wrong
        self.forget_ended()
        reserve(&self.batch.chunks, slots, sizeof(Exchange))
        batch = self.batch
        batch.segment_count = rows_of(segments, sizeof(Segment))
        batch.segments = <const Segment *>start_of(segments)
        if rows_of(headers, sizeof(Header)) != batch.segment_count:
            raise ValueError("there is not one header for each segment")
        batch.headers = <const Header *>start_of(headers)
        batch.boundary_count = rows_of(boundaries, sizeof(Boundary))
        batch.boundaries = <const Boundary *>start_of(boundaries)
        batch.budget = self.budget
        batch.ended = &self.ended
        with nogil:
            wrong = log_batch(&batch)
        self.batch.chunks = batch.chunks
        if wrong == BAD_POSITION:
            raise ValueError("boundaries are not in the order of their positions, or lie outside the batch")
        if wrong == BAD_SLOT:
            raise ValueError("a segment or an end has a slot that is not open, or a slot was opened twice")
        if wrong == NO_MEMORY:
            raise MemoryError("no memory for exchanges that ended")
        return self.ended.count

    def carried(self, const int64_t[::1] slots not None):
        """Give what is known of the connections in these slots, as bytes."""
        cdef int64_t i, total = 0
        cdef Carried out
        for i in range(slots.shape[0]):
            if slots[i] < 0 or open_exchange_at(&self.batch, slots[i]) == NULL:
                raise IndexError(slots[i])
            total += carried_bytes(exchange_at(&self.batch, slots[i]))
        cdef bytearray made = bytearray(total)
        out.at, out.left = <uint8_t *><char *>made, total
        for i in range(slots.shape[0]):
            write_exchange(&out, exchange_at(&self.batch, slots[i]))
        return made

    def restore(self, const uint8_t[::1] carried not None, const int64_t[::1] numbers not None):
        """Take the connections with these numbers as `carried` gave them, in the next slots, or raise ValueError."""
        cdef Carried rest
        cdef int64_t i, first = self.batch.chunks.opened
        cdef Exchange *x
        rest.at, rest.left = <uint8_t *>start_of(carried), carried.shape[0]
        reserve(&self.batch.chunks, first + numbers.shape[0], sizeof(Exchange))
        for i in range(numbers.shape[0]):
            x = <Exchange *>open_in(&self.batch.chunks, first + i, sizeof(Exchange))
            if x == NULL or not read_exchange(&rest, x, self.budget) or x.connection_id != numbers[i]:
                raise ValueError("what was logged of a connection that was carried is damaged")
        if rest.left:
            raise ValueError("what was logged of more connections was carried")

    def exchange(self, int64_t i):
        """Give the Policed row of an ended exchange, as far as the log tells, and its entries; both as bytes."""
        cdef Done *done
        if not 0 <= i < self.ended.count:
            raise IndexError(i)
        done = self.ended.exchanges + i
        return (
            PyBytes_FromStringAndSize(<const char *>&done.row, sizeof(PolicedRow)),
            PyBytes_FromStringAndSize(<const char *>done.log.entries, done.log.count * <Py_ssize_t>sizeof(Entry)),
        )
