# What findings are made from: patterns that a sum over the whole connection would hide, and when they were.
cimport cython
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t
from tcpsight.network._state cimport (
    AFTER_PAUSE, HAS_ACKED, HAS_DELAYED, HAS_STAMPED, IN_STALL, IS_CLOSED, PEER_CLOSED, STAMPS, Flow, Pattern,
    Rising, Sent, Stamp, larger,
)
from tcpsight.tables cimport Segment

cdef enum:
    # A round trip is high if it is this much above the shortest, and twice as long.
    HIGH_NS = 100000000
    # Delayed acknowledgments come after 40 ms (Linux) to 200 ms (Windows); RFC 9293 allows 500 ms.
    DELAYED_LEAST_NS = 25000000
    DELAYED_MOST_NS = 500000000
    AT_ONCE_NS = 1000000    # what an acknowledgment releases follows it within this and a round trip
    PAUSE_NS = 200000000    # shorter ones are no reason for a sender to start anew (RFC 5681 §4.1: a time-out)
    ECHO_GAP_NS = 20000000  # data that follow each other so closely were not waited for


cdef inline void note_pattern(Pattern *p, int64_t now) noexcept nogil:
    if p.count == 0:
        p.first_ns = now
    p.count += 1
    p.last_ns = now


cdef inline void note_rising(Flow *f, const Sent *last, int64_t round_trip_ns, int64_t now) noexcept nogil:
    """A clean round trip of data, and how much was in flight when its segment was sent."""
    cdef double x = last.in_flight
    cdef double y = round_trip_ns * 1e-6
    f.rising.n += 1
    f.rising.x += x
    f.rising.y += y
    f.rising.xx += x * x
    f.rising.xy += x * y
    f.rising.yy += y * y
    if round_trip_ns - f.rtt_min_ns >= HIGH_NS and round_trip_ns >= 2 * f.rtt_min_ns:
        note_pattern(&f.high, now)


cdef inline double correlation(const Rising *r) noexcept nogil:
    """Pearson's; 0 where one of the two does not vary."""
    cdef double xx = r.n * r.xx - r.x * r.x
    cdef double yy = r.n * r.yy - r.y * r.y
    if xx <= 0 or yy <= 0:
        return 0
    return (r.n * r.xy - r.x * r.y) / (sqrt(xx) * sqrt(yy))


# --- bytes that are sent again and again ------------------------------------------------------------------------


cdef inline void end_stall(Flow *f, int64_t peer_segments) noexcept nogil:
    """Keep what was sent again most; the peer has sent so many segments by now."""
    if not f.flags & IN_STALL:
        return
    f.flags &= ~IN_STALL
    f.stall.peer_segments = peer_segments - f.stall.peer_start
    if f.stall.retransmissions > f.longest.retransmissions:
        f.longest = f.stall


cdef inline void note_resending(
    Flow *f, const Flow *peer, const Segment *g, int64_t first_ns, int64_t now
) noexcept nogil:
    """The lowest bytes that are not acknowledged were sent again."""
    if f.flags & HAS_ACKED and g.offset > f.acked:
        return
    if not f.flags & IN_STALL or g.offset != f.stall.offset:
        end_stall(f, peer.segments)
        f.flags |= IN_STALL
        f.stall.offset = g.offset
        f.stall.start_ns = first_ns
        f.stall.peer_start = peer.segments
        f.stall.retransmissions = 0
        f.stall.is_over = False
    f.stall.retransmissions += 1
    f.stall.end_ns = now
    f.stall.payload = g.payload_bytes


# --- pauses and delayed acknowledgments -------------------------------------------------------------------------


cdef inline void note_delayed(Flow *f, const Segment *g, bint is_alone, int64_t round_trip_ns, int64_t now) noexcept nogil:
    """An acknowledgment without data, of one small segment that was alone, came late."""
    cdef int64_t over = round_trip_ns - f.rtt_min_ns
    if g.payload_bytes == 0 and is_alone and DELAYED_LEAST_NS <= over <= DELAYED_MOST_NS:
        f.delayed_ack_ns = now
        f.flags |= HAS_DELAYED


cdef inline void note_burst(Flow *f, const Flow *peer, int64_t full, int64_t round_trip_ns, int64_t now) noexcept nogil:
    """Between two bursts: was the sender held back by a congestion window that a pause had made small?

    A sender without anything else to wait for sends the next burst a round trip after the one before.
    """
    cdef int64_t gap = now - f.sent_ns
    if gap <= round_trip_ns >> 1:
        return
    if f.burst_largest < f.burst_bytes:
        f.burst_largest = f.burst_bytes
    if (
        f.flags & AFTER_PAUSE
        and gap - round_trip_ns <= round_trip_ns
        and f.burst_peer_bytes == peer.new_bytes
        and full and 2 * full <= f.burst_bytes <= f.burst_largest >> 1
    ):
        note_pattern(&f.restart, now)
    f.flags &= ~AFTER_PAUSE
    if (
        gap > PAUSE_NS + round_trip_ns and f.data_end == f.acked
        and not f.flags & PEER_CLOSED and not peer.flags & IS_CLOSED
    ):
        f.flags |= AFTER_PAUSE
    f.burst_peer_bytes = peer.new_bytes
    f.burst_bytes = 0


@cython.overflowcheck(False)  # looked at behind it
cdef inline uint32_t smaller_sum(uint32_t a, uint32_t b) noexcept nogil:
    """The sum, or the largest number there is."""
    cdef uint32_t sum = a + b
    return sum if sum >= a else 0xFFFFFFFFu


cdef inline void note_sending(
    Flow *f, const Flow *peer, const Segment *g, int64_t full, int64_t round_trip_ns, int64_t now
) noexcept nogil:
    """New data are sent; called before they count as in flight."""
    cdef int64_t at_once
    if f.flags & HAS_DELAYED:
        at_once = AT_ONCE_NS + (peer.rtt_min_ns + (peer.rtt_min_ns >> 2) if peer.rtt_samples else 0)
        # What follows data of the peer is an answer to these, not what the acknowledgment let go.
        if now - f.delayed_ack_ns <= at_once and peer.sent_ns <= f.delayed_ack_ns:
            note_pattern(&f.nagle, now)
        f.flags &= ~HAS_DELAYED
    if round_trip_ns and f.sent_ns:
        note_burst(f, peer, full, round_trip_ns, now)
    f.burst_bytes = smaller_sum(f.burst_bytes, g.payload_bytes)
    f.flags &= ~PEER_CLOSED
    f.sent_ns = now


# --- timestamps that come back ----------------------------------------------------------------------------------


@cython.overflowcheck(False)  # modular on purpose (RFC 7323 §2.2)
cdef inline void note_stamp(Flow *f, uint32_t value, int64_t time_ns, bint is_syn) noexcept nogil:
    """A segment of this direction carries a timestamp; the first one with it is remembered, in the order of values.

    Where the capture began later than the direction, an earlier segment may have had the first value, too.
    """
    cdef Stamp *stamp
    if not (is_syn or f.flags & HAS_STAMPED):
        f.stamped = value
        f.flags |= HAS_STAMPED
    if f.stamps_count == STAMPS or (f.flags & HAS_STAMPED and <int32_t>(value - f.stamped) <= 0):
        return
    stamp = &f.stamps[(f.stamps_head + f.stamps_count) & (STAMPS - 1)]
    stamp.time_ns = time_ns
    stamp.value = value
    f.stamps_count += 1
    f.stamped = value
    f.flags |= HAS_STAMPED


cdef inline void take_echo_time(Flow *f, int64_t sample, int64_t now) noexcept nogil:
    """So long after it was stamped a value came back."""
    if f.echo_samples == 0 or sample < f.echo_min_ns:
        f.echo_min_ns = sample
    f.echo_samples += f.echo_samples != 0xFFFFFFFFu
    f.echo_max_ns = larger(f.echo_max_ns, sample)
    if sample - f.echo_min_ns >= HIGH_NS and sample >= 2 * f.echo_min_ns:
        note_pattern(&f.echo_high, now)


@cython.overflowcheck(False)
cdef inline void take_echo(Flow *f, uint32_t echo, int64_t time_ns, int64_t now) noexcept nogil:
    """The peer echoes a timestamp of this direction on data, in the middle of a run of data.

    Only there: what begins a run may have waited for anything.
    """
    cdef bint is_running = f.echoed_ns and now - f.echoed_ns <= ECHO_GAP_NS
    cdef const Stamp *stamp
    f.echoed_ns = now
    while f.stamps_count:
        stamp = &f.stamps[f.stamps_head]
        if <int32_t>(echo - stamp.value) < 0:
            return
        if is_running and echo == stamp.value and time_ns >= stamp.time_ns:
            take_echo_time(f, time_ns - stamp.time_ns, now)
        f.stamps_head = (f.stamps_head + 1) & (STAMPS - 1)
        f.stamps_count -= 1
    f.stamps_head = 0  # the next one finds the first place again, which is fetched ahead
