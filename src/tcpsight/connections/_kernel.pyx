# cython: language_level=3
"""The loop over segments: find the connection, open and end connections, apply the rules.

What fails can fail only before the loop (`reserve_…`) or while rows are handed out (`failed`).
"""
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset
from tcpsight._door cimport prefetch
from tcpsight.connections._context cimport (
    Context, Rows, Server, accept_candidate, advance_clock, deadline_of, note, reject_candidate, timer_class, touch,
)
from tcpsight.connections._duplicates cimport FOUND_AMBIGUOUS, FOUND_DUPLICATE, look_for_duplicate
from tcpsight.connections._edge cimport GAVE_UP_HOLE, HELD, NOT_BELIEVED
from tcpsight.connections._handshake cimport acknowledges_syn, awaits_answer, is_reset_valid, take_reset
from tcpsight.connections._lifecycle cimport (
    BATCH_CONNECTIONS, end_connection, expire, file_deadline, fill_open_rows, open_connection, role_of,
)
from tcpsight.connections._reuse cimport HOLD, IGNORE, OPEN_ANOTHER, hold_syn, on_syn
from tcpsight.connections._rules cimport (
    take_acknowledgment, take_duplicate, take_sequence, take_unsequenced, take_usual, take_window,
)
from tcpsight.connections._sequence cimport to_offset
from tcpsight.connections._slots cimport (
    SHARES, direction_of, find, header_hash, look_ahead, release, reserve_holes, reserve_slots,
)
from tcpsight.connections._state cimport (
    APPROXIMATE, BEYOND_HANDSHAKE, COMPLETE, HAS_BASE, NO_OPENER, SETTLED, UNSEQUENCED, State, Stream,
)
from tcpsight.connections._shares cimport note_handshake_over
from tcpsight.connections._timers cimport reserve_timers
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_RST, FLAG_SYN, KIND_DUPLICATE, KIND_NEW, OPTION_UNSEQUENCED, REASON_AMBIGUOUS_DUPLICATE,
    REASON_HOLE_OVERFLOW, REASON_RESET_OUTSIDE_WINDOW, REASON_SEGMENT_OUTSIDE_WINDOW,
    REASONS, Boundary, Connection, Header, Segment,
)

cdef enum:
    # While one header is taken, the state of a later one is on its way, and the way to that of an even later one.
    FETCH_AHEAD = 6
    LOOK_AHEAD = 12
    HASHES = 32


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


cdef inline void apply(Context *x, State *c, int d, const Header *h, Segment *g, int verdict) noexcept nogil:
    """Apply a segment that is not usual."""
    cdef int found
    if h.options & OPTION_UNSEQUENCED or c.flags & UNSEQUENCED:
        take_unsequenced(x, c, d, h, g)
        return
    found = look_for_duplicate(&c.streams[d], h)
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


cdef bint track(Context *x, const Header *h, uint32_t hash, Segment *g, int32_t position) noexcept nogil:
    """Everything that one header causes. False if its time ends more connections than a batch takes: come again."""
    cdef bint is_jump
    if x.is_expiring:
        is_jump = x.expiring_is_jump
        x.is_expiring = False
    else:
        is_jump = advance_clock(x, h)
    if x.slots.timer_count and x.slots.timers[0].deadline < x.clock and not expire(x, position):
        x.is_expiring = True
        x.expiring_is_jump = is_jump
        return False
    place_segment(x, h, hash, g, position, is_jump)
    return True


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
    is_usual = not h.options & OPTION_UNSEQUENCED and take_usual(c, d, h, g)
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


cdef inline uint32_t announce(const Context *x, const Header *h) noexcept nogil:
    """Give a header's hash, and start fetching its place in the table."""
    cdef uint32_t hash = header_hash(h, x.slots.seed)
    prefetch(x.slots.entries + (hash & x.slots.mask))
    return hash


cdef int compare_ids(const void *a, const void *b) noexcept nogil:
    cdef int64_t left = (<const int64_t *>a)[0], right = (<const int64_t *>b)[0]
    return (left > right) - (left < right)


cdef class Tracker:
    """State of every open connection.

    Parameters
    ----------
    timeouts : tuple of int
        Nanoseconds for a waiting handshake, an ended connection, an established one.
    servers : list of (bytes or None, int, int)
        Address (16 bytes; None: any), port (0: any) and IP version of each ``--server``.
    seed : int
        Seed of the hash table, so that nobody can prepare collisions.
    most : int
        How many connections may be open; their shares are rounded up.
    """

    cdef Context x
    cdef int64_t *order         # while finishing: (number, slot) of those to end
    cdef int64_t order_count
    cdef int64_t order_at

    def __cinit__(self, timeouts, servers, uint64_t seed, int64_t most):
        cdef int i
        memset(&self.x, 0, sizeof(Context))
        self.x.slots.hole_free = -1
        self.x.previous_ns = INT64_MIN
        self.x.slots.seed = seed
        self.x.slots.share_limit = <uint32_t>max(1, min((most - 1) // SHARES + 1, 0x7FFFFFFF // SHARES))
        for i in range(3):
            self.x.timeouts[i] = timeouts[i]
        self.x.servers = <Server *>malloc((len(servers) + 1) * sizeof(Server))
        if self.x.servers == NULL:
            raise MemoryError
        for address, port, version in servers:
            self.x.servers[self.x.server_count].any_address = address is None
            if address is not None:
                for i in range(16):
                    self.x.servers[self.x.server_count].address[i] = address[i]
            self.x.servers[self.x.server_count].port = port
            self.x.servers[self.x.server_count].ip_version = version
            self.x.server_count += 1

    def __dealloc__(self):
        release(&self.x.slots)
        free(self.order)
        free(self.x.servers)
        free(self.x.boundaries.data)
        free(self.x.connections.data)

    @property
    def open_count(self):
        """Connections open now."""
        return self.x.slots.open_count

    @property
    def furthest_back_ns(self):
        """By how much at most a header was stamped earlier than the one before it; 0 if none was."""
        return self.x.furthest_back_ns

    def feed(self, const unsigned char[::1] headers, unsigned char[::1] segments, int64_t[:, ::1] counts, until_ns):
        """Track a batch; give (headers taken, whether that is all, connections, boundaries), the last two as bytes.

        `segments` receives one row per header taken. `until_ns` is None or how far capture time has come. Where more
        end than a batch takes, the rest of the headers is to be given again.
        """
        cdef int64_t n = headers.shape[0] // <int64_t>sizeof(Header)
        cdef int64_t limit = INT64_MIN if until_ns is None else until_ns
        cdef int64_t taken = 0
        cdef bint is_all
        if headers.shape[0] != n * <int64_t>sizeof(Header) or segments.shape[0] < n * <int64_t>sizeof(Segment):
            raise ValueError("row buffers do not fit")
        self._bind(counts)
        # A segment opens at most one connection, needs at most two hole blocks, and files at most four deadlines.
        if (
            reserve_slots(&self.x.slots, n)
            or reserve_holes(&self.x.slots, 2 * n)
            or reserve_timers(&self.x.slots, 4 * n)
        ):
            raise MemoryError("no memory for more open connections")
        with nogil:
            if n:
                taken = self._loop(<const Header *>&headers[0], <Segment *>&segments[0], n)
            is_all = taken == n
            if is_all and limit != INT64_MIN:
                is_all = self._advance(limit, <int32_t>n)
        return taken, is_all, *self._rows()

    cdef _bind(self, int64_t[:, ::1] counts):
        if counts.shape[0] != REASONS or counts.shape[1] != 3:
            raise ValueError("counts do not fit")
        self.x.counts = &counts[0, 0]
        self.x.boundaries.count = self.x.connections.count = 0

    cdef bint _advance(self, int64_t until_ns, int32_t position) noexcept nogil:
        """Capture time is known to have come this far."""
        cdef Context *x = &self.x
        if x.has_candidate and until_ns >= x.candidate_ns:
            accept_candidate(x)
        if not x.has_clock or until_ns > x.clock:
            x.has_clock = True
            x.clock = until_ns
        return expire(x, position)

    cdef int64_t _loop(self, const Header *headers, Segment *segments, int64_t n) noexcept nogil:
        """Give how many headers were taken."""
        cdef uint32_t hashes[HASHES]
        cdef int64_t i, ahead
        cdef Context *x = &self.x
        for ahead in range(min(n, <int64_t>LOOK_AHEAD)):
            hashes[ahead] = announce(x, &headers[ahead])
        for i in range(n):
            ahead = i + LOOK_AHEAD
            if ahead < n:
                hashes[ahead & (HASHES - 1)] = announce(x, &headers[ahead])
            ahead = i + FETCH_AHEAD
            if ahead < n:
                look_ahead(&x.slots, hashes[ahead & (HASHES - 1)])
            if not track(x, &headers[i], hashes[i & (HASHES - 1)], &segments[i], <int32_t>i):
                return i
        return n

    def finish(self, int64_t[:, ::1] counts):
        """End connections, in the order of their numbers; give (whether that is all, connections, boundaries)."""
        cdef int64_t i
        self._bind(counts)
        if self.order == NULL:
            if self.x.has_candidate:
                reject_candidate(&self.x)
            self._list_open()
        self.x.is_over = True
        i = self.order_at
        with nogil:
            while i < self.order_count and self.x.connections.count < BATCH_CONNECTIONS:
                end_connection(&self.x, <uint32_t>self.order[2 * i + 1], 0, self.x.clock)
                i += 1
        self.order_at = i
        if self.order_at < self.order_count:
            return False, *self._rows()
        free(self.order)
        self.order = NULL
        return True, *self._rows()

    def snapshot(self):
        """Give the rows of the open connections as if the capture ended now, by slot; as bytes. Changes nothing."""
        cdef Context x = self.x
        # What the end of a connection makes known goes where nobody looks: it has not ended.
        cdef int64_t counts[3 * REASONS]
        memset(counts, 0, sizeof(counts))
        x.counts = counts
        memset(&x.connections, 0, sizeof(Rows))
        with nogil:
            fill_open_rows(&x)
        try:
            if x.failed:
                raise MemoryError("no memory for the rows of open connections")
            return bytes_of(x.connections.data, x.connections.count * <int64_t>sizeof(Connection))
        finally:
            free(x.connections.data)

    cdef _list_open(self):
        cdef uint32_t slot
        cdef int64_t k = 0
        self.order = <int64_t *>malloc(2 * sizeof(int64_t) * (<int64_t>self.x.slots.open_count + 1))
        if self.order == NULL:
            raise MemoryError
        with nogil:
            for slot in range(self.x.slots.used):
                if self.x.slots.states[slot].connection_id:
                    self.order[2 * k] = self.x.slots.states[slot].connection_id
                    self.order[2 * k + 1] = slot
                    k += 1
            qsort(self.order, k, 2 * sizeof(int64_t), compare_ids)
        self.order_at, self.order_count = 0, k

    cdef _rows(self):
        if self.x.failed:
            raise MemoryError("no memory for the rows of ended connections")
        return (
            bytes_of(self.x.connections.data, self.x.connections.count * <int64_t>sizeof(Connection)),
            bytes_of(self.x.boundaries.data, self.x.boundaries.count * <int64_t>sizeof(Boundary)),
        )


cdef bytearray bytes_of(const char *data, int64_t n):
    return bytearray(data[:n]) if n else bytearray()


STATE_BYTES = sizeof(State)
"""Memory of one open connection, its hole blocks and its place in the table apart."""
