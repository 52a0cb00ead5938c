# A connection's clock: it never runs back, and a leap of more than an hour is taken back if the next segment denies it.
cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from tcpsight.network._sent cimport mark_unclean, sent_at
from tcpsight.network._state cimport (
    BUSY, HAS_HOLES, IS_BELOW_MSS, IS_CLOSED, IS_FULL, MOST_RESENT, Flow, Pattern, Rare, Slot, larger, smaller,
)

cdef enum:
    # A segment that is stamped before the connection's latest one by more is behind: until segments have caught up, round
    # trips are not measured. Frames of several queues are late by less, mostly, and lose none.
    SLACK_NS = 1000000
    # Frames of one file are out of order by less; a clock that goes back by as much was set. The one asks whether a segment
    # was overtaken (_recovery.pxd), the other whether rates are over the time that passed. cli/notes.py says it, too.
    MOST_DISORDER_NS = 10000000

cdef enum:
    CONFIRMING = 3                  # segments in a row, as for the whole capture

cdef extern from *:
    """
    #define TCPSIGHT_LEAP_NS INT64_C(3600000000000)
    """
    const int64_t LEAP_NS "TCPSIGHT_LEAP_NS"    # `connections` wants such a jump of the capture's clock confirmed, too

cdef enum:
    # Bits of Slot.leap: there was one, or the connection began with it; what was under way before it, by direction.
    LEAPT = 1
    OPENED = 2
    WAS_BUSY = 4
    WAS_CLOSED = 16
    WAS_FULL = 64
    WAS_BELOW_MSS = 256


@cython.overflowcheck(False)  # modular on purpose
cdef inline bint is_later_by(int64_t t, int64_t then, uint64_t nanoseconds) noexcept nogil:
    return t > then and <uint64_t>t - <uint64_t>then > nanoseconds


@cython.overflowcheck(False)
cdef inline bint is_odd(const Slot *slot, int64_t time_ns) noexcept nogil:
    """Whether this time needs a closer look: before the last one, far behind it, or the one after such a time."""
    return <uint64_t>time_ns - <uint64_t>slot.last_ns >= slot.usual_ns


cdef inline void mark_untimed(Rare *rare) noexcept nogil:
    """Note that of all holes that are open nobody knows when they were; those before one that is marked are."""
    cdef uint32_t i = rare.hole_count
    while i > 0 and not rare.holes[i - 1].is_untimed:
        i -= 1
        rare.holes[i].is_untimed = True


cdef inline void distrust(Slot *slot) noexcept nogil:
    """Clocks were set: what was sent before can't be timed, nor what comes until they have caught up."""
    cdef int d
    for d in range(2):
        mark_unclean(&slot.flows[d], INT64_MIN)
        if slot.flows[d].flags & HAS_HOLES:
            mark_untimed(slot.flows[d].rare)
        slot.flows[d].stamps_head = slot.flows[d].stamps_count = 0


cdef inline uint16_t under_way(const Slot *slot) noexcept nogil:
    cdef uint16_t found = 0
    cdef int d
    for d in range(2):
        found |= (WAS_BUSY << d) if slot.flows[d].flags & BUSY else 0
        found |= (WAS_CLOSED << d) if slot.flows[d].flags & IS_CLOSED else 0
        found |= (WAS_FULL << d) if slot.flows[d].flags & IS_FULL else 0
        found |= (WAS_BELOW_MSS << d) if slot.flows[d].flags & IS_BELOW_MSS else 0
    return found


cdef inline void bring_back(int64_t *time_ns, int64_t leap_ns, int64_t to_ns) noexcept nogil:
    if time_ns[0] == leap_ns:
        time_ns[0] = to_ns


cdef inline void bring_back_pattern(Pattern *p, int64_t leap_ns, int64_t to_ns) noexcept nogil:
    bring_back(&p.first_ns, leap_ns, to_ns)
    bring_back(&p.last_ns, leap_ns, to_ns)


cdef inline void bring_back_rare(Rare *rare, int64_t leap_ns, int64_t to_ns) noexcept nogil:
    cdef int i
    for i in range(MOST_RESENT):
        bring_back(&rare.resent[i].time_ns, leap_ns, to_ns)
    for i in range(<int>rare.hole_count):
        bring_back(&rare.holes[i].time_ns, leap_ns, to_ns)


cdef inline void bring_back_flow(Flow *f, int was, int64_t leap_ns, int64_t to_ns) noexcept nogil:
    """Every instant that the leap gave becomes the one before it; what it ended loses the leap's length."""
    cdef int64_t length = leap_ns - to_ns
    cdef uint32_t i
    if was & WAS_BUSY and not f.flags & BUSY:
        f.non_idle_ns -= length
    if was & WAS_FULL and not f.flags & IS_FULL:
        f.full_ns -= length
    if was & WAS_BELOW_MSS and not f.flags & IS_BELOW_MSS:
        f.below_mss_ns -= length
    if was & WAS_CLOSED and not f.flags & IS_CLOSED:
        f.closed_ns -= length
        if f.closed_longest_start_ns + f.closed_longest_ns == leap_ns:
            f.closed_longest_ns -= length
            if f.closed_longest_ns <= f.closed_longest_before_ns:
                f.closed_longest_ns = f.closed_longest_before_ns
                f.closed_longest_start_ns = f.closed_longest_before_start_ns
    bring_back(&f.busy_since_ns, leap_ns, to_ns)
    bring_back(&f.full_since_ns, leap_ns, to_ns)
    bring_back(&f.below_mss_since_ns, leap_ns, to_ns)
    bring_back(&f.closed_since_ns, leap_ns, to_ns)
    bring_back(&f.progress_ns, leap_ns, to_ns)
    bring_back(&f.sent_ns, leap_ns, to_ns)
    bring_back(&f.delayed_ack_ns, leap_ns, to_ns)
    bring_back(&f.echoed_ns, leap_ns, to_ns)
    bring_back(&f.stall.start_ns, leap_ns, to_ns)
    bring_back(&f.stall.end_ns, leap_ns, to_ns)
    bring_back(&f.longest.start_ns, leap_ns, to_ns)
    bring_back(&f.longest.end_ns, leap_ns, to_ns)
    bring_back_pattern(&f.high, leap_ns, to_ns)
    bring_back_pattern(&f.nagle, leap_ns, to_ns)
    bring_back_pattern(&f.restart, leap_ns, to_ns)
    bring_back_pattern(&f.echo_high, leap_ns, to_ns)
    for i in range(f.count):
        bring_back(&sent_at(f, i).time_ns, leap_ns, to_ns)
    if f.rare != NULL:
        bring_back_rare(f.rare, leap_ns, to_ns)


cdef inline void take_leap_back(Slot *slot, int64_t time_ns) noexcept nogil:
    """The clock had leapt: that time did not pass. What began with it began at `time_ns`."""
    cdef int64_t to_ns = time_ns if slot.leap & OPENED else slot.leap_from_ns
    cdef int d
    distrust(slot)
    for d in range(2):
        bring_back_flow(&slot.flows[d], slot.leap >> d, slot.last_ns, to_ns)
    if slot.leap & OPENED:
        slot.first_ns = to_ns
    slot.last_ns = to_ns
    slot.leap = 0


cdef inline void note_step(Slot *slot, int64_t time_ns, bint is_behind) noexcept nogil:
    """Add up how far the clock was set back, each time by the farthest until it has caught up.

    One or two segments that are late in the file are no step.
    """
    cdef int64_t behind_ns = 0
    slot.behind_count = <uint8_t>smaller(slot.behind_count + 1, CONFIRMING) if is_behind else 0
    if is_behind:
        if slot.behind_count < CONFIRMING:
            return
        behind_ns = INT64_MAX if is_later_by(slot.last_ns, time_ns, <uint64_t>INT64_MAX) else slot.last_ns - time_ns
        if behind_ns < MOST_DISORDER_NS or behind_ns <= slot.behind_ns:
            return
        slot.stepped_ns = smaller(slot.stepped_ns, INT64_MAX - behind_ns) + behind_ns - slot.behind_ns
    slot.behind_ns = behind_ns


cdef inline void take_odd_time(Slot *slot, int64_t time_ns) noexcept nogil:
    """Move the clock, and see whether what is under way can still be timed.

    Round trips count by the times of segments themselves, unless the clock is behind.
    """
    cdef bint is_behind
    if time_ns == slot.last_ns and slot.flows[0].segments + slot.flows[1].segments == 0:
        return  # that it opened with: the next one tells
    if slot.leap and is_later_by(slot.last_ns, time_ns, LEAP_NS):
        take_leap_back(slot, time_ns)
    slot.leap = 0
    if is_later_by(time_ns, slot.last_ns, LEAP_NS):
        slot.leap = <uint16_t>(LEAPT | under_way(slot))
        slot.leap_from_ns = slot.last_ns
        distrust(slot)
    slot.last_ns = larger(slot.last_ns, time_ns)
    is_behind = time_ns < slot.last_ns - SLACK_NS
    if is_behind or slot.is_behind:
        note_step(slot, time_ns, is_behind)
        distrust(slot)
        slot.is_behind = is_behind
    slot.usual_ns = 0 if slot.leap or is_behind else <uint64_t>LEAP_NS
