# What a segment does to the logs of its connection, and where one exchange ends and the next begins.
#
# Most exchanges are over after a few segments that tell nothing, and logs of them would be thrown away. So the first few
# are only noted, as long as they are plain: in order or sent again, no larger than the wire takes, without SACK. The
# first that is not, or for which there is no room, has what was noted logged first: logs are what they would have been.
cimport cython
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from tcpsight.network._log cimport (
    HOLE, MOST_OFFSET, MOST_PIECES, Budget, Log, add, add_again, microseconds, take_block,
    take_cumulative, take_duplicate, take_repairs, take_repeated,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_KEEP_ALIVE, KIND_ZERO_WINDOW_PROBE, OPTION_MSS, OPTION_TIMESTAMPS,
    OPTION_UNSEQUENCED, Header, Segment,
)

cdef enum:
    TIMESTAMPS_BYTES = 12           # of a segment's room, RFC 6691
    ETHERNET_MSS = 1460             # where no SYN told
    MOST_BACK_NS = 1000000          # frames of several queues of an interface may be out of order by less
    CONFIRMING = 3                  # segments in a row: one or two that are late in the file are no step
    REORDERING_NS = 3000000         # where no handshake told how long a retransmission takes: tshark's limit
    MOST_NOTED = 12                 # segments of an exchange, before they are logged: fewer than make it worth judging

cdef enum:
    # Bits of Event.what.
    FROM_SERVER = 1                 # the direction
    ACKNOWLEDGES = 2
    CARRIES = 4                     # data of the stream
    BRINGS = 8                      # some of it for the first time
    STAMPED = 16                    # it has the option of timestamps
    BEGINS_OR_ENDS = 32             # SYN, FIN or RST

cdef struct Event:
    # What the logs ask of a segment.
    int64_t now                     # when it was captured, or the latest instant before
    int64_t offset
    int64_t acked
    int32_t payload
    uint32_t timestamp_value
    uint32_t timestamp_echo
    uint16_t window
    uint16_t what

cdef struct Note:
    # The same of a plain one: offsets count from the first byte of the exchange.
    int64_t now
    int32_t offset
    int32_t acked                   # 0 as long as the other side sent nothing
    uint32_t timestamp_value
    uint32_t timestamp_echo
    uint16_t payload
    uint16_t window
    uint16_t what
    uint16_t padding

cdef struct Exchange:
    # One line: with the next note, all that a segment touches as long as segments are only noted.
    int64_t last_ns
    int64_t base[2]                 # stream offset of the first byte of each direction in the exchange
    uint32_t top[2]                 # one past its highest byte so far, from there; of what is logged the log has it
    uint16_t mss[2]                 # announced by its SYN; 0 if unseen
    uint8_t is_begun[2]
    uint8_t syns[2]                 # SYNs captured; 2 as well once the first is acknowledged
    uint8_t is_probing[2]
    uint8_t noted                   # segments
    uint8_t is_logged               # segments are logged at once
    uint8_t is_used
    uint8_t is_set_back             # the clock was, so that waits mean nothing
    uint8_t is_answered             # data of the server came after that of the client
    uint8_t share                   # of the connections: what logs may take is for each of them
    uint8_t ip_version
    uint8_t behind                  # segments in a row that were behind its latest time, as far as it matters
    uint16_t client_port
    uint16_t server_port
    int64_t connection_id
    Log logs[2]                     # three lines
    Note notes[MOST_NOTED]
    uint8_t client_address[16]
    uint8_t server_address[16]


# --- what is logged ---------------------------------------------------------------------------------------------


@cython.overflowcheck(False)  # modular on purpose
cdef inline int64_t block_edge(const Header *h, const Event *e, int i) noexcept nogil:
    """The stream offset of a SACK block's edge: the nearest to the acknowledgment that has its number."""
    return e.acked + <int32_t>(h.sack[i] - h.acknowledgment_number)


cdef inline void take_sack(Log *log, int64_t base, const Event *e, const Header *h) noexcept nogil:
    cdef int64_t left = block_edge(h, e, 0), right = block_edge(h, e, 1)
    cdef int i, first = 0
    if right <= e.acked or (h.sack_count > 1 and left >= block_edge(h, e, 2) and right <= block_edge(h, e, 3)):
        take_repeated(log, left - base, right - base)
        first = 1
    for i in range(first, h.sack_count):
        left = block_edge(h, e, 2 * i) - base
        right = block_edge(h, e, 2 * i + 1) - base
        take_block(log, left, right, e.now)
        if log.lost:
            take_repairs(log, left, right, e.now)


cdef inline bint is_duplicate(const Log *log, int64_t acked, const Event *e) noexcept nogil:
    """RFC 5681 §2: it acknowledges nothing new, carries nothing, opens no window, and something is outstanding."""
    return (
        acked == log.acked and e.payload == 0 and log.acked_at < log.count
        and e.window == log.window and not e.what & BEGINS_OR_ENDS
    )


cdef inline void take_acknowledgment(Exchange *x, int p, const Event *e, const Header *h) noexcept nogil:
    """What a segment says of what the other side sent, if that is logged; `h` is NULL where it has no SACK blocks."""
    cdef Log *log = &x.logs[p]
    cdef bint is_again
    if not x.is_begun[p]:
        return
    is_again = is_duplicate(log, e.acked - x.base[p], e)
    log.acked = e.acked - x.base[p]
    log.window = e.window
    take_cumulative(log, log.acked, e.now)
    if h != NULL and h.sack_count:
        log.uses_sack = True
        take_sack(log, x.base[p], e, h)
    elif is_again and not log.uses_sack:
        take_duplicate(log, e.now)


cdef inline int64_t piece_of(const Exchange *x, const Event *e, int64_t payload) noexcept nogil:
    """How much of a captured segment each segment on the wire carries: interfaces cut what is larger."""
    cdef int d = e.what & FROM_SERVER
    cdef int64_t piece = x.mss[1 - d] if x.mss[1 - d] else ETHERNET_MSS
    if x.mss[d] and x.mss[d] < piece:
        piece = x.mss[d]            # its own side of the path allows no more
    if e.what & STAMPED and piece > 2 * TIMESTAMPS_BYTES:
        piece -= TIMESTAMPS_BYTES
    if payload > MOST_PIECES * piece:
        piece = (payload + MOST_PIECES - 1) // MOST_PIECES
    return piece


cdef inline void take_hole(Exchange *x, Budget *budget, const Event *e, int64_t end) noexcept nogil:
    """What lies between the highest byte and the next captured one was missed.

    It is logged behind the segment before it, as far apart as that was from its own predecessor, or closer so that all
    of it lies before the next one: in a burst it went with the burst.
    """
    cdef Log *log = &x.logs[e.what & FROM_SERVER]
    cdef int64_t at = log.top
    cdef int64_t piece = piece_of(x, e, end - at)
    cdef int64_t time_ns = log.entries[log.count - 1].time_ns if log.count else e.now
    cdef int64_t step_ns = (e.now - time_ns) // ((end - at + piece - 1) // piece + 1)
    if log.count > 1 and time_ns - log.entries[log.count - 2].time_ns < step_ns:
        step_ns = time_ns - log.entries[log.count - 2].time_ns
    while at < end:
        time_ns += step_ns
        if not add(log, budget, time_ns, at, piece if piece < end - at else end - at, HOLE):
            return
        log.entries[log.count - 1].waited_us = microseconds(e.now - time_ns)
        at += piece


cdef inline int64_t overtaking_of(const Exchange *x) noexcept nogil:
    """How soon a segment comes that was overtaken on the way: sooner than one can that was sent again."""
    cdef int64_t round_trip_ns = x.logs[0].handshake_ns + x.logs[1].handshake_ns
    if x.logs[0].handshake_ns > 0 and x.logs[1].handshake_ns > 0:
        return round_trip_ns - ((round_trip_ns + 7) >> 3)
    return REORDERING_NS


cdef inline void take_data(Exchange *x, Budget *budget, const Event *e) noexcept nogil:
    cdef Log *log = &x.logs[e.what & FROM_SERVER]
    cdef int64_t at = e.offset - x.base[e.what & FROM_SERVER]
    cdef int64_t end = at + e.payload
    cdef int64_t piece, length
    if at < 0 or at > MOST_OFFSET or end > MOST_OFFSET:
        log.is_cut |= at > 0
        return
    if at > log.top:
        take_hole(x, budget, e, at)
    piece = piece_of(x, e, e.payload)
    while at < end:
        length = piece if piece < end - at else end - at
        if at + length > log.top:
            if not add(log, budget, e.now, at, length, 0):
                return
        else:
            add_again(log, budget, e.now, at, length, overtaking_of(x))
        at += length


cdef inline void take_probe(Exchange *x, int p, const Event *e) noexcept nogil:
    """The other side's timestamp, until this side echoes it: one at a time."""
    if not x.is_probing[p] and e.what & STAMPED:
        x.is_probing[p] = True
        x.logs[p].probe = e.timestamp_value
        x.logs[p].probe_ns = e.now


@cython.overflowcheck(False)  # modular on purpose (RFC 7323 §2.2)
cdef inline void take_echo(Exchange *x, const Event *e) noexcept nogil:
    """Data that echoes it: a round trip to this side's host and back, with any queue that the data waited in."""
    cdef int d = e.what & FROM_SERVER
    cdef Log *log = &x.logs[d]
    if x.is_probing[d] and e.what & STAMPED and <int32_t>(e.timestamp_echo - log.probe) >= 0:
        x.is_probing[d] = False
        if log.count:
            log.entries[log.count - 1].echoed_us = microseconds(e.now - log.probe_ns)


cdef inline bint begins(const Exchange *x, const Event *e) noexcept nogil:
    """Whether it is data of the exchange, and the first of its direction; what precedes it is of the exchange before."""
    return e.what & CARRIES and e.what & BRINGS and not x.is_begun[e.what & FROM_SERVER]


cdef inline bint answers(const Exchange *x, const Event *e) noexcept nogil:
    """Whether it is new data of the server, after data of the client."""
    return e.what & FROM_SERVER and e.what & BRINGS and x.is_begun[0]


cdef inline void begin(Exchange *x, const Event *e) noexcept nogil:
    cdef int d = e.what & FROM_SERVER
    x.is_begun[d] = True
    x.base[d] = e.offset
    x.top[d] = 0


cdef inline void log_event(Exchange *x, Budget *budget, const Event *e, const Header *h) noexcept nogil:
    cdef int d = e.what & FROM_SERVER
    if e.what & ACKNOWLEDGES:
        take_acknowledgment(x, 1 - d, e, h)
        take_probe(x, 1 - d, e)
    if begins(x, e):
        begin(x, e)
        x.logs[d].acked = INT64_MIN
    if not e.what & CARRIES or not x.is_begun[d]:
        return
    take_data(x, budget, e)
    take_echo(x, e)
    if answers(x, e):
        x.is_answered = True


# --- what is only noted -----------------------------------------------------------------------------------------


cdef inline bint is_plain(const Exchange *x, const Event *e, const Segment *g, const Header *h) noexcept nogil:
    """Whether a log would have no more than one entry of it, and nothing that it tells changes what is noted."""
    cdef int d = e.what & FROM_SERVER
    cdef int64_t at = 0, top = 0, acked = 0
    if x.noted == MOST_NOTED or h.sack_count or g.flags & FLAG_SYN or x.syns[0] == 1 or x.syns[1] == 1:
        return False
    if e.what & ACKNOWLEDGES and x.is_begun[1 - d]:
        acked = e.acked - x.base[1 - d]
    if e.what & CARRIES and x.is_begun[d]:  # otherwise its offset may be none
        at, top = e.offset - x.base[d], x.top[d]
    return -MOST_OFFSET <= acked <= MOST_OFFSET and (
        not e.what & CARRIES or (0 <= at <= top and e.payload <= piece_of(x, e, e.payload))
    )


cdef inline void note(Exchange *x, const Event *e) noexcept nogil:
    cdef int d = e.what & FROM_SERVER
    cdef Note *n = &x.notes[x.noted]
    cdef int64_t top
    x.noted += 1
    if begins(x, e):
        begin(x, e)
    n.now = e.now
    n.offset = <int32_t>(e.offset - x.base[d]) if e.what & CARRIES and x.is_begun[d] else 0
    n.acked = <int32_t>(e.acked - x.base[1 - d]) if e.what & ACKNOWLEDGES and x.is_begun[1 - d] else 0
    n.timestamp_value = e.timestamp_value
    n.timestamp_echo = e.timestamp_echo
    n.payload = <uint16_t>e.payload if e.what & CARRIES else e.payload != 0
    n.window = e.window
    n.what = e.what
    if not e.what & CARRIES or not x.is_begun[d]:
        return
    top = n.offset + e.payload
    if top > x.top[d]:
        x.top[d] = <uint32_t>top
    if answers(x, e):
        x.is_answered = True


cdef inline void log_noted(Exchange *x, Budget *budget) noexcept nogil:
    """From here on segments are logged at once, after those that were noted."""
    cdef const Note *n
    cdef Event e
    cdef int i
    x.is_logged = True
    x.is_begun[0] = x.is_begun[1] = x.is_answered = False
    for i in range(x.noted):
        n = &x.notes[i]
        e.what = n.what
        e.now = n.now
        e.offset = x.base[n.what & FROM_SERVER] + n.offset
        e.acked = x.base[1 - (n.what & FROM_SERVER)] + n.acked
        e.payload = n.payload
        e.timestamp_value = n.timestamp_value
        e.timestamp_echo = n.timestamp_echo
        e.window = n.window
        log_event(x, budget, &e, NULL)
    x.noted = 0


# --- segments ---------------------------------------------------------------------------------------------------


cdef inline bint begins_next(const Exchange *x, const Segment *g) noexcept nogil:
    """Whether this segment is a new request: the client speaks, after the whole response arrived."""
    return (
        (g.direction & 1) == 0
        and x.is_answered
        and g.new_bytes > 0
        and (
            g.acked_offset == INT64_MIN
            or g.acked_offset - x.base[1] >= (x.logs[1].top if x.is_logged else x.top[1])
        )
    )


cdef inline bint is_data(const Segment *g, const Header *h) noexcept nogil:
    return (
        g.payload_bytes > 0
        and g.offset != INT64_MIN
        and g.kind != KIND_KEEP_ALIVE
        and g.kind != KIND_ZERO_WINDOW_PROBE
        and not g.flags & FLAG_RST
        and not h.options & OPTION_UNSEQUENCED
    )


cdef inline void take_handshake(Exchange *x, const Event *e, const Segment *g, const Header *h) noexcept nogil:
    """What a SYN tells, and when it is acknowledged."""
    cdef int d = e.what & FROM_SERVER
    cdef Log *peer = &x.logs[1 - d]
    if g.flags & FLAG_SYN:
        x.syns[d] += x.syns[d] < 2
        x.logs[d].syn_ns = e.now
        if h.options & OPTION_MSS:
            x.mss[d] = h.mss_bytes
    if x.syns[1 - d] == 1 and e.what & ACKNOWLEDGES and e.acked >= 0:
        peer.handshake_ns = e.now - peer.syn_ns if e.now > peer.syn_ns else 1
        x.syns[1 - d] = 2           # only the first acknowledgment measures it


cdef inline void take_segment(Exchange *x, Budget *budget, const Segment *g, const Header *h) noexcept nogil:
    """Take a segment that belongs to this exchange and is no capture duplicate."""
    cdef Event e
    e.now = g.time_ns if g.time_ns > x.last_ns else x.last_ns
    if e.now - g.time_ns <= MOST_BACK_NS:
        x.behind = 0
    elif x.behind + 1 < CONFIRMING:
        x.behind += 1               # late in the file, perhaps
    else:
        x.is_set_back = True
    x.last_ns = e.now               # clocks that step back make no negative wait
    e.offset = g.offset
    e.acked = g.acked_offset
    e.payload = g.payload_bytes
    e.timestamp_value = h.timestamp_value
    e.timestamp_echo = h.timestamp_echo
    e.window = h.window
    e.what = (
        (g.direction & 1)
        | (ACKNOWLEDGES if g.flags & FLAG_ACK and g.acked_offset != INT64_MIN and not g.flags & FLAG_RST else 0)
        | (CARRIES if is_data(g, h) else 0)
        | (BRINGS if g.new_bytes > 0 else 0)
        | (STAMPED if h.options & OPTION_TIMESTAMPS else 0)
        | (BEGINS_OR_ENDS if g.flags & (FLAG_SYN | FLAG_FIN | FLAG_RST) else 0)
    )
    if not x.is_logged and (x.is_begun[0] or x.is_begun[1] or begins(x, &e)):
        if is_plain(x, &e, g, h):
            note(x, &e)
            return
        log_noted(x, budget)
    take_handshake(x, &e, g, h)
    log_event(x, budget, &e, h)
