# The log of an exchange: what one direction sent, one entry per segment on the wire, in the order of capture.
#
# `top` never falls from entry to entry, so that the original of any byte is found by bisection; whatever was sent again
# is chained from its original: the original's link leads to the latest copy, a copy's link to the one before it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc

cdef enum:
    KEPT_ENTRIES = 16               # the room of a log that outlives its exchange
    MOST_KEPT_BYTES = 131072        # as long as the logs of a share take no more
    MOST_ENTRIES = 65536            # per direction, less one: a link of 16 bits means none
    MOST_LOG_BYTES = 3145728        # for the connections of a share, of which there are 256: one log as long as can be
    MOST_PIECES = 64                # of one captured segment, or of one hole
    MOST_OFFSET = 2147483647        # beyond the first byte of the exchange
    NEXT_REPAIRS = 16               # entries that are looked at for copies which a SACK block holds
    NOWHERE = 0xFFFF

cdef enum:
    # Bits of Entry.flags; `policing.py` reads them.
    LOST = 1                        # it was sent again, or it filled a hole late
    SPURIOUS = 2                    # but the receiver had it: not lost
    AGAIN = 4                       # a copy of what had been sent, or had been missed
    HOLE = 8                        # not captured: missed when what lay behind it was
    ACKED = 16                      # `waited_us` is known

cdef struct Entry:
    int64_t time_ns
    uint32_t waited_us              # until it was acknowledged, where ACKED; of a hole, until it showed
    uint32_t echoed_us              # from an ACK to this, the first that shows that it arrived; 0: no measurement
    uint32_t start                  # first byte, counted from the first byte of the exchange
    uint32_t top                    # one past the highest byte so far
    int32_t payload
    uint16_t link
    uint16_t flags
    uint32_t delivered_us           # until it was known to have arrived, by a duplicate ACK, too, where ACKED
    uint32_t padding

cdef struct Log:
    Entry *entries                  # NULL until there is one
    int64_t acked                   # by the latest acknowledgment, from the first byte of the exchange
    uint32_t top
    uint32_t size
    uint32_t least_waited_us        # of originals that were never sent again; 0 while there are none
    uint16_t count                  # MOST_ENTRIES - 1 at most
    uint16_t acked_at               # whatever lies before it is acknowledged
    uint16_t lost                   # entries with LOST and without SPURIOUS
    uint16_t window                 # in the latest acknowledgment
    uint8_t is_cut                  # something was not logged
    uint8_t uses_sack               # the other side reports what it has
    uint8_t padding[2]
    uint32_t missed                 # of the lost entries, those with HOLE
    uint32_t repaired               # before it there is no copy that is not acknowledged
    uint32_t duplicated             # before it, duplicate ACKs have told of whatever had arrived
    uint32_t probe                  # TSval of an ACK of the other side, not yet echoed
    int64_t probe_ns                # when `probe` was captured
    int64_t handshake_ns            # round trip of its SYN; 0 if unknown
    int64_t syn_ns                  # when its SYN was captured

cdef struct Budget:
    int64_t log_bytes


cdef inline uint32_t microseconds(int64_t ns) noexcept nogil:
    if ns >> 42:
        return 0xFFFFFFFFu          # more than an hour
    return <uint32_t>(ns // 1000) if ns > 0 else 0


cdef inline bint grow(Log *log, Budget *budget) noexcept nogil:
    """Make room for one more entry; False if there is none."""
    cdef uint32_t size = 2 * log.size if log.size else KEPT_ENTRIES
    cdef int64_t more = <int64_t>(size - log.size) * <int64_t>sizeof(Entry)
    cdef Entry *fresh
    if size > MOST_ENTRIES or budget.log_bytes + more > MOST_LOG_BYTES:
        return False
    fresh = <Entry *>realloc(log.entries, size * sizeof(Entry))
    if fresh == NULL:
        return False
    log.entries = fresh
    log.size = size
    budget.log_bytes += more
    return True


cdef inline void give_back(Log *log, Budget *budget) noexcept nogil:
    if log.entries != NULL:
        budget.log_bytes -= log.size * <int64_t>sizeof(Entry)
        free(log.entries)
        log.entries = NULL
    log.size = 0


cdef inline void forget(Log *log, Budget *budget) noexcept nogil:
    """End the exchange. Memory of a short one is kept for the next, unless memory is short."""
    if log.size > KEPT_ENTRIES or budget.log_bytes > MOST_KEPT_BYTES or log.entries == NULL:
        give_back(log, budget)
    log.count = log.acked_at = log.top = log.lost = log.missed = log.repaired = log.duplicated = 0
    log.least_waited_us = 0
    log.is_cut = False


cdef inline uint32_t find(Log *log, int64_t at) noexcept nogil:
    """The original that holds a byte, or the first one above it; `count` if there is none."""
    cdef const Entry *entries = log.entries
    cdef uint32_t low = 0, high = log.count, middle
    while low < high:
        middle = (low + high) >> 1
        if entries[middle].top <= at:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline bint add(
    Log *log, Budget *budget, int64_t now, int64_t start, int64_t payload, uint32_t flags
) noexcept nogil:
    """Log a segment on the wire; False if there is no room."""
    cdef Entry *e
    if log.count == MOST_ENTRIES - 1 or (log.count == log.size and not grow(log, budget)):
        log.is_cut = True
        return False
    e = log.entries + log.count
    log.count += 1
    if start + payload > log.top:
        log.top = <uint32_t>(start + payload)
    e.time_ns = now
    e.waited_us = e.echoed_us = e.delivered_us = e.padding = 0
    e.start = <uint32_t>start
    e.top = log.top
    e.link = NOWHERE
    e.payload = <int32_t>payload
    e.flags = <uint16_t>flags
    return True


cdef inline void mark_lost(Log *log, Entry *e) noexcept nogil:
    if e.flags & LOST:
        return
    e.flags |= LOST
    log.lost += 1
    log.missed += (e.flags & HOLE) != 0


cdef inline void add_again(
    Log *log, Budget *budget, int64_t now, int64_t start, int64_t payload, int64_t overtaking_ns
) noexcept nogil:
    """A segment with bytes that were sent before, or that were missed: what it repeats was lost."""
    cdef uint32_t i = find(log, start)
    cdef uint32_t latest
    cdef Entry *e
    if i == log.count or log.entries[i].start > start:
        return                      # from before the log, or beyond where it was cut
    e = log.entries + i
    if e.flags & HOLE and e.link == NOWHERE and now - (e.time_ns + 1000 * <int64_t>e.waited_us) < overtaking_ns:
        e.flags &= ~HOLE  # overtaken on the way: it passed
        return
    latest = e.link if e.link != NOWHERE else i
    if not e.flags & ACKED:         # what had been acknowledged was sent again needlessly
        mark_lost(log, log.entries + latest)
    if add(log, budget, now, start, payload, AGAIN):
        log.entries[log.count - 1].link = <uint16_t>latest
        log.entries[i].link = <uint16_t>(log.count - 1)


# --- acknowledgments --------------------------------------------------------------------------------------------


cdef inline void mark_spurious(Log *log, Entry *e) noexcept nogil:
    """It turned out that it had arrived."""
    if (e.flags & (LOST | SPURIOUS)) != LOST:
        return
    e.flags |= SPURIOUS
    log.lost -= 1
    log.missed -= (e.flags & HOLE) != 0


cdef inline void excuse(Log *log, Entry *copy, int64_t now) noexcept nogil:
    """An acknowledgment that comes sooner than a copy can have called it out is of what was sent before the copy."""
    cdef int64_t least_ns = 1000 * <int64_t>log.least_waited_us
    if log.handshake_ns > 0 and (least_ns == 0 or log.handshake_ns < least_ns):
        least_ns = log.handshake_ns
    least_ns -= (least_ns + 7) >> 3
    while copy.flags & AGAIN and now - copy.time_ns < least_ns:
        copy = log.entries + copy.link
        if copy.flags & HOLE:
            return                  # that one never came by here
        mark_spurious(log, copy)


cdef inline void acknowledge(Log *log, Entry *e, int64_t now) noexcept nogil:
    """An original was acknowledged, and with it its latest copy."""
    cdef Entry *copy
    e.flags |= ACKED
    if not e.flags & HOLE:
        e.waited_us = microseconds(now - e.time_ns)
        if e.delivered_us == 0:
            e.delivered_us = e.waited_us
    if e.link != NOWHERE:
        copy = log.entries + e.link
        copy.waited_us = copy.delivered_us = microseconds(now - copy.time_ns)
        copy.flags |= ACKED
        excuse(log, copy, now)
    elif not e.flags & HOLE and (log.least_waited_us == 0 or e.waited_us < log.least_waited_us):
        log.least_waited_us = e.waited_us if e.waited_us else 1


cdef inline void take_cumulative(Log *log, int64_t acked, int64_t now) noexcept nogil:
    cdef Entry *entries = log.entries
    cdef Entry *e
    while log.acked_at < log.count and entries[log.acked_at].top <= acked:
        e = entries + log.acked_at
        log.acked_at += 1
        if not e.flags & (ACKED | AGAIN):
            acknowledge(log, e, now)


cdef inline void take_duplicate(Log *log, int64_t now) noexcept nogil:
    """A duplicate ACK without SACK: something behind the first hole has arrived, the lowest segment as far as we know."""
    cdef Entry *entries = log.entries
    cdef Entry *e
    if log.duplicated <= log.acked_at:
        log.duplicated = log.acked_at + 1
    while log.duplicated < log.count:
        e = entries + log.duplicated
        log.duplicated += 1
        if not e.flags & (ACKED | AGAIN | HOLE):
            e.delivered_us = microseconds(now - e.time_ns)
            return


cdef inline void take_block(Log *log, int64_t left, int64_t right, int64_t now) noexcept nogil:
    """A SACK block: what it newly holds lies at its ends, so that what was known stops the walk."""
    cdef Entry *entries = log.entries
    cdef Entry *e
    cdef int64_t i
    if left < 0 or right > log.top or right <= left:
        return
    i = find(log, right - 1)
    while i >= <int64_t>log.acked_at and entries[i].top > left:
        e = entries + i
        i -= 1
        if e.flags & AGAIN:
            continue
        if e.flags & ACKED or e.start < left:
            break
        if e.start + <int64_t>e.payload <= right:
            acknowledge(log, e, now)
    i = find(log, left)
    while i < <int64_t>log.count and entries[i].start + <int64_t>entries[i].payload <= right:
        e = entries + i
        i += 1
        if e.flags & AGAIN:
            continue
        if e.flags & ACKED:
            break
        if e.start >= left:
            acknowledge(log, e, now)


cdef inline bint is_repaired(Log *log, uint32_t i) noexcept nogil:
    """Whether there is nothing to wait for at an entry: no copy, or one whose original is acknowledged."""
    cdef Entry *entries = log.entries
    return not entries[i].flags & AGAIN or (entries[find(log, entries[i].start)].flags & ACKED) != 0


cdef inline void take_repairs(Log *log, int64_t left, int64_t right, int64_t now) noexcept nogil:
    """Copies fill holes inside of blocks, where the walk from the ends does not come: look at the oldest few."""
    cdef Entry *e
    cdef uint32_t i
    while log.repaired < log.count and is_repaired(log, log.repaired):
        log.repaired += 1
    for i in range(log.repaired, log.count if log.count < log.repaired + NEXT_REPAIRS else log.repaired + NEXT_REPAIRS):
        if is_repaired(log, i):
            continue
        e = log.entries + find(log, log.entries[i].start)
        if left <= e.start and e.start + <int64_t>e.payload <= right:
            acknowledge(log, e, now)


cdef inline void take_repeated(Log *log, int64_t left, int64_t right) noexcept nogil:
    """A D-SACK block: the receiver got these bytes twice, so the last copy but one was not lost (RFC 2883)."""
    cdef uint32_t i
    cdef Entry *e
    if left < 0:
        return
    i = find(log, left)
    if i == log.count:
        return
    e = log.entries + i
    if e.start < left or e.start + <int64_t>e.payload > right or e.link == NOWHERE:
        return
    mark_spurious(log, log.entries + log.entries[e.link].link)
