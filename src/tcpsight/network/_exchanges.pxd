# What a segment does to the logs of its connection, and where one exchange ends and the next begins.
cimport cython
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint16_t
from tcpsight.network._log cimport (
    HOLE, MOST_OFFSET, MOST_PIECES, Budget, Log, add, add_again, entries_of, microseconds,
    take_block, take_cumulative, take_duplicate, take_repairs, take_repeated,
)
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_KEEP_ALIVE, KIND_ZERO_WINDOW_PROBE, OPTION_MSS, OPTION_TIMESTAMPS,
    OPTION_UNSEQUENCED, Header, Segment,
)

cdef enum:
    TIMESTAMPS_BYTES = 12           # of a segment's room, RFC 6691
    ETHERNET_MSS = 1460             # where no SYN told
    MOST_BACK_NS = 1000000          # frames of several queues of an interface may be out of order by less
    REORDERING_NS = 3000000         # where no handshake told how long a retransmission takes: tshark's limit

cdef struct Exchange:
    # One line, and the logs, which begin a line each.
    int64_t last_ns
    int64_t connection_id
    uint8_t is_used
    uint8_t is_set_back             # the clock was, so that waits mean nothing
    uint8_t is_answered             # data of the server came after that of the client
    uint8_t ip_version
    uint16_t client_port
    uint16_t server_port
    uint8_t client_address[16]
    uint8_t server_address[16]
    uint8_t share                   # of the connections: what logs may take is for each of them
    uint8_t padding[7]
    Log logs[2]


@cython.overflowcheck(False)  # modular on purpose
cdef inline int64_t block_edge(const Header *h, const Segment *g, int i) noexcept nogil:
    """The stream offset of a SACK block's edge: the nearest to the acknowledgment that has its number."""
    return g.acked_offset + <int32_t>(h.sack[i] - h.acknowledgment_number)


cdef inline void take_sack(Log *log, const Segment *g, const Header *h, int64_t now) noexcept nogil:
    cdef int64_t left = block_edge(h, g, 0), right = block_edge(h, g, 1)
    cdef int64_t base = log.base
    cdef int i, first = 0
    if right <= g.acked_offset or (
        h.sack_count > 1 and left >= block_edge(h, g, 2) and right <= block_edge(h, g, 3)
    ):
        take_repeated(log, left - base, right - base)
        first = 1
    for i in range(first, h.sack_count):
        left = block_edge(h, g, 2 * i) - base
        right = block_edge(h, g, 2 * i + 1) - base
        take_block(log, left, right, now)
        if log.lost:
            take_repairs(log, left, right, now)


cdef inline bint is_duplicate(const Log *log, const Segment *g, const Header *h) noexcept nogil:
    """RFC 5681 §2: it acknowledges nothing new, carries nothing, opens no window, and something is outstanding."""
    return (
        g.acked_offset - log.base == log.acked and g.payload_bytes == 0 and log.acked_at < log.count
        and h.window == log.window and not g.flags & (FLAG_SYN | FLAG_FIN | FLAG_RST)
    )


cdef inline void take_acknowledgment(Log *log, const Segment *g, const Header *h, int64_t now) noexcept nogil:
    """What a segment says of what the other side sent."""
    cdef bint is_again
    if log.syns == 1 and g.acked_offset >= 0:
        log.handshake_ns = now - log.syn_ns if now > log.syn_ns else 1
        log.syns = 2                # only the first acknowledgment measures it
    if not log.is_begun:
        return
    is_again = is_duplicate(log, g, h)
    log.acked = g.acked_offset - log.base
    log.window = h.window
    take_cumulative(log, log.acked, now)
    if h.sack_count:
        log.uses_sack = True
        take_sack(log, g, h, now)
    elif is_again and not log.uses_sack:
        take_duplicate(log, now)


cdef inline int64_t piece_of(const Log *log, const Log *peer, int64_t payload) noexcept nogil:
    """How much of a captured segment each segment on the wire carries: interfaces cut what is larger."""
    cdef int64_t piece = peer.mss if peer.mss else ETHERNET_MSS
    if log.mss and log.mss < piece:
        piece = log.mss             # its own side of the path allows no more
    if log.uses_timestamps and piece > 2 * TIMESTAMPS_BYTES:
        piece -= TIMESTAMPS_BYTES
    if payload > MOST_PIECES * piece:
        piece = (payload + MOST_PIECES - 1) // MOST_PIECES
    return piece


cdef inline void take_hole(Log *log, const Log *peer, Budget *budget, int64_t now, int64_t end) noexcept nogil:
    """What lies between the highest byte and the next captured one was missed.

    It is logged behind the segment before it, as far apart as that was from its own predecessor, or closer so that all
    of it lies before the next one: in a burst it went with the burst.
    """
    cdef int64_t at = log.top
    cdef int64_t piece = piece_of(log, peer, end - at)
    cdef int64_t time_ns = entries_of(log)[log.count - 1].time_ns if log.count else now
    cdef int64_t step_ns = (now - time_ns) // ((end - at + piece - 1) // piece + 1)
    if log.count > 1 and time_ns - entries_of(log)[log.count - 2].time_ns < step_ns:
        step_ns = time_ns - entries_of(log)[log.count - 2].time_ns
    while at < end:
        time_ns += step_ns
        if not add(log, budget, time_ns, at, piece if piece < end - at else end - at, HOLE):
            return
        entries_of(log)[log.count - 1].waited_us = microseconds(now - time_ns)
        at += piece


cdef inline int64_t overtaking_of(const Log *log, const Log *peer) noexcept nogil:
    """How soon a segment comes that was overtaken on the way: sooner than one can that was sent again."""
    cdef int64_t round_trip_ns = log.handshake_ns + peer.handshake_ns
    if log.handshake_ns > 0 and peer.handshake_ns > 0:
        return round_trip_ns - ((round_trip_ns + 7) >> 3)
    return REORDERING_NS


cdef inline void take_data(Log *log, const Log *peer, Budget *budget, const Segment *g, int64_t now) noexcept nogil:
    cdef int64_t at = g.offset - log.base
    cdef int64_t end = at + g.payload_bytes
    cdef int64_t piece, length
    if at < 0 or at > MOST_OFFSET or end > MOST_OFFSET:
        log.is_cut |= at > 0
        return
    if at > log.top:
        take_hole(log, peer, budget, now, at)
    piece = piece_of(log, peer, g.payload_bytes)
    while at < end:
        length = piece if piece < end - at else end - at
        if at + length > log.top:
            if not add(log, budget, now, at, length, 0):
                return
        else:
            add_again(log, budget, now, at, length, overtaking_of(log, peer))
        at += length


cdef inline void begin_log(Log *log, const Segment *g) noexcept nogil:
    log.is_begun = True
    log.acked = -1
    log.base = g.offset


cdef inline bint begins_next(const Exchange *x, const Segment *g) noexcept nogil:
    """Whether this segment is a new request: the client speaks, after the whole response arrived."""
    cdef const Log *response = &x.logs[1]
    return (
        (g.direction & 1) == 0
        and x.is_answered
        and g.new_bytes > 0
        and (g.acked_offset == INT64_MIN or g.acked_offset - response.base >= response.top)
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


cdef inline void take_probe(Log *log, const Header *h, int64_t now) noexcept nogil:
    """The other side's timestamp, until this side echoes it: one at a time."""
    if not log.is_probing and h.options & OPTION_TIMESTAMPS:
        log.is_probing = True
        log.probe = h.timestamp_value
        log.probe_ns = now


@cython.overflowcheck(False)  # modular on purpose (RFC 7323 §2.2)
cdef inline void take_echo(Log *log, const Header *h, int64_t now) noexcept nogil:
    """Data that echoes it: a round trip to this side's host and back, with any queue that the data waited in."""
    if log.is_probing and h.options & OPTION_TIMESTAMPS and <int32_t>(h.timestamp_echo - log.probe) >= 0:
        log.is_probing = False
        if log.count:
            entries_of(log)[log.count - 1].echoed_us = microseconds(now - log.probe_ns)


cdef inline void take_control(Log *log, const Segment *g, const Header *h, int64_t now) noexcept nogil:
    """What a SYN tells; options that data carries."""
    log.uses_timestamps = (h.options & OPTION_TIMESTAMPS) != 0
    if g.flags & FLAG_SYN:
        log.syns += log.syns < 2
        log.syn_ns = now
        if h.options & OPTION_MSS:
            log.mss = h.mss_bytes


cdef inline void take_segment(Exchange *x, Budget *budget, const Segment *g, const Header *h) noexcept nogil:
    """Take a segment that belongs to this exchange and is no capture duplicate."""
    cdef int d = g.direction & 1
    cdef Log *log = &x.logs[d]
    cdef Log *peer = &x.logs[1 - d]
    cdef int64_t now = g.time_ns if g.time_ns > x.last_ns else x.last_ns
    if now - g.time_ns > MOST_BACK_NS:
        x.is_set_back = True
    x.last_ns = now                 # clocks that step back make no negative wait
    take_control(log, g, h, now)
    if g.flags & FLAG_ACK and g.acked_offset != INT64_MIN and not g.flags & FLAG_RST:
        take_acknowledgment(peer, g, h, now)
        take_probe(peer, h, now)
    if not is_data(g, h):
        return
    if not log.is_begun:
        if g.new_bytes <= 0:
            return
        begin_log(log, g)
    take_data(log, peer, budget, g, now)
    take_echo(log, h, now)
    if d == 1 and g.new_bytes > 0 and x.logs[0].is_begun:
        x.is_answered = True
