# What a segment tells of its sender's window: how far the other side may send, and for how long it may not.
from libc.stdint cimport int64_t
from tcpsight.network._state cimport (
    HAS_ACKED, IS_BELOW_MSS, IS_CLOSED, IS_FULL, PEER_CLOSED, SAW_WINDOW, WINDOW_UNKNOWN, Flow,
)
from tcpsight.tables cimport FLAG_FIN, FLAG_SYN, Header, Segment


cdef inline void note_below_mss(Flow *f, const Segment *g, int64_t now) noexcept nogil:
    """Its window has no room for a segment of the size it takes (RFC 9293 §3.8.6.2.2), or has room again."""
    if g.flags & FLAG_SYN or (g.flags & FLAG_FIN and not f.flags & IS_BELOW_MSS):
        return  # neither is for what comes next
    if f.flags & IS_BELOW_MSS:
        f.below_mss_ns += now - f.below_mss_since_ns
    else:
        f.below_mss_since_ns = now
    f.flags ^= IS_BELOW_MSS


cdef inline void take_window(
    Flow *f, Flow *peer, const Segment *g, const Header *h, int64_t now, bint usual
) noexcept nogil:
    """The window that a segment announces."""
    f.window = g.window_bytes
    f.raw_window = h.window
    if g.window_bytes < 0:
        f.flags |= WINDOW_UNKNOWN
    # That of a SYN is for the first flight alone, and not scaled.
    if g.window_bytes > f.window_max and (usual or not g.flags & FLAG_SYN):
        f.window_max = g.window_bytes
    if (g.window_bytes < f.mss) != ((f.flags & IS_BELOW_MSS) != 0):
        note_below_mss(f, g, now)
    if usual:
        return
    f.flags |= SAW_WINDOW
    if h.window == 0 and not g.flags & (FLAG_SYN | FLAG_FIN):
        f.zero_windows += 1
        peer.flags |= PEER_CLOSED
        if not f.flags & IS_CLOSED:
            f.flags |= IS_CLOSED
            f.closed_since_ns = now
    elif f.flags & IS_CLOSED and h.window:
        f.flags &= ~IS_CLOSED
        note_closed(f, now)


cdef inline void note_room(Flow *f, const Flow *peer, int64_t now) noexcept nogil:
    """Whether the peer's window has room for another segment of this direction.

    Half of the largest window is room enough to send into (RFC 9293 §3.8.6.2.1), though a segment as long as those of
    loopback does not fit. Nobody sends beyond it: where more seems in flight, acknowledgments were not captured, and
    nobody knows.
    """
    cdef int64_t in_flight = f.data_end - f.acked
    cdef bint is_full = (
        f.data_end > f.acked and in_flight + f.full > peer.window > 0
        and 2 * (peer.window - in_flight) < peer.window_max
        and in_flight - f.full <= peer.window + (peer.window >> 3)
        and peer.flags & SAW_WINDOW and f.flags & HAS_ACKED
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
        f.closed_longest_before_ns = f.closed_longest_ns
        f.closed_longest_before_start_ns = f.closed_longest_start_ns
        f.closed_longest_ns = closed_ns
        f.closed_longest_start_ns = f.closed_since_ns
