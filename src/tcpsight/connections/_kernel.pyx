# cython: language_level=3
"""The loop over segments: find the connection, open and end connections, apply the rules of `_rules`.

What fails can fail only before the loop (`reserve`) or while rows are handed out (`failed`).
"""
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset
from tcpsight.connections._context cimport Context, Server, accept_candidate, advance_clock, deadline_of, note, timer_class
from tcpsight.connections._duplicates cimport FOUND_AMBIGUOUS, FOUND_DUPLICATE, look_for_duplicate
from tcpsight.connections._lifecycle cimport end_connection, expire, file_deadline, on_syn, open_connection, role_of
from tcpsight.connections._rules cimport (
    is_reset_valid, take_acknowledgment, take_reset, take_sequence, take_usual, take_window,
)
from tcpsight.connections._sequence cimport to_offset
from tcpsight.connections._slots cimport find, header_hash, look_ahead, prefetch, release, reserve, same_address
from tcpsight.connections._state cimport (
    APPROXIMATE, BEYOND_HANDSHAKE, HAS_BASE, UNSEQUENCED, State, Stream,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_RST, FLAG_SYN, KIND_DUPLICATE, KIND_NEW, OPTION_UNSEQUENCED, REASON_AMBIGUOUS_DUPLICATE,
    REASON_CAPTURE_DUPLICATE, REASON_HOLE_OVERFLOW, REASON_RESET_OUTSIDE_WINDOW, REASON_SEGMENT_OUTSIDE_WINDOW,
    REASON_UNSEQUENCED, REASONS, Boundary, Connection, Header, Segment,
)

cdef enum:
    LOOK_AHEAD = 32         # headers whose state is fetched together


cdef inline void take_unsequenced(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Text that shows lengths only: bytes are taken to come in order, once."""
    cdef Stream *s = &c.streams[d]
    c.flags |= UNSEQUENCED | BEYOND_HANDSHAKE
    s.segments += 1
    g.offset = s.next_offset
    g.new_bytes = h.payload_bytes
    g.window_bytes = -1
    s.next_offset += h.payload_bytes
    note(x, REASON_UNSEQUENCED, h.frame_number, 0)


cdef inline bint may_repeat(const Stream *s, const Header *h) noexcept nogil:
    """Whether this could be a copy of a segment seen before: false for the next bytes of the stream, the usual case."""
    if h.payload_bytes == 0 or not s.flags & HAS_BASE:
        return True
    return to_offset(s, h.sequence_number) < s.next_offset


cdef void take_segment(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    """Apply one segment to its connection."""
    cdef Stream *s = &c.streams[d]
    cdef int found, result
    found = look_for_duplicate(s, h, may_repeat(s, h))
    if found == FOUND_DUPLICATE:
        g.kind = KIND_DUPLICATE
        g.window_bytes = -1
        if s.flags & HAS_BASE:
            g.offset = to_offset(s, h.sequence_number)
        c.duplicates += 1
        note(x, REASON_CAPTURE_DUPLICATE, h.frame_number, 0)
        return
    if found == FOUND_AMBIGUOUS:
        note(x, REASON_AMBIGUOUS_DUPLICATE, h.frame_number, 0)
    s.segments += 1
    if h.flags & FLAG_RST:
        take_rst(x, c, d, h, g)
        return
    result = take_sequence(&x.slots, c, d, h, g)
    if result & 2:
        note(x, REASON_SEGMENT_OUTSIDE_WINDOW, h.frame_number, 0)
        if g.offset == INT64_MIN:
            g.window_bytes = -1
            return
    if h.flags & FLAG_ACK:
        result |= take_acknowledgment(&x.slots, c, d, h, g)
    take_window(c, d, h, g)
    if not h.flags & FLAG_SYN:
        c.flags |= BEYOND_HANDSHAKE
    if result & 1:
        c.flags |= APPROXIMATE
        note(x, REASON_HOLE_OVERFLOW, h.frame_number, 0)


cdef inline void take_rst(Context *x, State *c, int d, const Header *h, Segment *g) noexcept nogil:
    g.window_bytes = -1
    if not is_reset_valid(c, d, h):
        c.ignored_resets += 1
        note(x, REASON_RESET_OUTSIDE_WINDOW, h.frame_number, 0)
        return
    take_reset(c, d)
    if c.streams[d].flags & HAS_BASE:
        g.offset = to_offset(&c.streams[d], h.sequence_number)


cdef inline void begin_row(Segment *g, const Header *h) noexcept nogil:
    g.frame_number = h.frame_number
    g.time_ns = h.time_ns
    g.offset = INT64_MIN
    g.acked_offset = INT64_MIN
    g.payload_bytes = h.payload_bytes
    g.new_bytes = 0
    g.new_at = 0
    g.flags = h.flags
    g.kind = KIND_NEW


cdef void track(Context *x, const Header *h, uint32_t hash, Segment *g, int32_t position) noexcept nogil:
    """Everything that one header causes."""
    cdef bint is_jump = advance_clock(x, h)
    cdef bint from_client, unsequenced = (h.options & OPTION_UNSEQUENCED) != 0
    cdef bint is_syn = h.flags & (FLAG_SYN | FLAG_RST) == FLAG_SYN and not unsequenced
    cdef int d = 0
    cdef int64_t slot, found
    cdef uint8_t role
    cdef State *c
    if x.slots.timer_count and x.slots.timers[0].deadline < x.clock:
        expire(x, position)
    slot = found = find(&x.slots, h, hash, &d)
    if slot >= 0 and is_syn:
        slot = on_syn(x, slot, d, h, position)
        if slot >= 0:
            d = 0 if same_sender(&x.slots.states[slot], h) else 1
    if slot == -1:
        role = role_of(x, h, &from_client)
        slot = open_connection(x, h, hash, position, from_client, role)
        d = 0 if from_client else 1
    begin_row(g, h)
    if slot == -2:
        slot = found
        c = &x.slots.states[slot]
        c.streams[d].segments += 1
        g.window_bytes = -1
        note(x, REASON_SEGMENT_OUTSIDE_WINDOW, h.frame_number, 0)
    else:
        c = &x.slots.states[slot]
        if unsequenced:
            take_unsequenced(x, c, d, h, g)
        elif not take_usual(c, d, h, g):
            take_segment(x, c, d, h, g)
    g.connection_id = c.connection_id
    g.slot = <uint32_t>slot
    g.direction = <uint8_t>d
    settle(x, c, <uint32_t>slot, h.time_ns, is_jump)


cdef inline bint same_sender(const State *c, const Header *h) noexcept nogil:
    return h.source_port == c.client_port and same_address(h.source_address, c.client_address)


cdef inline void settle(Context *x, State *c, uint32_t slot, int64_t time_ns, bint is_jump) noexcept nogil:
    """Times and time-outs after a segment."""
    c.active_ns = x.clock
    if is_jump:
        x.candidate_slot = slot
        x.candidate_connection = c.connection_id
    elif time_ns > c.last_ns:
        c.last_ns = time_ns
    if c.filed_class != timer_class(c) and c.filed_deadline > deadline_of(x, c):
        file_deadline(x, c, slot)


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
    """

    cdef Context x

    def __cinit__(self, timeouts, servers, uint64_t seed):
        cdef int i
        memset(&self.x, 0, sizeof(Context))
        self.x.slots.hole_free = -1
        self.x.slots.seed = seed
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
        free(self.x.servers)
        free(self.x.boundaries.data)
        free(self.x.connections.data)

    @property
    def open_count(self):
        """Connections open now."""
        return self.x.slots.open_count

    def feed(self, const unsigned char[::1] headers, unsigned char[::1] segments, int64_t[:, ::1] counts, until_ns):
        """Track a batch; give (connections, boundaries) as bytes of their rows.

        `segments` receives one row per header. `until_ns` is None or how far capture time has come.
        """
        cdef int64_t n = headers.shape[0] // <int64_t>sizeof(Header)
        cdef int64_t limit = INT64_MIN if until_ns is None else until_ns
        if headers.shape[0] != n * <int64_t>sizeof(Header) or segments.shape[0] < n * <int64_t>sizeof(Segment):
            raise ValueError("row buffers do not fit")
        if counts.shape[0] != REASONS or counts.shape[1] != 3:
            raise ValueError("counts do not fit")
        if reserve(&self.x.slots, n):
            raise MemoryError("no memory for more open connections")
        self.x.counts = &counts[0, 0]
        self.x.boundaries.count = self.x.connections.count = 0
        with nogil:
            if n:
                self._loop(<const Header *>&headers[0], <Segment *>&segments[0], n)
            if limit != INT64_MIN and (not self.x.has_clock or limit > self.x.clock):
                self.x.has_clock = True
                self.x.clock = limit
                expire(&self.x, <int32_t>n)
        return self._rows()

    cdef void _loop(self, const Header *headers, Segment *segments, int64_t n) noexcept nogil:
        cdef uint32_t hashes[LOOK_AHEAD]
        cdef int64_t start = 0, i, m
        cdef Context *x = &self.x
        while start < n:
            m = min(n - start, <int64_t>LOOK_AHEAD)
            for i in range(m):
                hashes[i] = header_hash(&headers[start + i], x.slots.seed)
                prefetch_entry(x, hashes[i])
            for i in range(m):
                look_ahead(&x.slots, hashes[i])
            for i in range(m):
                track(x, &headers[start + i], hashes[i], &segments[start + i], <int32_t>(start + i))
            start += m

    def finish(self, int64_t[:, ::1] counts):
        """End every connection, in the order of their numbers; give (connections, boundaries)."""
        cdef int64_t *order
        cdef int64_t k = 0, i
        cdef uint32_t slot
        self.x.counts = &counts[0, 0]
        self.x.boundaries.count = self.x.connections.count = 0
        if self.x.has_candidate:
            accept_candidate(&self.x)
        order = <int64_t *>malloc(2 * sizeof(int64_t) * (<int64_t>self.x.slots.open_count + 1))
        if order == NULL:
            raise MemoryError
        with nogil:
            for slot in range(self.x.slots.used):
                if self.x.slots.states[slot].connection_id:
                    order[2 * k] = self.x.slots.states[slot].connection_id
                    order[2 * k + 1] = slot
                    k += 1
            qsort(order, k, 2 * sizeof(int64_t), compare_ids)
            for i in range(k):
                end_connection(&self.x, <uint32_t>order[2 * i + 1], 0, self.x.clock)
        free(order)
        return self._rows()

    cdef _rows(self):
        if self.x.failed:
            raise MemoryError("no memory for the rows of ended connections")
        return (
            bytes_of(self.x.connections.data, self.x.connections.count * <int64_t>sizeof(Connection)),
            bytes_of(self.x.boundaries.data, self.x.boundaries.count * <int64_t>sizeof(Boundary)),
        )


cdef inline void prefetch_entry(const Context *x, uint32_t hash) noexcept nogil:
    prefetch(&x.slots.entries[hash & x.slots.mask])


cdef bytearray bytes_of(const char *data, int64_t n):
    return bytearray(data[:n]) if n else bytearray()


STATE_BYTES = sizeof(State)
"""Memory of one open connection, its hole blocks and its place in the table apart."""
