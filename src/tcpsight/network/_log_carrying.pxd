# Logs of open connections as bytes, from one capture to the next. Links and bisection rely on the order of entries:
# it is looked at before it is believed.
from libc.stdint cimport int64_t, uint32_t
from tcpsight._door cimport Carried, read_carried, read_new, write_carried
from tcpsight.network._exchanges cimport MOST_NOTED, Exchange
from tcpsight.network._log cimport AGAIN, KEPT_ENTRIES, MOST_ENTRIES, MOST_LOG_BYTES, NOWHERE, Budget, Entry, Log


# --- out --------------------------------------------------------------------------------------------------------


cdef inline int64_t log_bytes(const Log *log) noexcept nogil:
    return log.count * <int64_t>sizeof(Entry)


cdef inline int64_t carried_bytes(const Exchange *x) noexcept nogil:
    return <int64_t>sizeof(Exchange) + log_bytes(&x.logs[0]) + log_bytes(&x.logs[1])


cdef inline void write_exchange(Carried *out, Exchange *x) noexcept nogil:
    cdef Exchange copy = x[0]
    cdef int d
    for d in range(2):
        copy.logs[d].entries = <Entry *><size_t>(x.logs[d].entries != NULL)
    write_carried(out, &copy, sizeof(Exchange))
    for d in range(2):
        write_carried(out, x.logs[d].entries, log_bytes(&x.logs[d]))


# --- in ---------------------------------------------------------------------------------------------------------


cdef inline bint is_right_entry(const Entry *entries, uint32_t i, uint32_t count) noexcept nogil:
    cdef const Entry *e = entries + i
    cdef uint32_t before = entries[i - 1].top if i else 0
    if e.payload <= 0 or e.start + <int64_t>e.payload > e.top or e.top < before:
        return False
    if e.flags & AGAIN:
        # Chained to what it repeats, which it does not go beyond.
        return i > 0 and e.link < i and e.top == before
    return e.link == NOWHERE or (i < e.link < count and (entries[e.link].flags & AGAIN) != 0)


cdef inline bint is_right_log(const Log *log) noexcept nogil:
    """Whether its entries are such as a log has, once they are there."""
    cdef const Entry *entries = log.entries
    cdef uint32_t i
    if log.lost > log.count or log.acked_at > log.count or log.repaired > log.count or log.duplicated > log.count + <uint32_t>1:
        return False
    if log.top != (entries[log.count - 1].top if log.count else 0):
        return False
    for i in range(log.count):
        if not is_right_entry(entries, i, log.count):
            return False
    return True


cdef inline bint is_right_size(const Log *log) noexcept nogil:
    """Whether it has grown as logs do: no further than its entries made it."""
    cdef uint32_t size = log.size
    if size & (size - 1) or size < KEPT_ENTRIES or size > MOST_ENTRIES or log.count > size:
        return False
    return size == KEPT_ENTRIES or 2 * <uint32_t>log.count > size


cdef inline bint read_log(Carried *from_, Log *log, bint has_entries, Budget *budget) noexcept nogil:
    cdef int64_t room
    if not has_entries:
        log.size = 0
        return log.count == 0 and is_right_log(log)
    room = log.size * <int64_t>sizeof(Entry)
    if not is_right_size(log) or budget.log_bytes + room > MOST_LOG_BYTES:
        return False
    if not read_new(from_, <void **>&log.entries, log.count * <int64_t>sizeof(Entry), room):
        return False
    budget.log_bytes += room
    return is_right_log(log)


cdef inline bint read_exchange(Carried *from_, Exchange *x, Budget *budgets) noexcept nogil:
    """Take a connection as it was; False if it is none. What was read of it then is to be given back as ever."""
    cdef bint has_entries[2]
    cdef int d
    if not read_carried(from_, x, sizeof(Exchange)):
        return False
    for d in range(2):
        has_entries[d] = x.logs[d].entries != NULL
        x.logs[d].entries = NULL
    x.is_used = True
    if x.noted > MOST_NOTED:
        return False
    for d in range(2):
        if not read_log(from_, &x.logs[d], has_entries[d], budgets + x.share):
            return False
    return True
