# When data are outstanding at their sender, and whether what looks like a pause here is one there.
from libc.stdint cimport int64_t
from tcpsight.network._recovery cimport value_difference
from tcpsight.network._state cimport BUSY, HAS_ACKED, HAS_LAST_VALUE, HAS_MORE, Flow, Slot, smaller
from tcpsight.tables cimport FLAG_PSH, OPTION_TIMESTAMPS, Header, Segment


cdef inline void note_more(Flow *f, const Segment *g) noexcept nogil:
    """Whether the sender of these data has more: who has none says so (RFC 9293 §3.9.1.2), and what is not full can't tell."""
    if g.flags & FLAG_PSH or g.payload_bytes < f.full or f.full == 0:
        f.flags &= ~HAS_MORE
    else:
        f.flags |= HAS_MORE


cdef inline void end_busy(
    Slot *slot, Flow *f, const Flow *peer, const Segment *g, const Header *h, int64_t now
) noexcept nogil:
    """All data of this direction are acknowledged, by a segment whose timestamp the next data will echo.

    They do if it begins where this direction had acknowledged the peer's data (RFC 7323 §4.3); otherwise it is not known.
    """
    f.flags &= ~(BUSY | HAS_LAST_VALUE)
    f.non_idle_ns += now - f.busy_since_ns
    f.busy_since_ns = now
    if h.options & OPTION_TIMESTAMPS and peer.flags & HAS_ACKED and g.offset <= peer.acked:
        f.flags |= HAS_LAST_VALUE
        slot.last_value[f != &slot.flows[0]] = h.timestamp_value


cdef inline void begin_busy(Slot *slot, Flow *f, const Flow *peer, const Header *h, int64_t now) noexcept nogil:
    """Data are sent while none were in flight: how much of the pause before them is none at their sender?

    All of it, if they echo an older timestamp than that of the last acknowledgment: they were on their way here, in a
    queue perhaps, when it passed. Otherwise no more than passed since the peer's last data, which they acknowledge.
    """
    cdef int d = f != &slot.flows[0]
    cdef int64_t pause_ns = now - f.busy_since_ns
    f.flags |= BUSY
    f.busy_since_ns = now
    if slot.leap:
        return  # whether so long passed is not known yet; no queue is so long
    if (
        f.flags & HAS_LAST_VALUE and h.options & OPTION_TIMESTAMPS and h.timestamp_echo
        and value_difference(h.timestamp_echo, slot.last_value[d]) < 0
    ):
        f.non_idle_ns += pause_ns
        return
    if peer.sent_ns and peer.flags & HAS_ACKED and peer.acked >= peer.data_end:
        pause_ns = smaller(pause_ns, now - peer.sent_ns)
    f.unseen_pause_ns += pause_ns
    if f.flags & HAS_MORE:
        f.doubtful_pause_ns += pause_ns
