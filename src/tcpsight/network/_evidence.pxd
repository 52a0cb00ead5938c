# What findings are made from: patterns that a sum over the whole connection would hide, and when they were.
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from tcpsight.network._state cimport (
    CAUSE_FAST, HAS_ACKED, IS_CLOSED, IS_FULL, IS_RESTART, SAW_WINDOW, Flow, Pattern, Rising, Sent, Stall, larger,
)
from tcpsight.tables cimport FLAG_SYN, KIND_RETRANSMISSION, Segment

cdef enum:
    # A round trip is high if it is this much above the shortest, and twice as long.
    HIGH_NS = 100000000
    # Delayed acknowledgments come after 40 ms (Linux) to 200 ms (Windows); RFC 9293 allows 500 ms.
    DELAYED_LEAST_NS = 25000000
    DELAYED_MOST_NS = 500000000
    AT_ONCE_NS = 1000000    # what an acknowledgment releases follows it within this and a round trip
    PAUSE_NS = 200000000    # shorter ones are no reason for a sender to start anew (RFC 5681 §4.1: a time-out)
    INITIAL_SEGMENTS = 12   # RFC 6928 allows ten; allows for two more by the first acknowledgment


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


cdef inline void end_stall(Flow *f) noexcept nogil:
    """Keep what was sent again most."""
    if f.stall.retransmissions > f.longest.retransmissions:
        f.longest = f.stall
    f.stall.retransmissions = 0


cdef inline void note_resending(Flow *f, const Segment *g, int64_t first_ns, int64_t now) noexcept nogil:
    """The lowest bytes that are not acknowledged were sent again."""
    if f.flags & HAS_ACKED and g.offset > f.acked:
        return
    if not f.stall.retransmissions or g.offset != f.stall.offset:
        end_stall(f)
        f.stall.offset = g.offset
        f.stall.start_ns = first_ns
        f.stall.peer_segments = 0
        f.stall.is_over = False
    f.stall.retransmissions += 1
    f.stall.end_ns = now
    f.stall.payload = g.payload_bytes


# --- pauses and delayed acknowledgments -------------------------------------------------------------------------


cdef inline void note_delayed(Flow *f, const Segment *g, int64_t round_trip_ns, int64_t now) noexcept nogil:
    """An acknowledgment without data of one small segment came late."""
    cdef int64_t over = round_trip_ns - f.rtt_min_ns
    if g.payload_bytes == 0 and DELAYED_LEAST_NS <= over <= DELAYED_MOST_NS:
        f.delayed_ack_ns = now


cdef inline void note_sending(Flow *f, const Flow *peer, int64_t time_out_ns, int64_t now) noexcept nogil:
    """New data are sent; called before they count as in flight."""
    if f.delayed_ack_ns:
        if now - f.delayed_ack_ns <= AT_ONCE_NS + (peer.rtt_min_ns + (peer.rtt_min_ns >> 2) if peer.rtt_samples else 0):
            note_pattern(&f.nagle, now)
        f.delayed_ack_ns = 0
    if f.sent_ns and f.data_end == f.acked and now - f.sent_ns > larger(PAUSE_NS, time_out_ns):
        f.flags |= IS_RESTART
    f.sent_ns = now


cdef inline void note_first_answer(Flow *f, int64_t full, int64_t now) noexcept nogil:
    """The first acknowledgment after a pause: was the sender held back by a fresh congestion window?"""
    cdef int64_t in_flight = f.data_end - f.acked
    f.flags &= ~IS_RESTART
    if full and 2 * full <= in_flight <= INITIAL_SEGMENTS * full and 2 * in_flight <= f.in_flight_max:
        note_pattern(&f.restart, now)


# --- windows ----------------------------------------------------------------------------------------------------


cdef inline void note_room(Flow *f, const Flow *peer, int64_t full, int64_t now) noexcept nogil:
    """Whether the peer's window has room for another segment of this direction."""
    cdef bint is_full = (
        peer.flags & SAW_WINDOW and peer.window > 0 and f.flags & HAS_ACKED
        and f.data_end > f.acked and f.data_end - f.acked + full > peer.window
    )
    if is_full == ((f.flags & IS_FULL) != 0):
        return
    if is_full:
        f.flags |= IS_FULL
        f.full_since_ns = now
    else:
        f.flags &= ~IS_FULL
        f.full_ns += now - f.full_since_ns


cdef inline void note_closed(Flow *f, int64_t now) noexcept nogil:
    """The window opened again, or the connection ended."""
    cdef int64_t closed_ns = now - f.closed_since_ns
    f.closed_ns += closed_ns
    if closed_ns > f.closed_longest_ns:
        f.closed_longest_ns = closed_ns
        f.closed_longest_start_ns = f.closed_since_ns
