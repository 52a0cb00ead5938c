# A heap of deadlines. An entry is looked at only when it comes up: it may be stale (the connection ended, or was filed
# anew) or early (the connection was active since).
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from tcpsight.connections._slots cimport Slots, Timer, doubled
from tcpsight.connections._state cimport State


cdef inline bint earlier(const Timer *a, const Timer *b) noexcept nogil:
    return a.deadline < b.deadline or (a.deadline == b.deadline and a.connection_id < b.connection_id)


cdef inline void push_timer(Slots *s, int64_t deadline, int64_t connection_id, uint32_t slot) noexcept nogil:
    cdef int64_t i = s.timer_count, parent
    cdef Timer t
    t.deadline = deadline
    t.connection_id = connection_id
    t.slot = slot
    t.padding = 0
    s.timer_count += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not earlier(&t, &s.timers[parent]):
            break
        s.timers[i] = s.timers[parent]
        i = parent
    s.timers[i] = t


cdef inline void sift_down(Slots *s, int64_t i, Timer t) noexcept nogil:
    """Put t at place i or below, where it belongs."""
    cdef int64_t child
    while True:
        child = 2 * i + 1
        if child >= s.timer_count:
            break
        if child + 1 < s.timer_count and earlier(&s.timers[child + 1], &s.timers[child]):
            child += 1
        if not earlier(&s.timers[child], &t):
            break
        s.timers[i] = s.timers[child]
        i = child
    s.timers[i] = t


cdef inline void pop_timer(Slots *s) noexcept nogil:
    s.timer_count -= 1
    sift_down(s, 0, s.timers[s.timer_count])


cdef inline bint is_current(const Slots *s, const Timer *t) noexcept nogil:
    cdef const State *c = &s.states[t.slot]
    return c.connection_id == t.connection_id and c.filed_deadline == t.deadline


cdef inline void drop_stale(Slots *s) noexcept nogil:
    """Keep the entries of open connections only, so that a flood of short ones does not pile up here."""
    cdef int64_t i, kept = 0
    for i in range(s.timer_count):
        if is_current(s, &s.timers[i]):
            s.timers[kept] = s.timers[i]
            kept += 1
    s.timer_count = kept
    for i in range(kept // 2 - 1, -1, -1):
        sift_down(s, i, s.timers[i])


cdef inline int reserve_timers(Slots *s, int64_t count) noexcept nogil:
    cdef uint64_t need
    cdef void *fresh
    if s.timer_count + count <= s.timer_capacity:
        return 0
    drop_stale(s)
    # Grow unless that made ample room: otherwise the next batch would have to clean up again.
    if 2 * (s.timer_count + count) <= s.timer_capacity:
        return 0
    need = doubled(s.timer_capacity, 2 * (s.timer_count + count))
    fresh = realloc(s.timers, need * sizeof(Timer))
    if fresh == NULL:
        return -1
    s.timers = <Timer *>fresh
    s.timer_capacity = need
    return 0
