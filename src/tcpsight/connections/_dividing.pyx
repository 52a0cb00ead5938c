# cython: language_level=3
"""Loop over headers that hands each to the part its connection belongs to."""
from libc.stdint cimport int32_t, int64_t, uint8_t
from tcpsight._door cimport rows_of, start_of
from tcpsight.connections._shares cimport share_of
from tcpsight.tables cimport Header

cdef enum:
    MOST_PARTS = 256        # as many as there are shares

cdef struct Part:
    Header *headers
    int32_t *rows
    int64_t count


cdef void hand_out(
    const Header *headers, int64_t n, const uint8_t *part_of, Part *parts, int64_t *times
) noexcept nogil:
    cdef const Header *h
    cdef Part *part
    cdef int64_t i
    for i in range(n):
        h = headers + i
        times[i] = h.time_ns
        part = parts + part_of[share_of(h.source_address, h.source_port, h.destination_address, h.destination_port)]
        part.headers[part.count] = h[0]
        part.rows[part.count] = <int32_t>i
        part.count += 1


def divide(
    const uint8_t[::1] headers not None,
    const uint8_t[::1] part_of not None,
    list blocks not None,
    int64_t[::1] times not None,
):
    """Copy each header to the block of its part; give how many each got.

    Parameters
    ----------
    headers : bytes of Headers rows
        All of a batch.
    part_of : array of uint8, shape (256,)
        The part of each share, below the number of blocks.
    blocks : list of (bytes, array of int32)
        Of each part, room for as many Headers rows as there are, and for where among all they were; overwritten.
    times : array of int64
        Room for the times of all headers; overwritten.
    """
    cdef Part parts[MOST_PARTS]
    cdef uint8_t[::1] block
    cdef int32_t[::1] rows
    cdef int64_t i, n = rows_of(headers, sizeof(Header))
    cdef int64_t count = len(blocks)
    cdef const Header *first = <const Header *>start_of(headers)
    if part_of.shape[0] != 256 or not 0 < count <= MOST_PARTS or times.shape[0] < n or n > 0x7FFFFFFF:
        raise ValueError("shares, parts or times do not fit")
    for i in range(256):
        if part_of[i] >= count:
            raise ValueError("a share belongs to no part")
    if n == 0:
        return [0] * count
    for i in range(count):
        block, rows = blocks[i]
        if rows_of(block, sizeof(Header)) < n or rows.shape[0] < n:
            raise ValueError("too little room for a part")
        parts[i].headers = <Header *>&block[0]
        parts[i].rows = &rows[0]
        parts[i].count = 0
    with nogil:
        hand_out(first, n, &part_of[0], parts, &times[0])
    return [parts[i].count for i in range(count)]
