# cython: language_level=3
"""The loop over segments: find the connection, open and end connections, apply the rules.

What fails can fail only before the loop (`reserve_…`) or while rows are handed out (`failed`).
"""
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset
from tcpsight._door cimport Carried, prefetch, start_of
from tcpsight.connections._carrying cimport carried_bytes, list_in_order, read_state, write_state
from tcpsight.connections._context cimport Context, Rows, Server, accept_candidate, reject_candidate
from tcpsight.connections._lifecycle cimport BATCH_CONNECTIONS, end_connection, expire, fill_open_rows
from tcpsight.connections._placing cimport pass_by, track
from tcpsight.connections._slots cimport SHARES, header_hash, look_ahead, release, reserve_slots
from tcpsight.connections._state cimport State
from tcpsight.connections._timers cimport reserve_timers
from tcpsight.tables cimport REASONS, Boundary, Connection, Header, Segment

cdef enum:
    # While one header is taken, the state of a later one is on its way, and the way to that of an even later one.
    FETCH_AHEAD = 12
    LOOK_AHEAD = 24
    HASHES = 32


cdef inline uint32_t announce(const Context *x, const Header *h) noexcept nogil:
    """Give a header's hash, and start fetching its place in the table."""
    cdef uint32_t hash = header_hash(h, x.slots.seed)
    prefetch(x.slots.entries + (hash & x.slots.mask))
    return hash


cdef bint is_among(const int32_t[::1] rows, int64_t total) noexcept nogil:
    """Whether rows ascend, and are rows of a batch of so many."""
    cdef int64_t i, before = -1
    for i in range(rows.shape[0]):
        if rows[i] <= before:
            return False
        before = rows[i]
    return before < total


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
    cdef bint is_part           # the rest of the batch is yet to come

    def __cinit__(self, timeouts, servers, uint64_t seed, int64_t most):
        cdef int i
        memset(&self.x, 0, sizeof(Context))
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
        free(self.x.steps.data)

    @property
    def open_count(self):
        """Connections open now."""
        return self.x.slots.open_count

    @property
    def furthest_back_ns(self):
        """By how much at most a header was stamped earlier than the one before it; 0 if none was."""
        return self.x.furthest_back_ns

    def steps(self):
        """Where in the last batch time went back by more than 1 ms, as bytes: before which of its segments, int32."""
        return bytes_of(self.x.steps.data, self.x.steps.count * <int64_t>sizeof(int32_t))

    def feed(
        self,
        const unsigned char[::1] headers,
        unsigned char[::1] segments,
        int64_t[:, ::1] counts,
        until_ns,
        const int64_t[::1] times=None,
        const int32_t[::1] rows=None,
    ):
        """Track a batch; give (headers taken, whether that is all, connections, boundaries), the last two as bytes.

        `segments` receives one row per header taken. `until_ns` is None or how far capture time has come. Where more
        end than a batch takes, the rest of the headers is to be given again. `times` are those of all headers of the
        batch, where these are not all, and `rows` tells which of them these are.
        """
        cdef int64_t n = headers.shape[0] // <int64_t>sizeof(Header)
        cdef int64_t limit = INT64_MIN if until_ns is None else until_ns
        cdef int64_t taken = 0
        cdef int64_t total = 0
        cdef const Header *first = <const Header *>start_of(headers)
        cdef Segment *made = <Segment *>start_of(segments)
        cdef const int64_t *all_times = NULL
        cdef const int32_t *own_rows = NULL
        cdef bint is_all
        if headers.shape[0] != n * <int64_t>sizeof(Header) or segments.shape[0] < n * <int64_t>sizeof(Segment):
            raise ValueError("row buffers do not fit")
        if times is not None and n + times.shape[0]:
            total = times.shape[0]
            if rows is None or rows.shape[0] != n or not is_among(rows, total):
                raise ValueError("the headers are not some of the batch")
            all_times = &times[0]
            own_rows = &rows[0] if n else NULL
        self._bind(counts)
        if not self.is_part:
            self.x.row = 0
        # A segment opens at most one connection, and files at most four deadlines.
        if reserve_slots(&self.x.slots, n) or reserve_timers(&self.x.slots, 4 * n):
            raise MemoryError("no memory for more open connections")
        with nogil:
            taken = self._loop(first, made, n, all_times, own_rows)
            is_all = taken == n and self._let_pass(all_times, total, n)
            if is_all and limit != INT64_MIN:
                is_all = self._advance(limit, <int32_t>n)
        self.is_part = not is_all
        return taken, is_all, *self._rows()

    cdef _bind(self, int64_t[:, ::1] counts):
        if counts.shape[0] != REASONS or counts.shape[1] != 3:
            raise ValueError("counts do not fit")
        self.x.counts = &counts[0, 0]
        self.x.boundaries.count = self.x.connections.count = self.x.steps.count = 0

    cdef bint _advance(self, int64_t until_ns, int32_t position) noexcept nogil:
        """Capture time is known to have come this far."""
        cdef Context *x = &self.x
        if x.has_candidate and until_ns >= x.candidate_ns:
            accept_candidate(x)
        if not x.has_clock or until_ns > x.clock:
            x.has_clock = True
            x.clock = until_ns
        return expire(x, position)

    cdef int64_t _loop(
        self, const Header *headers, Segment *segments, int64_t n, const int64_t *times, const int32_t *rows
    ) noexcept nogil:
        """Give how many headers were taken. With `rows`, NULL otherwise, others lie between them."""
        cdef uint32_t hashes[HASHES]
        cdef int64_t i, ahead
        cdef Context *x = &self.x
        for ahead in range(min(n, <int64_t>LOOK_AHEAD)):
            hashes[ahead] = announce(x, &headers[ahead])
        for i in range(n):
            if rows != NULL and not self._let_pass(times, rows[i], i):
                return i
            ahead = i + LOOK_AHEAD
            if ahead < n:
                hashes[ahead & (HASHES - 1)] = announce(x, &headers[ahead])
            ahead = i + FETCH_AHEAD
            if ahead < n:
                look_ahead(&x.slots, hashes[ahead & (HASHES - 1)])
            if not track(x, &headers[i], hashes[i & (HASHES - 1)], &segments[i], <int32_t>i):
                return i
            x.row += 1
        return n

    cdef bint _let_pass(self, const int64_t *times, int64_t until, int64_t position) noexcept nogil:
        """Let time pass over headers that somebody else tracks. False as `track`."""
        cdef Context *x = &self.x
        while x.row < until:
            if not pass_by(x, times[x.row], <int32_t>position):
                return False
            x.row += 1
        return True

    def finish(self, int64_t[:, ::1] counts):
        """End connections, in the order of their numbers; give (whether that is all, connections, boundaries)."""
        cdef int64_t i
        self._bind(counts)
        if self.order == NULL:
            if self.x.has_candidate:
                reject_candidate(&self.x)
            self._list_open()
        self.x.is_over = True
        self.x.row = 0
        i = self.order_at
        with nogil:
            while i < self.order_count and self.x.connections.count < BATCH_CONNECTIONS:
                end_connection(&self.x, <uint32_t>self.order[2 * i + 1], 0, self.x.clock, 0)
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

    def slots(self):
        """Give the slots of the open connections in the order in which `carried` and the other rooms carry them."""
        cdef bytearray made = bytearray(self.x.slots.open_count * sizeof(int64_t))
        cdef int64_t[::1] slots
        if self.x.slots.open_count:
            slots = memoryview(made).cast("q")
            list_in_order(&self.x.slots, &slots[0])
        return made

    def carried(self, const int64_t[::1] slots not None):
        """Give what is known of the connections in these slots, as bytes."""
        cdef int64_t i, total = 0
        cdef bytearray made
        cdef Carried out
        for i in range(slots.shape[0]):
            if not 0 <= slots[i] < self.x.slots.used or not self.x.slots.states[slots[i]].connection_id:
                raise IndexError(slots[i])
            total += carried_bytes(&self.x.slots.states[slots[i]])
        made = bytearray(total)
        out.at, out.left = <uint8_t *><char *>made, total
        for i in range(slots.shape[0]):
            write_state(&out, &self.x.slots.states[slots[i]])
        return made

    def restore(self, const uint8_t[::1] carried not None, int64_t count, int64_t most_id):
        """Open so many connections as `carried` gave them, in the next slots; give their numbers, as bytes.

        ValueError if they are not as many, or something is wrong with one; then nothing is to be done but to give up.
        """
        cdef Carried rest
        cdef int64_t i, first = self.x.slots.used
        cdef bytearray made = bytearray(count * sizeof(int64_t))
        if reserve_slots(&self.x.slots, count) or reserve_timers(&self.x.slots, count):
            raise MemoryError("no memory for open connections")
        rest.at, rest.left = <uint8_t *>start_of(carried), carried.shape[0]
        for i in range(count):
            if not read_state(&rest, &self.x, most_id):
                raise ValueError("a connection that was carried is damaged")
            (<int64_t *><char *>made)[i] = self.x.slots.states[first + i].connection_id
        if rest.left:
            raise ValueError("there are more connections than were carried")
        return made

    def clock(self, const int64_t[::1] slots not None):
        """Give what is known of time: nine numbers. `slots` are those of `slots`: one is told by its place in them."""
        cdef Context *x = &self.x
        cdef int64_t i, place = -1
        for i in range(slots.shape[0]):
            if x.has_candidate and x.candidate_connection and slots[i] == x.candidate_slot:
                place = i
        connection = x.candidate_connection if place >= 0 else 0
        return (
            x.has_clock, x.clock, x.previous_ns, x.has_candidate, x.candidate_ns, x.candidate_frame, connection,
            max(place, 0), x.candidate_is_own + 2 * x.candidate_is_held,
        )

    def set_clock(self, told):
        """Take what `clock` gave, when the connections were restored."""
        cdef Context *x = &self.x
        cdef int64_t place = told[7]
        if not 0 <= place < max(x.slots.used, 1):
            raise ValueError("the clock belongs to another connection")
        x.has_clock, x.clock, x.previous_ns = told[0], told[1], told[2]
        x.has_candidate, x.candidate_ns, x.candidate_frame = told[3], told[4], told[5]
        # Without any slot there is no connection.
        x.candidate_connection, x.candidate_slot = told[6] if x.slots.used else 0, <uint32_t>place
        x.candidate_is_own, x.candidate_is_held = told[8] & 1, told[8] & 2

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
"""Memory of one open connection, its holes and its place in the table apart."""
