# Why a segment was sent again, whether that was needed, and which segments were only overtaken.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memmove
from tcpsight._door cimport Growth, grown
from tcpsight.network._clock cimport MOST_DISORDER_NS, is_later_by
from tcpsight.network._evidence cimport note_resending
from tcpsight.network._round_trips cimport time_out_after
from tcpsight.network._sent cimport find_sent, mark_resent, mark_unclean
from tcpsight.network._state cimport (
    CAUSE_FAST, CAUSE_SPURIOUS, CAUSE_TAIL_LOSS_PROBE, CAUSE_TIMEOUT, FIRST_HOLES, HAS_ACKED, HAS_HOLES, HAS_SACKED, HOLES_LOST,
    IN_FAST_RECOVERY, IN_TIMEOUT, MOST_HOLE_BYTES, MOST_HOLES, MOST_RESENT, OFFERED_SACK, Flow, Hole, Memory, Rare, Resent,
    SAW_FIN, Sent, larger, smaller,
)
from tcpsight.network._state cimport RESENT as WAS_RESENT
from tcpsight.tables cimport FLAG_ACK, FLAG_FIN, FLAG_SYN, OPTION_TIMESTAMPS, Header, Segment

cdef enum:
    DUPLICATES_OF_LOSS = 3          # RFC 5681 §3.2
    LEAST_RTO_NS = 200000000        # Linux; RFC 6298 asks for 1 s
    # What fills a hole sooner was overtaken, where neither round trips nor timestamps tell: tshark's limit.
    REORDERING_NS = 3000000


@cython.overflowcheck(False)  # modular on purpose (RFC 7323 §2.2)
cdef inline int32_t value_difference(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b)


@cython.overflowcheck(False)
cdef inline int64_t block_offset(const Header *h, const Segment *g, int i) noexcept nogil:
    """The stream offset of a SACK block's edge: the nearest to the acknowledgment that has its number."""
    return g.acked_offset + <int32_t>(h.sack[i] - h.acknowledgment_number)


cdef inline Rare *rare_of(Flow *f) noexcept nogil:
    """What few directions need; NULL if memory is out."""
    if f.rare == NULL:
        f.rare = <Rare *>calloc(1, sizeof(Rare))
    return f.rare


# --- what was sent again ----------------------------------------------------------------------------------------


cdef inline int64_t time_out_of(const Flow *f) noexcept nogil:
    """The sender's retransmission time-out, as seen here (RFC 6298 §2)."""
    if f.rtt_samples == 0:
        return 1000000000           # RFC 6298 §2.1
    return larger(LEAST_RTO_NS, time_out_after(f.srtt_ns, f.rttvar_ns))


cdef inline int cause_of(Flow *f, const Segment *g, int64_t end, int64_t now) noexcept nogil:
    """Why it was sent again. What acknowledgments told counts for more than how long it took."""
    cdef Sent *sent
    cdef bint is_told
    cdef int64_t since = f.progress_ns
    if f.flags & HAS_ACKED and end <= f.acked:
        return CAUSE_SPURIOUS
    if g.flags & FLAG_SYN:
        return CAUSE_TIMEOUT
    if f.flags & IN_TIMEOUT:
        # Whatever follows a time-out until all that had been sent by then is acknowledged.
        return CAUSE_TIMEOUT
    sent = find_sent(f, g.offset, end)
    is_told = (f.flags & HAS_SACKED and f.sacked_end >= end) or f.duplicate_acks_seen >= DUPLICATES_OF_LOSS or f.flags & IN_FAST_RECOVERY
    if sent != NULL:
        since = larger(since, sent.time_ns)
    if is_told:
        if sent != NULL and sent.flags & WAS_RESENT and now - since >= time_out_of(f) and was_resent_long_ago(f, g.offset, now):
            return CAUSE_TIMEOUT
        return CAUSE_FAST
    if end >= f.next and f.flags & OFFERED_SACK and (sent == NULL or not sent.flags & WAS_RESENT):
        return CAUSE_TAIL_LOSS_PROBE   # RFC 8985 §7
    return CAUSE_TIMEOUT


cdef inline bint was_resent_long_ago(const Flow *f, int64_t start, int64_t now) noexcept nogil:
    """Whether the retransmission before this one is a time-out ago."""
    cdef int i
    for i in range(MOST_RESENT):
        if f.rare.resent[i].start <= start < f.rare.resent[i].end and now - f.rare.resent[i].time_ns < time_out_of(f):
            return False
    return True


cdef inline void count_syn_again(Flow *f, const Segment *g) noexcept nogil:
    """Count a SYN, or a SYN-ACK, that was sent again."""
    f.syns_again += (g.flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN
    f.syn_acks_again += (g.flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN | FLAG_ACK


cdef inline void take_retransmission(
    Flow *f, const Flow *peer, const Segment *g, const Header *h, int64_t now
) noexcept nogil:
    """Count a segment that was sent again, by its cause."""
    cdef int64_t end = g.offset + g.payload_bytes + ((g.flags & FLAG_FIN) != 0) + ((g.flags & FLAG_SYN) != 0)
    cdef Rare *rare = rare_of(f)
    cdef Resent *resent
    cdef const Sent *sent
    cdef int cause, i
    f.retransmissions += 1
    count_syn_again(f, g)
    # A FIN elsewhere than the first one is none.
    if g.flags & FLAG_SYN or (
        # Without payload it repeats the FIN that was believed, whose number an ACK may have passed over before.
        g.flags & FLAG_FIN and (g.payload_bytes == 0 or (f.flags & SAW_FIN and end == f.fin_end))
    ):
        f.control_retransmissions += 1
    if rare == NULL:
        f.causes[CAUSE_TIMEOUT] += 1
        return
    cause = cause_of(f, g, end, now)
    f.causes[cause] += 1
    if cause == CAUSE_SPURIOUS:
        f.syn_acks_needless += (g.flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN | FLAG_ACK
        return
    if cause != CAUSE_FAST and not g.flags & FLAG_SYN:  # a SYN has no bytes, and would hide what comes after it
        sent = find_sent(f, g.offset, end)
        note_resending(f, peer, g, sent.time_ns if sent != NULL else now, now)
    if cause == CAUSE_FAST and not f.flags & IN_FAST_RECOVERY:
        f.flags |= IN_FAST_RECOVERY
        f.recovery_point = f.next
    elif cause == CAUSE_TIMEOUT and not f.flags & IN_TIMEOUT:
        f.flags = (f.flags & ~IN_FAST_RECOVERY) | IN_TIMEOUT
        f.recovery_point = f.next
    resent = &rare.resent[rare.resent_at & (MOST_RESENT - 1)]
    rare.resent_at += 1
    resent.is_again = False
    for i in range(MOST_RESENT):
        # Those that are settled are empty, and meet nothing.
        if (
            larger(rare.resent[i].start, g.offset) < smaller(rare.resent[i].end, end) and &rare.resent[i] != resent
        ):
            rare.resent[i].is_again = True
            resent.is_again = True
    resent.start = g.offset
    resent.end = end
    resent.time_ns = g.time_ns
    resent.cause = <unsigned char>cause
    resent.value = h.timestamp_value
    resent.has_value = (h.options & OPTION_TIMESTAMPS) != 0
    mark_resent(f, g.offset, end)


cdef inline void find_spurious(Flow *f, Resent *resent) noexcept nogil:
    """It turned out that this retransmission was needless."""
    f.causes[resent.cause] -= 1
    f.causes[CAUSE_SPURIOUS] += 1
    resent.start = resent.end = 0


cdef inline void take_sack(Flow *f, const Header *h, const Segment *g) noexcept nogil:
    """SACK blocks of the peer: what they reach, and (D-SACK, RFC 2883) what reached it twice."""
    cdef int64_t start = block_offset(h, g, 0), end = block_offset(h, g, 1)
    cdef int i, first = 0
    cdef Resent *resent
    cdef bint is_repeated = start < g.acked_offset
    if h.sack_count > 1 and not is_repeated:
        is_repeated = start >= block_offset(h, g, 2) and end <= block_offset(h, g, 3)
    if is_repeated:
        first = 1
        if f.rare != NULL:
            for i in range(MOST_RESENT):  # the oldest first
                resent = &f.rare.resent[(f.rare.resent_at + i) & (MOST_RESENT - 1)]
                if start <= resent.start < resent.end <= end + 1:
                    find_spurious(f, resent)
                    break  # a block tells of one arrival
    for i in range(first, h.sack_count):
        end = block_offset(h, g, 2 * i + 1)
        if block_offset(h, g, 2 * i) < end <= f.next:
            f.sacked_end = larger(f.sacked_end, end) if f.flags & HAS_SACKED else end
            f.flags |= HAS_SACKED


cdef inline Resent *resent_of(Flow *f, const Sent *sent) noexcept nogil:
    """The only retransmission of a segment; NULL if it is not known, or was not the only one."""
    cdef Resent *resent
    cdef int i
    if f.rare == NULL:
        return NULL
    for i in range(MOST_RESENT):  # the oldest first
        resent = &f.rare.resent[(f.rare.resent_at + i) & (MOST_RESENT - 1)]
        if resent.start < sent.end <= resent.end:
            return NULL if resent.is_again else resent
    return NULL


cdef inline void take_echo_of_original(Flow *f, const Header *h, int64_t acked) noexcept nogil:
    """Eifel (RFC 3522 §3.2): an acknowledgment that echoes what only the original carried.

    The echo is of what arrived where the receiver waited for the next byte, and never goes back (RFC 7323 §4.3). So where
    all before it had been acknowledged, a retransmission that was needed would be echoed, or something later.
    """
    cdef Resent *resent
    cdef int i
    # Where nothing was acknowledged before, what is at or before offset 0 is the first that can be missing.
    cdef bint is_first = not f.flags & HAS_ACKED
    cdef int64_t before = 0 if is_first else f.acked
    if f.rare == NULL or not h.options & OPTION_TIMESTAMPS:
        return
    for i in range(MOST_RESENT):
        resent = &f.rare.resent[i]
        if (
            resent.start <= before
            and (before < resent.end or is_first)
            and resent.start < resent.end <= acked
            and resent.has_value
            and not resent.is_again
            and value_difference(h.timestamp_echo, resent.value) < 0
        ):
            find_spurious(f, resent)
            return


# --- holes ------------------------------------------------------------------------------------------------------


cdef inline bint can_keep_hole(Rare *rare, Memory *memory) noexcept nogil:
    """Whether one more hole can be kept; there may be no memory for it."""
    cdef Growth growth = Growth(FIRST_HOLES, MOST_HOLES, sizeof(Hole), MOST_HOLE_BYTES)
    if rare.hole_count == rare.hole_size:
        rare.hole_size = grown(<void **>&rare.holes, rare.hole_size, &growth, &memory.hole_bytes)
    return rare.hole_count < rare.hole_size


cdef inline void drop_first(Rare *rare, uint32_t count) noexcept nogil:
    rare.hole_count -= count
    memmove(rare.holes, rare.holes + count, rare.hole_count * sizeof(Hole))


cdef inline void open_hole(Flow *f, Memory *memory, const Segment *g, const Header *h, int64_t now) noexcept nogil:
    """Segments are missing before this one: overtaken, lost, or not captured."""
    cdef Rare *rare = rare_of(f)
    cdef Hole *hole
    if rare == NULL:
        return
    if not can_keep_hole(rare, memory):
        f.flags |= HOLES_LOST
        if rare.hole_count == 0:
            return
        drop_first(rare, 1)
    hole = &rare.holes[rare.hole_count]
    rare.hole_count += 1
    f.flags |= HAS_HOLES
    hole.start = f.next
    hole.end = g.offset
    hole.time_ns = now
    hole.value = h.timestamp_value
    hole.has_value = (h.options & OPTION_TIMESTAMPS) != 0
    hole.is_untimed = False


cdef inline bint was_held_back(const Flow *f, int64_t acked) noexcept nogil:
    """Whether a hole held back an acknowledgment that reaches so far: one that SACK told of, or that was seen."""
    if f.flags & HAS_SACKED and f.sacked_end > f.acked:
        return True
    if not f.flags & HAS_HOLES:
        return False
    return f.flags & HOLES_LOST or f.rare.holes[0].start < acked


cdef inline void close_holes(Flow *f) noexcept nogil:
    """Forget holes that the peer has acknowledged: what fills them now was sent again, or came late."""
    cdef uint32_t over = 0
    while over < f.rare.hole_count and f.rare.holes[over].end <= f.acked:
        over += 1
    if over:
        drop_first(f.rare, over)
    if f.rare.hole_count == 0:
        f.flags &= ~HAS_HOLES


cdef inline bint is_overtaken(const Hole *hole, const Header *h, int64_t now, int64_t round_trip_ns) noexcept nogil:
    """Whether what fills a hole had been sent before what opened it.

    A retransmission is sent after the segment that showed the hole, so its timestamp is not older, and it can't come
    sooner than a round trip after it. Where the clock went back in between, how soon it came is not known.
    """
    cdef int32_t difference
    if hole.has_value and h.options & OPTION_TIMESTAMPS:
        difference = value_difference(h.timestamp_value, hole.value)
        if difference:
            return difference < 0
    if hole.is_untimed:
        return False
    if round_trip_ns > 0:
        return now - hole.time_ns < round_trip_ns - (round_trip_ns >> 3)
    return now - hole.time_ns < REORDERING_NS


cdef inline Hole *hole_of(Flow *f, const Segment *g) noexcept nogil:
    """The first hole that a segment reaches into; NULL if there is none: it may have been acknowledged before."""
    cdef uint32_t i
    if f.flags & HAS_HOLES:
        for i in range(f.rare.hole_count):
            if f.rare.holes[i].start >= g.offset + g.payload_bytes:
                break
            if g.offset < f.rare.holes[i].end:
                return &f.rare.holes[i]
    return NULL


cdef inline bint is_disorder(int64_t shown_ns, int64_t time_ns) noexcept nogil:
    """Whether it passed before what showed the hole, and came into the file behind it."""
    return shown_ns > time_ns and not is_later_by(shown_ns, time_ns, MOST_DISORDER_NS - 1)


cdef inline void take_filling(Flow *f, const Segment *g, const Header *h, int64_t now, int64_t round_trip_ns) noexcept nogil:
    """A segment that fills a hole.

    One whose own stamp is a little older than what showed the hole, or acknowledged it, had passed before: frames of
    several queues come into a file out of order, and nothing was overtaken.
    """
    cdef Hole *hole = hole_of(f, g)
    mark_unclean(f, g.offset)
    if is_disorder(hole.time_ns if hole != NULL else now, h.time_ns):
        return
    f.out_of_order += 1
    if hole != NULL and is_overtaken(hole, h, now, round_trip_ns):
        f.reordered += 1
        f.reordering_max = larger(f.reordering_max, f.data_end - g.offset - g.payload_bytes)
