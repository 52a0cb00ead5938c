# What a segment tells of the two directions of its connection.
#
# Nearly all segments are usual ones: new data or a plain acknowledgment of a connection that nothing is wrong with.
# `is_usual` says so once, and the rules below are compiled twice: `usual` is a constant, and what it implies is not
# asked again.
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from tcpsight.network._evidence cimport (
    end_stall, note_delayed, note_resending, note_rising, note_sending, note_stamp, take_echo,
)
from tcpsight.network._pauses cimport begin_busy, end_busy, note_more
from tcpsight.network._recovery cimport (
    close_holes, count_syn_again, open_hole, resent_of, take_echo_of_original, take_filling, take_retransmission, take_sack,
    was_held_back,
)
from tcpsight.network._round_trips cimport take_round_trip
from tcpsight.network._sent cimport mark_resent, pop, push, sent_at
from tcpsight.network._state cimport (
    ACKED_AHEAD, BUSY, CAUSE_TIMEOUT, CONTROL, HAS_ACKED, HAS_HOLES, HAS_SACKED, HAS_VALUE, IN_FAST_RECOVERY,
    IN_STALL, IN_TIMEOUT, IS_CLOSED, KNOWN, MANY, OFFERED_SACK, RESENT, SAW_FIN, SAW_WINDOW, UNCLEAN, USES_TIMESTAMPS,
    Flow, Memory, Resent, Sent, Slot, larger, smaller,
)
from tcpsight.network._windows cimport note_room, take_window
from tcpsight.tables cimport (
    FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_KEEP_ALIVE, KIND_NEW, KIND_OUT_OF_ORDER, KIND_RETRANSMISSION,
    KIND_ZERO_WINDOW_PROBE, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, Header, Segment,
)

cdef enum:
    TIMESTAMPS_BYTES = 12           # of a segment's room, RFC 6691
    SMALL_SEGMENT_BYTES = 512       # below the least MSS of IPv4 (536): tells nothing of what a full segment is


# --- acknowledgments --------------------------------------------------------------------------------------------


cdef inline int32_t full_segment(const Flow *f, const Flow *peer) noexcept nogil:
    """Payload of a full-size segment of this direction; 0 if unknown."""
    if peer.mss:
        return peer.mss - (TIMESTAMPS_BYTES if f.flags & USES_TIMESTAMPS and peer.mss > 2 * TIMESTAMPS_BYTES else 0)
    return f.payload_max if f.payload_max >= SMALL_SEGMENT_BYTES else 0


cdef inline bint is_usual(const Flow *f, const Flow *peer, const Segment *g, const Header *h) noexcept nogil:
    """Whether this is new data or a plain acknowledgment, and nothing is wrong or unknown with its connection."""
    cdef uint32_t settled = KNOWN | HAS_ACKED | SAW_WINDOW
    cdef uint32_t troubled = IN_FAST_RECOVERY | IN_TIMEOUT | IN_STALL | IS_CLOSED | HAS_SACKED | HAS_HOLES
    return (
        f.flags & peer.flags & settled == settled
        and not (f.flags | peer.flags) & troubled
        and g.flags & (FLAG_SYN | FLAG_FIN | FLAG_RST | FLAG_ACK) == FLAG_ACK
        and g.kind == KIND_NEW
        and g.payload_bytes == g.new_bytes
        and g.offset != INT64_MIN
        and g.acked_offset != INT64_MIN
        and h.window
        and not h.sack_count
    )


cdef inline void measure(
    Slot *slot, Flow *f, const Sent *last, const Segment *g, const Header *h, bint usual
) noexcept nogil:
    """A round trip, from the last segment that was acknowledged; not where it was sent again (Karn's rule)."""
    cdef Resent *resent
    cdef int64_t begin = last.time_ns
    cdef int64_t now = slot.last_ns
    cdef int64_t full
    cdef bint is_delayed
    if last.flags & RESENT:
        resent = resent_of(f, last)
        if resent == NULL or not resent.has_value or not h.options & OPTION_TIMESTAMPS or not last.flags & HAS_VALUE:
            return
        if h.timestamp_echo != resent.value or resent.value == last.value:
            return
        begin = resent.time_ns
    if g.time_ns < begin:
        return  # captured in the order of their frames, stamped in another one
    full = f.full
    # Two full segments are acknowledged at once; one with more behind it was not waited for either.
    is_delayed = not last.flags & CONTROL and (
        g.payload_bytes > 0
        or full == 0
        or not (usual or f.flags & HAS_ACKED)
        or (
            g.acked_offset - f.acked < 2 * full
            and (last.payload < full or f.data_end - g.acked_offset < 2 * full)
        )
    )
    take_round_trip(slot, f, g.time_ns - begin, is_delayed, last.epoch == slot.epoch < MANY)
    if is_delayed:
        note_delayed(
            f, g, g.acked_offset >= f.data_end and last.in_flight == <uint32_t>last.payload < full,
            g.time_ns - begin, now,
        )
    elif not last.flags & CONTROL:
        note_rising(f, last, g.time_ns - begin, now)


cdef inline void take_progress(
    Slot *slot, Flow *f, const Flow *peer, Memory *memory, const Segment *g, const Header *h, bint usual
) noexcept nogil:
    """The peer acknowledged something new of this direction."""
    cdef int64_t now = slot.last_ns
    cdef int64_t acked = g.acked_offset
    cdef bint was_held = not usual and f.flags & (HAS_SACKED | HAS_HOLES) and was_held_back(f, acked)
    cdef uint32_t covered = 0
    cdef uint32_t marks = 0
    cdef Sent last
    last.end = INT64_MIN
    last.time_ns = 0
    last.value = 0
    last.in_flight = 0
    last.payload = 0
    last.flags = 0
    last.epoch = 0
    while f.count and sent_at(f, 0).end <= acked:
        last = sent_at(f, 0)[0]
        marks |= last.flags
        covered += 1
        if last.payload > f.payload_acked_max:
            f.payload_acked_max = last.payload
        pop(f, memory)
    # What was sent again in the middle, or lay above a hole, was acknowledged late.
    if last.end == acked and not was_held and not marks & UNCLEAN and (not marks & RESENT or covered == 1):
        measure(slot, f, &last, g, h, usual)
    if marks & RESENT:
        take_echo_of_original(f, h, acked)
    if not usual and f.flags & IN_STALL:
        f.stall.end_ns = now
        f.stall.is_over = True
        end_stall(f, peer.segments - 1)  # this one ends it
    f.acked = acked
    f.progress_ns = now
    f.duplicate_acks_seen = 0
    if not usual:
        f.flags |= HAS_ACKED
    if acked > f.next or not (usual or f.flags & KNOWN):
        # Not captured: a FIN or data, whoever knows; it does not matter here.
        f.next = f.data_end = acked
        f.flags |= KNOWN | ACKED_AHEAD
    if f.flags & BUSY and acked >= f.data_end:
        end_busy(slot, f, peer, g, h, now)
    if usual:
        return
    if f.flags & (IN_FAST_RECOVERY | IN_TIMEOUT) and acked >= f.recovery_point:
        f.flags &= ~(IN_FAST_RECOVERY | IN_TIMEOUT)
    if f.flags & HAS_HOLES:
        close_holes(f)
    if f.flags & HAS_SACKED and f.sacked_end <= acked:
        f.flags &= ~HAS_SACKED


cdef inline void take_acknowledgment(
    Slot *slot, Flow *own, Flow *f, Memory *memory, const Segment *g, const Header *h, bint usual
) noexcept nogil:
    """What a segment of `own` says of the other direction, `f`."""
    if g.acked_offset > f.acked or not (usual or f.flags & HAS_ACKED):
        take_progress(slot, f, own, memory, g, h, usual)
    elif (
        # RFC 5681 §2: outstanding data, no data, no SYN or FIN, the highest number so far, the same window.
        g.acked_offset == f.acked
        and f.data_end > f.acked
        and g.payload_bytes == 0
        and (usual or not g.flags & (FLAG_SYN | FLAG_FIN))
        and (usual or own.flags & SAW_WINDOW)
        and own.raw_window == h.window
        and (usual or g.kind == KIND_NEW)
    ):
        own.duplicate_acks += 1
        f.duplicate_acks_seen += f.duplicate_acks_seen != 255
    if not usual and h.sack_count and f.flags & KNOWN:
        take_sack(f, h, g)


# --- data -------------------------------------------------------------------------------------------------------


cdef inline void note_flight(Flow *f, const Flow *peer, bint usual) noexcept nogil:
    """Bytes in flight, and whether they fill the window."""
    cdef int64_t in_flight
    if not (usual or f.flags & HAS_ACKED):
        return
    in_flight = f.data_end - f.acked
    f.in_flight_max = larger(f.in_flight_max, in_flight)
    if 0 < peer.window <= in_flight and (usual or peer.flags & SAW_WINDOW):
        f.window_full += 1


cdef inline void take_next(
    Slot *slot, Flow *f, const Flow *peer, Memory *memory, const Segment *g, const Header *h, bint usual
) noexcept nogil:
    """Something this direction had not sent before."""
    cdef int64_t now = slot.last_ns
    cdef uint8_t controls = 0 if usual else ((g.flags & FLAG_SYN) != 0) + ((g.flags & FLAG_FIN) != 0)
    cdef int64_t end = g.offset + g.payload_bytes + (not usual and (g.flags & FLAG_SYN) != 0)
    cdef Sent *sent
    if g.offset > f.next and (usual or f.flags & KNOWN):
        open_hole(f, memory, g, h, now)
    if g.payload_bytes:
        note_sending(f, peer, g, f.full, slot.round_trip_ns, now)
    if end > f.data_end or not (usual or f.flags & KNOWN):
        f.data_end = end
        f.flags &= ~ACKED_AHEAD
    if g.payload_bytes:
        if f.payload_max < g.payload_bytes:
            f.payload_max = g.payload_bytes
            f.full = full_segment(f, peer)
        if not f.flags & BUSY and (f.data_end > f.acked or not (usual or f.flags & HAS_ACKED)):
            begin_busy(slot, f, peer, h, now)
        note_more(f, g)
        note_flight(f, peer, usual)
    if not usual:
        end += (g.flags & FLAG_FIN) != 0
    if end <= f.next and (usual or f.flags & KNOWN):
        return
    f.next = end
    if not usual:
        f.flags |= KNOWN
    if end <= f.acked and (usual or f.flags & HAS_ACKED):
        return  # its acknowledgment was captured before it
    sent = push(f, memory)
    if sent != NULL:
        sent.end = end
        sent.controls = controls
        sent.epoch = slot.epoch
        sent.time_ns = g.time_ns
        sent.value = h.timestamp_value
        sent.payload = g.payload_bytes
        sent.in_flight = <uint32_t>(f.data_end - f.acked) if usual or f.flags & HAS_ACKED else 0
        sent.flags = (CONTROL if controls and not g.payload_bytes else 0) | (
            HAS_VALUE if h.options & OPTION_TIMESTAMPS else 0
        )


cdef inline void take_syn(Flow *f, const Header *h) noexcept nogil:
    if h.options & OPTION_MSS:
        f.mss = h.mss_bytes
    if h.options & OPTION_SACK_PERMITTED:
        f.flags |= OFFERED_SACK


cdef inline void take_held_syn(Flow *f, const Segment *g) noexcept nogil:
    """A SYN that may be of another connection, sent again: it counts where it was met, and only a timer repeats it."""
    f.retransmissions += 1
    f.control_retransmissions += 1
    count_syn_again(f, g)
    f.retransmitted_bytes += g.payload_bytes
    f.causes[CAUSE_TIMEOUT] += 1


cdef inline void count_segment(Flow *f, const Flow *peer, const Segment *g, const Header *h) noexcept nogil:
    """Count a segment, and as many as it is on the wire: an offloading interface cuts it behind the capture point."""
    f.segments += 1
    if h.options & OPTION_TIMESTAMPS and not f.flags & USES_TIMESTAMPS:
        f.flags |= USES_TIMESTAMPS
        f.full = full_segment(f, peer)
    if g.payload_bytes > f.full > 0 and peer.mss and g.payload_bytes > SMALL_SEGMENT_BYTES:
        f.more_on_wire += (g.payload_bytes - 1) // f.full


cdef inline int64_t end_of(const Segment *g) noexcept nogil:
    """One past its last number: SYN and FIN count."""
    return g.offset + g.payload_bytes + ((g.flags & FLAG_SYN) != 0) + ((g.flags & FLAG_FIN) != 0)


cdef inline bint can_end(const Flow *f, int64_t end) noexcept nogil:
    """Whether this direction can end here: not below data that it has sent, unless a hole is there."""
    cdef uint32_t i
    if end >= f.data_end - ((f.flags & ACKED_AHEAD) != 0) or not f.flags & KNOWN:
        return True
    if f.flags & HAS_HOLES:
        for i in range(f.rare.hole_count):
            if f.rare.holes[i].start <= end < f.rare.holes[i].end:
                return True
    return False


cdef inline void take_partly_new(Flow *f, const Segment *g) noexcept nogil:
    """Part of its data had been sent before."""
    f.retransmitted_bytes += g.payload_bytes - g.new_bytes
    if f.flags & KNOWN:
        mark_resent(f, g.offset, smaller(end_of(g), f.next))


cdef inline void take_sequenced(
    Slot *slot, Flow *f, Flow *peer, Memory *memory, const Segment *g, const Header *h, bint usual
) noexcept nogil:
    """Take a segment whose place is known."""
    cdef int64_t now = slot.last_ns
    if usual or (g.flags & FLAG_ACK and g.acked_offset != INT64_MIN):
        take_acknowledgment(slot, f, peer, memory, g, h, usual)
    take_window(f, peer, g, h, now, usual)
    if h.options & OPTION_TIMESTAMPS:
        note_stamp(f, h.timestamp_value, g.time_ns, not usual and (g.flags & FLAG_SYN) != 0)
        if g.new_bytes > 0 and (usual or g.flags & FLAG_ACK):
            take_echo(peer, h.timestamp_echo, g.time_ns, now)
    f.new_bytes += g.new_bytes
    if usual:
        if g.payload_bytes:
            take_next(slot, f, peer, memory, g, h, usual)
    else:
        take_kind(slot, f, peer, memory, g, h)
    # What it acknowledges, or the window it offers, may have made room for the peer; what it brings takes some.
    note_room(peer, f, now)
    note_room(f, peer, now)


cdef inline void take_kind(
    Slot *slot, Flow *f, const Flow *peer, Memory *memory, const Segment *g, const Header *h
) noexcept nogil:
    """What a segment sent, by its kind."""
    cdef int64_t now = slot.last_ns
    if g.flags & FLAG_FIN and not f.flags & SAW_FIN and g.kind != KIND_RETRANSMISSION and can_end(f, end_of(g) - 1):
        f.flags |= SAW_FIN
        f.fin_end = end_of(g)
    if g.kind == KIND_NEW:
        if g.payload_bytes > g.new_bytes:
            take_partly_new(f, g)
        if g.payload_bytes or g.flags & (FLAG_SYN | FLAG_FIN):
            take_next(slot, f, peer, memory, g, h, False)
    elif g.kind == KIND_RETRANSMISSION:
        f.retransmitted_bytes += g.payload_bytes
        take_retransmission(f, peer, g, h, now)
    elif g.kind == KIND_OUT_OF_ORDER:
        take_filling(f, g, h, now, slot.round_trip_ns)
        if g.payload_bytes > g.new_bytes:
            take_partly_new(f, g)
        if not f.flags & KNOWN or end_of(g) > f.next:
            take_next(slot, f, peer, memory, g, h, False)
    elif g.kind == KIND_KEEP_ALIVE:
        f.keep_alives += 1
        if peer.segments != f.stall.peer_start:
            end_stall(f, peer.segments)  # the one before was answered
        note_resending(f, peer, g, now, now)
    elif g.kind == KIND_ZERO_WINDOW_PROBE:
        f.zero_window_probes += 1


cdef inline void take_segment(Slot *slot, Memory *memory, const Segment *g, const Header *h) noexcept nogil:
    """Take a segment that is no capture duplicate, once the clock has moved to it."""
    cdef Flow *f = &slot.flows[g.direction & 1]
    cdef Flow *peer = &slot.flows[1 - (g.direction & 1)]
    count_segment(f, peer, g, h)
    if is_usual(f, peer, g, h):
        take_sequenced(slot, f, peer, memory, g, h, True)
    else:
        take_unusual(slot, f, peer, memory, g, h)


cdef inline void take_unusual(
    Slot *slot, Flow *f, Flow *peer, Memory *memory, const Segment *g, const Header *h
) noexcept nogil:
    if g.offset == INT64_MIN or g.flags & FLAG_RST:
        if g.kind == KIND_RETRANSMISSION and g.flags & FLAG_SYN:
            take_held_syn(f, g)
        return  # not believed, or the end of it all
    if g.flags & FLAG_SYN:
        take_syn(f, h)
        peer.full = full_segment(peer, f)
    take_sequenced(slot, f, peer, memory, g, h, False)
