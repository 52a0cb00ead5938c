# What a batch needs at hand: the slots, the clock, the rows that come out; and how time moves.
cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memset
from tcpsight.connections._slots cimport Slots
from tcpsight.connections._state cimport (
    BEYOND_HANDSHAKE, PENDING_SYN, RESET_BY_CLIENT, RESET_BY_SERVER, SAW_FIN, State,
)
from tcpsight.tables cimport REASON_TIME_BACKWARDS, REASON_TIME_JUMP, Header

cdef enum:
    EPHEMERAL_PORT = 32768  # Linux takes client ports from here on (ip_local_port_range)

cdef enum:
    # A SYN with another ISN takes over a connection that has been silent for this long (RFC 9293's TIME-WAIT of
    # two maximum segment lifetimes, 60 s as Linux has it); before, only once it is answered.
    LONG_IDLE_S = 60
    STEP_NS = 1000000       # frames of several queues are late by less, mostly
    JUMP_S = 3600           # a jump forward by more is believed only when the next frame confirms it

cdef extern from *:
    """
    #define TCPSIGHT_NS_PER_S 1000000000ull
    """
    const uint64_t NS_PER_S "TCPSIGHT_NS_PER_S"

cdef struct Server:
    uint8_t address[16]
    uint16_t port           # 0: any
    uint8_t any_address
    uint8_t ip_version

cdef struct Rows:
    char *data
    int64_t count
    int64_t capacity

cdef struct Context:
    Slots slots
    int64_t timeouts[3]
    int64_t clock
    int64_t previous_ns
    uint64_t furthest_back_ns   # of times stamped earlier than the one before them, by how much at most
    int64_t candidate_ns
    int64_t candidate_frame
    int64_t candidate_connection
    bint candidate_is_own   # it is one of this tracker's headers
    uint32_t candidate_slot
    bint candidate_is_held  # its segment is a SYN whose connection is not known yet
    bint has_clock
    bint has_candidate
    bint is_expiring        # a header's time ends more connections than a batch takes; it was not placed yet
    bint expiring_is_jump
    bint failed
    bint is_over  # the capture has ended
    int32_t row             # where among all headers of the capture's batch time stands
    Server *servers
    int server_count
    int64_t *counts
    Rows boundaries
    Rows connections
    Rows steps              # positions at which the capture's clock was behind, int32_t

cdef enum:
    # Which of the time-outs applies.
    WAITING = 0             # a SYN without answer, or a handshake that stopped half-way
    ENDED = 1               # after both FINs or a RST
    ESTABLISHED = 2


cdef inline void note(Context *x, int reason, int64_t frame_number, int64_t bytes) noexcept nogil:
    cdef int64_t *row = x.counts + 3 * reason
    row[0] += 1
    row[1] += bytes
    if row[2] == 0 or frame_number < row[2]:
        row[2] = frame_number


cdef inline void note_again(Context *x, int reason, int64_t count) noexcept nogil:
    """Count further occurrences; the first frame was noted."""
    x.counts[3 * reason] += count


cdef inline void *next_row(Context *x, Rows *rows, size_t size) noexcept nogil:
    """Room for one more row, zeroed; NULL and `failed` if memory is out."""
    cdef int64_t capacity
    cdef void *fresh
    if rows.count == rows.capacity:
        capacity = 2 * rows.capacity if rows.capacity else 256
        fresh = realloc(rows.data, capacity * size)
        if fresh == NULL:
            x.failed = True
            return NULL
        rows.data = <char *>fresh
        rows.capacity = capacity
    fresh = rows.data + rows.count * size
    memset(fresh, 0, size)
    rows.count += 1
    return fresh


# --- time -------------------------------------------------------------------------------------------------------


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint is_later_by(int64_t t, int64_t then, uint64_t nanoseconds) noexcept nogil:
    """Whether t lies more than so long after then; any two times will do."""
    return t > then and <uint64_t>t - <uint64_t>then > nanoseconds


cdef inline bint is_jump_to(const Context *x, int64_t t) noexcept nogil:
    return is_later_by(t, x.clock, JUMP_S * NS_PER_S)


@cython.overflowcheck(False)  # modular on purpose
cdef inline void note_step_back(Context *x, int64_t t) noexcept nogil:
    cdef uint64_t step = <uint64_t>x.previous_ns - <uint64_t>t
    if step > x.furthest_back_ns:
        x.furthest_back_ns = step


cdef inline void note_step_at(Context *x, int64_t t, int32_t position) noexcept nogil:
    """Note where time goes back: a clock was set, perhaps."""
    cdef int32_t *row
    if x.has_clock and is_later_by(x.previous_ns, t, STEP_NS):
        row = <int32_t *>next_row(x, &x.steps, sizeof(int32_t))
        if row != NULL:
            row[0] = position


cdef inline bint advance_clock(Context *x, const Header *h, int32_t position) noexcept nogil:
    """Move capture time. True if this header's time is a jump that the next one has yet to confirm."""
    if h.time_ns < x.previous_ns:
        note(x, REASON_TIME_BACKWARDS, h.frame_number, 0)
        note_step_back(x, h.time_ns)
        note_step_at(x, h.time_ns, position)
    if not move_clock(x, h.time_ns):
        return False
    x.candidate_is_own = True
    x.candidate_frame = h.frame_number
    return True


cdef inline bint move_clock(Context *x, int64_t t) noexcept nogil:
    """The same for the time of a header that somebody else tracks, and counts."""
    x.previous_ns = t
    if not x.has_clock:
        x.has_clock = True
        x.clock = t
        return False
    if x.has_candidate:
        # Confirmed by a time that is not more than an hour before it.
        if is_jump_to(x, t) and not is_later_by(x.candidate_ns, t, JUMP_S * NS_PER_S):
            accept_candidate(x)
        else:
            reject_candidate(x)
    if is_jump_to(x, t):
        x.has_candidate = True
        x.candidate_is_own = False
        x.candidate_ns = t
        x.candidate_connection = 0
        return True
    if t > x.clock:
        x.clock = t
    return False


cdef inline void reject_candidate(Context *x) noexcept nogil:
    cdef State *c
    x.has_candidate = False
    if x.candidate_is_own:
        note(x, REASON_TIME_JUMP, x.candidate_frame, 0)
    if not x.candidate_connection:
        return
    c = &x.slots.states[x.candidate_slot]
    if c.connection_id == x.candidate_connection and c.start_ns == x.candidate_ns:
        # It opened a connection: that began when the clock says, not in a future that did not come.
        c.start_ns = c.last_ns = x.clock


cdef inline void accept_candidate(Context *x) noexcept nogil:
    cdef State *c
    x.has_candidate = False
    x.clock = x.candidate_ns
    if not x.candidate_connection:
        return
    c = &x.slots.states[x.candidate_slot]
    if c.connection_id == x.candidate_connection:
        touch(c, x.candidate_ns, x.candidate_is_held)
        # Its time-out runs from the jump, whose row this segment is.
        c.active_ns = x.candidate_ns


cdef inline void touch(State *c, int64_t time_ns, bint is_held) noexcept nogil:
    """Note the time of a segment."""
    if time_ns > c.last_ns:
        c.last_ns = time_ns
    if c.flags & PENDING_SYN and not is_held and time_ns > c.before_pending_ns:
        c.before_pending_ns = time_ns


cdef inline int timer_class(const State *c) noexcept nogil:
    if c.flags & (RESET_BY_CLIENT | RESET_BY_SERVER):
        return ENDED
    if c.streams[0].flags & c.streams[1].flags & SAW_FIN:
        return ENDED
    if not c.flags & BEYOND_HANDSHAKE:
        return WAITING
    return ESTABLISHED


cdef inline int64_t deadline_of(const Context *x, const State *c) noexcept nogil:
    cdef int64_t timeout = x.timeouts[timer_class(c)]
    return INT64_MAX if c.active_ns > INT64_MAX - timeout else c.active_ns + timeout
