"""Puts rows with the same endpoint together: a table of hashes with open addressing, then a sort by counting.

Whoever contrives addresses can make their hashes alike, and every row walk past all the others. So steps are counted,
and where they are too many the rows are left to somebody who sorts.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

cdef enum:
    FIRST_SIZE = 1024       # of the table; a power of two
    MOST_STEPS = 16         # for each row, on average, beside as many as the first table has places

cdef enum:
    FINE = 0
    CONTRIVED = 1
    NO_MEMORY = 2

cdef struct Groups:
    const uint8_t *rows
    int64_t row_bytes
    int64_t row_count
    int64_t address_at      # where in a row
    int64_t port_at         # -1: ports do not matter
    int64_t version_at
    int64_t *firsts         # first row of each group
    int64_t *counts         # its rows
    int64_t count           # groups so far
    int32_t *of             # group of each row
    int32_t *table          # a group and one; 0: none
    int64_t size
    int64_t steps


cdef inline uint16_t port_of(const Groups *g, const uint8_t *row) noexcept nogil:
    cdef uint16_t port = 0
    if g.port_at >= 0:
        memcpy(&port, row + g.port_at, 2)
    return port


@cython.overflowcheck(False)
cdef inline uint64_t hash_of(const Groups *g, const uint8_t *row) noexcept nogil:
    """Products with odd numbers that have bits all over, folded."""
    cdef uint64_t halves[2]
    cdef uint64_t rest = <uint64_t>port_of(g, row) << 8 | row[g.version_at]
    cdef uint64_t mixed
    memcpy(halves, row + g.address_at, 16)
    mixed = (
        halves[0] * <uint64_t>0x9E3779B97F4A7C15
        ^ halves[1] * <uint64_t>0xC2B2AE3D27D4EB4F
        ^ rest * <uint64_t>0x165667B19E3779F9
    )
    mixed = (mixed ^ mixed >> 32) * <uint64_t>0x9E3779B97F4A7C15
    return mixed >> 32


cdef inline bint is_same(const Groups *g, const uint8_t *one, const uint8_t *other) noexcept nogil:
    return (
        memcmp(one + g.address_at, other + g.address_at, 16) == 0
        and one[g.version_at] == other[g.version_at]
        and port_of(g, one) == port_of(g, other)
    )


cdef inline int64_t place_of(Groups *g, const uint8_t *row) noexcept nogil:
    """Find the place in the table of the group of a row, or where it would stand."""
    cdef int64_t mask = g.size - 1
    cdef int64_t place = <int64_t>hash_of(g, row) & mask
    cdef int32_t there = g.table[place]
    while there and not is_same(g, g.rows + g.firsts[there - 1] * g.row_bytes, row):
        g.steps += 1
        place = (place + 1) & mask
        there = g.table[place]
    return place


cdef int grow(Groups *g) noexcept nogil:
    """Make the table four times as large."""
    cdef int64_t i
    free(g.table)
    g.size = 4 * g.size if g.size else FIRST_SIZE
    g.table = <int32_t *>calloc(<size_t>g.size, sizeof(int32_t))
    if g.table == NULL:
        return NO_MEMORY
    for i in range(g.count):
        g.table[place_of(g, g.rows + g.firsts[i] * g.row_bytes)] = <int32_t>(i + 1)
    return FINE


cdef int group_rows(Groups *g) noexcept nogil:
    """Tell the group of each row; groups are numbered in order of appearance."""
    cdef int64_t most = MOST_STEPS * g.row_count + FIRST_SIZE
    cdef int64_t i, place
    for i in range(g.row_count):
        if 2 * g.count >= g.size and grow(g) != FINE:
            return NO_MEMORY
        place = place_of(g, g.rows + i * g.row_bytes)
        if g.table[place] == 0:
            g.firsts[g.count] = i
            g.counts[g.count] = 0
            g.count += 1
            g.table[place] = <int32_t>g.count
        g.of[i] = g.table[place] - 1
        g.counts[g.of[i]] += 1
        if g.steps > most:
            return CONTRIVED
    return FINE


cdef int sort_rows(const Groups *g, int64_t *order) noexcept nogil:
    """Write the rows of each group in their order, group by group."""
    cdef int64_t *places = <int64_t *>malloc(<size_t>g.count * sizeof(int64_t))
    cdef int64_t total = 0
    cdef int64_t i
    if places == NULL:
        return NO_MEMORY
    for i in range(g.count):
        places[i] = total
        total += g.counts[i]
    for i in range(g.row_count):
        order[places[g.of[i]]] = i
        places[g.of[i]] += 1
    free(places)
    return FINE


def group(
    const uint8_t[::1] rows not None,
    int64_t row_bytes,
    const int64_t[::1] places not None,
    int64_t[::1] order not None,
    int64_t[::1] firsts not None,
    int64_t[::1] counts not None,
):
    """Group rows by endpoint; give how many groups there are, or -1 where hashes are contrived.

    Parameters
    ----------
    rows : bytes of rows
        Any table's.
    row_bytes : int
        Of a row.
    places : ndarray of int64, shape (3,)
        Where in a row the address, the port (-1: it does not matter) and the IP version lie.
    order : ndarray of int64, shape (rows,)
        Filled with the rows of the first group in their order, then those of the second, and so on.
    firsts, counts : ndarray of int64, shape (rows,)
        Filled with the first row of each group, in order of appearance, and how many it has.
    """
    cdef Groups g
    cdef int wrong
    cdef int64_t n = rows.shape[0] // row_bytes if row_bytes > 0 else 0
    if row_bytes <= 0 or n * row_bytes != rows.shape[0] or n >= 1 << 30:
        raise ValueError("not whole rows, or too many")
    if order.shape[0] < n or firsts.shape[0] < n or counts.shape[0] < n:
        raise ValueError("too little room for the groups")
    if places.shape[0] != 3 or not (
        0 <= places[0] <= row_bytes - 16 and -1 <= places[1] <= row_bytes - 2 and 0 <= places[2] < row_bytes
    ):
        raise ValueError("an endpoint's columns lie outside the row")
    if n == 0:
        return 0
    g = Groups(
        rows=&rows[0], row_bytes=row_bytes, row_count=n, address_at=places[0], port_at=places[1],
        version_at=places[2], firsts=&firsts[0], counts=&counts[0], count=0, of=NULL, table=NULL, size=0, steps=0,
    )
    g.of = <int32_t *>malloc(<size_t>n * sizeof(int32_t))
    if g.of == NULL:
        raise MemoryError
    with nogil:
        wrong = group_rows(&g)
        if wrong == FINE:
            wrong = sort_rows(&g, &order[0])
    free(g.of)
    free(g.table)
    if wrong == NO_MEMORY:
        raise MemoryError
    return g.count if wrong == FINE else -1
