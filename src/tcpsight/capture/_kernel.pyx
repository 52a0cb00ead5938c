"""Walks over the records of a buffer: one row per frame, no Python between frames.

A walk is told where the unconsumed bytes of a buffer lie and fills rows until the buffer holds no whole
record, the rows are full, or a record needs somebody else. It keeps only numbers; it knows no file.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from tcpsight.tables cimport Frame

cdef extern from *:
    """
    #define swap16(x) __builtin_bswap16(x)
    #define swap32(x) __builtin_bswap32(x)
    """
    uint16_t swap16(uint16_t value) noexcept nogil
    uint32_t swap32(uint32_t value) noexcept nogil

# What stopped a walk.
MORE = _MORE
FULL = _FULL
BLOCK = _BLOCK
BAD_LENGTH = _BAD_LENGTH
BAD_TRAILER = _BAD_TRAILER
BAD_INTERFACE = _BAD_INTERFACE
BAD_CAPTURED = _BAD_CAPTURED

cdef enum:
    _MORE = 0  # the buffer ends in the middle of a record, or between two
    _FULL = 1  # no row is left
    _BLOCK = 2  # a pcapng block that is not a packet
    _BAD_LENGTH = 3
    _BAD_TRAILER = 4
    _BAD_INTERFACE = 5
    _BAD_CAPTURED = 6

# How the two length fields of a classic record are ordered; see pcap.py.
cdef enum:
    ORDER_CAPTURED_FIRST = 0
    ORDER_WIRE_FIRST = 1
    ORDER_SMALLER_IS_CAPTURED = 2


cdef inline uint16_t load16(const uint8_t *at, bint is_swapped) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return swap16(value) if is_swapped else value


cdef inline uint32_t load32(const uint8_t *at, bint is_swapped) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return swap32(value) if is_swapped else value


cdef class PcapWalk:
    """The walk over the records of one classic pcap file."""

    cdef readonly int64_t position
    cdef readonly int64_t need
    cdef readonly int64_t frames
    cdef readonly int status
    cdef bint is_swapped
    cdef int header_bytes, length_order
    cdef int64_t tick_ns
    cdef uint32_t limit
    cdef uint16_t link_type, file

    def __init__(
        self, *, bint is_swapped, int header_bytes, int length_order, int64_t tick_ns, uint32_t limit,
        uint16_t link_type, uint16_t file,
    ):
        self.is_swapped = is_swapped
        self.header_bytes = header_bytes
        self.length_order = length_order
        self.tick_ns = tick_ns
        self.limit = limit
        self.link_type = link_type
        self.file = file

    def walk(self, const uint8_t[::1] data, int64_t start, int64_t end, uint8_t[::1] rows):
        """Fill `rows` from ``data[start:end]``; give how many. `status`, `position` and `need` tell the rest."""
        cdef Py_ssize_t count
        if start < 0 or end < start or end > data.shape[0] or data.shape[0] == 0:
            raise ValueError("the part to walk lies outside the buffer")
        if rows.shape[0] < <Py_ssize_t>sizeof(Frame):
            raise ValueError("there is no row to fill")
        self.position = start
        with nogil:
            # Two calls, so that the compiler makes two loops.
            if self.is_swapped:
                count = self.records(&data[0], end, <Frame *>&rows[0], rows.shape[0] // sizeof(Frame), True)
            else:
                count = self.records(&data[0], end, <Frame *>&rows[0], rows.shape[0] // sizeof(Frame), False)
        return count

    cdef inline Py_ssize_t records(self, const uint8_t *data, int64_t end, Frame *row, Py_ssize_t most,
                                   bint is_swapped) noexcept nogil:
        cdef int64_t position = self.position, frames = self.frames, header = self.header_bytes
        cdef int64_t tick_ns = self.tick_ns
        cdef uint32_t captured, wire, limit = self.limit
        cdef const uint8_t *at
        cdef Py_ssize_t count = 0
        self.status, self.need = _FULL, 0
        while count < most:
            at = data + position
            if end - position < header:
                self.status, self.need = _MORE, header
                break
            captured = load32(at + 8, is_swapped)
            wire = load32(at + 12, is_swapped)
            if self.length_order and (self.length_order == ORDER_WIRE_FIRST or captured > wire):
                captured, wire = wire, captured
            if captured > limit:
                self.status = _BAD_LENGTH
                break
            if end - position - header < captured:
                self.status, self.need = _MORE, header + captured
                break
            frames += 1
            row.frame_number = frames
            row.time_ns = load32(at, is_swapped) * <int64_t>1_000_000_000 + load32(at + 4, is_swapped) * tick_ns
            row.position = position + header
            row.frame_in_file = frames
            row.captured_bytes = captured
            row.wire_bytes = wire
            row.interface_id = 0
            row.link_type = self.link_type
            row.file = self.file
            row += 1
            count += 1
            position += header + captured
        self.position, self.frames = position, frames
        return count
