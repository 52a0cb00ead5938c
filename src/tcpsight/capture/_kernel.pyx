"""Walks over the records of a buffer: one row per frame, no Python between frames.

A walk is told where the unconsumed bytes of a buffer lie and fills rows until the buffer holds no whole
record, the rows are full, or a record needs somebody else. It keeps only numbers; it knows no file.
(Attributes are not changed in place, ``a = a + 1``: with overflow checks Cython refuses ``a += 1`` without the GIL.)
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tcpsight._door cimport prefetch
from tcpsight.capture._bytes cimport load16, load32, load64
from tcpsight.tables cimport Frame

cdef extern from *:
    """
    #define SECOND ((int64_t)1000000000)
    #define TIME_LIMIT (((int64_t)1 << 62) - 1)
    """
    int64_t SECOND
    int64_t TIME_LIMIT  # the same as reader.TIME_LIMIT_NS

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

cdef enum:
    # Each record's place is told by the one before it. Of short records many lie within so many bytes, of long ones
    # this is where a later one begins if they are of one length: cache lines are fetched while the first is read.
    FETCH_AHEAD = 4096
    FETCH_RECORDS = 4

# How the two length fields of a classic record are ordered; see pcap.py.
cdef enum:
    ORDER_CAPTURED_FIRST = 0
    ORDER_WIRE_FIRST = 1
    ORDER_SMALLER_IS_CAPTURED = 2


@cython.final
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
        cdef int length_order = self.length_order
        cdef uint16_t link_type = self.link_type, file = self.file
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
            if length_order and (length_order == ORDER_WIRE_FIRST or captured > wire):
                captured, wire = wire, captured
            if captured > limit:
                self.status = _BAD_LENGTH
                break
            if end - position - header < captured:
                self.status, self.need = _MORE, header + captured
                break
            prefetch(at + max(<int64_t>FETCH_AHEAD, FETCH_RECORDS * (header + captured)))
            frames += 1
            row.frame_number = frames
            row.time_ns = load32(at, is_swapped) * SECOND + load32(at + 4, is_swapped) * tick_ns
            row.position = position + header
            row.frame_in_file = frames
            row.captured_bytes = captured
            row.wire_bytes = wire
            row.interface_id = 0
            row.link_type = link_type
            row.file = file
            row += 1
            count += 1
            position += header + captured
        self.position, self.frames = position, frames
        return count


# Columns of the table of interfaces that a pcapng walk is given.
INTERFACE_COLUMNS = _INTERFACE_COLUMNS
LINK_TYPE = _LINK_TYPE
SNAPLEN = _SNAPLEN
CLOCK = _CLOCK
FACTOR = _FACTOR
OFFSET_NS = _OFFSET_NS
DROPS = _DROPS

cdef enum:
    _LINK_TYPE = 0
    _SNAPLEN = 1
    _CLOCK = 2  # how ticks become nanoseconds
    _FACTOR = 3  # the unsigned 64-bit number to multiply or divide by, or the power of two
    _OFFSET_NS = 4
    _DROPS = 5  # written: frames lost before a frame, as its block says
    _INTERFACE_COLUMNS = 6

MULTIPLY = _MULTIPLY
DIVIDE = _DIVIDE
SHIFT = _SHIFT

cdef enum:
    _MULTIPLY = 0
    _DIVIDE = 1
    _SHIFT = 2

cdef enum:
    BLOCK_INTERFACE = 1
    BLOCK_OBSOLETE_PACKET = 2
    BLOCK_SIMPLE_PACKET = 3
    BLOCK_STATISTICS = 5
    BLOCK_ENHANCED_PACKET = 6
    BLOCK_SECTION = 0x0A0D0D0A
    MOST_DROPS = 0x7FFFFFFF  # one frame's word for it; keeps sums from overflowing


cdef inline int64_t clamped(uint64_t ns) noexcept nogil:
    return <int64_t>ns if ns < <uint64_t>TIME_LIMIT else TIME_LIMIT


cdef int64_t shifted_ns(uint64_t ticks, uint64_t bits) noexcept nogil:
    """Give ``floor(ticks * 10**9 / 2**bits)``, exactly, in 64-bit arithmetic."""
    cdef uint64_t seconds = ticks >> bits if bits < 64 else 0
    cdef uint64_t fraction = ticks - (seconds << bits) if bits < 64 else ticks
    cdef uint64_t low
    if seconds >= <uint64_t>(TIME_LIMIT // SECOND):
        return TIME_LIMIT
    if bits <= 32:
        return <int64_t>(seconds * SECOND + (fraction * SECOND >> bits))
    low = (fraction & 0xFFFFFFFFU) * SECOND
    fraction = (fraction >> 32) * SECOND + (low >> 32)
    bits -= 32
    return <int64_t>(seconds * SECOND + (fraction >> bits if bits < 64 else 0))


cdef inline int64_t time_of(uint64_t ticks, const int64_t *interface) noexcept nogil:
    """Give the time of a frame; ±TIME_LIMIT stands for every time beyond it."""
    cdef uint64_t factor = <uint64_t>interface[_FACTOR]
    cdef int64_t ns
    if interface[_CLOCK] == _MULTIPLY:
        ns = clamped(ticks * factor) if ticks < <uint64_t>TIME_LIMIT // factor else TIME_LIMIT
    elif interface[_CLOCK] == _DIVIDE:
        ns = clamped(ticks // factor)
    else:
        ns = shifted_ns(ticks, factor)
    if ns == TIME_LIMIT:
        return ns  # an offset must not bring it back
    ns += interface[_OFFSET_NS]
    return min(max(ns, -TIME_LIMIT), TIME_LIMIT)


cdef int64_t dropped_before(const uint8_t *at, int64_t left, bint is_swapped) noexcept nogil:
    """Give what option epb_dropcount says (draft-ietf-opsawg-pcapng §4.3), or 0."""
    cdef uint16_t code, length
    while left >= 4:
        code, length = load16(at, is_swapped), load16(at + 2, is_swapped)
        at += 4
        left -= 4
        if code == 0 or left < length:
            return 0
        if code == 4 and length == 8:
            return <int64_t>min(load64(at, is_swapped), <uint64_t>MOST_DROPS)
        at += (length + 3) & ~3
        left -= (length + 3) & ~3
    return 0


@cython.final
cdef class PcapngWalk:
    """The walk over the blocks of one pcapng file: packets become rows, unknown blocks are passed over.

    Blocks that change how others are read (sections, interfaces, statistics) are left to the caller, who
    moves on past them.
    """

    cdef readonly int64_t position
    cdef readonly int64_t need
    cdef readonly int64_t frames
    cdef readonly int status
    cdef public bint is_swapped
    cdef public int64_t first_interface
    cdef public int64_t interfaces
    # Frames whose time is beyond the limits, and frames without a time of their own; the first of each, or 0.
    cdef readonly int64_t clamped, first_clamped, untimed, first_untimed
    cdef uint32_t limit
    cdef uint16_t file
    cdef int64_t last_ns

    def __init__(self, *, uint32_t limit, uint16_t file):
        self.limit = limit
        self.file = file

    def walk(
        self, const uint8_t[::1] data, int64_t start, int64_t end, uint8_t[::1] rows, int64_t[:, ::1] interfaces
    ):
        """Fill `rows` from ``data[start:end]``; give how many. `status`, `position` and `need` tell the rest."""
        cdef Py_ssize_t count
        if start < 0 or end < start or end > data.shape[0] or data.shape[0] == 0:
            raise ValueError("the part to walk lies outside the buffer")
        if rows.shape[0] < <Py_ssize_t>sizeof(Frame):
            raise ValueError("there is no row to fill")
        if interfaces.shape[1] != _INTERFACE_COLUMNS or interfaces.shape[0] == 0:
            raise ValueError("the table of interfaces has another shape")
        if self.first_interface < 0 or self.interfaces < 0 or (
            self.first_interface > interfaces.shape[0] - self.interfaces
        ):
            raise ValueError("the section has more interfaces than the table")
        self.position = start
        with nogil:
            count = self.blocks(&data[0], end, <Frame *>&rows[0], rows.shape[0] // sizeof(Frame), &interfaces[0, 0])
        return count

    cdef Py_ssize_t blocks(
        self, const uint8_t *data, int64_t end, Frame *row, Py_ssize_t most, int64_t *table
    ) noexcept nogil:
        cdef int64_t left
        cdef uint32_t kind, length
        cdef Py_ssize_t count = 0
        cdef bint is_swapped = self.is_swapped
        self.status, self.need = _FULL, 0
        while count < most:
            left = end - self.position
            if left < 12:
                self.status, self.need = _MORE, 12
                break
            kind = load32(data + self.position, is_swapped)
            length = load32(data + self.position + 4, is_swapped)
            if kind == BLOCK_SECTION:
                self.status = _BLOCK  # whose byte order may be another
                break
            if length < 12 or length & 3 or length > self.limit:
                self.status = _BAD_LENGTH
                break
            if left < length:
                self.status, self.need = _MORE, length
                break
            if load32(data + self.position + length - 4, is_swapped) != length:
                self.status = _BAD_TRAILER
                break
            if kind == BLOCK_INTERFACE or kind == BLOCK_STATISTICS:
                self.status = _BLOCK
                break
            if kind == BLOCK_ENHANCED_PACKET or kind == BLOCK_SIMPLE_PACKET or kind == BLOCK_OBSOLETE_PACKET:
                self.status = self.packet(data + self.position, kind, length, row, table)
                if self.status != _FULL:
                    break
                row += 1
                count += 1
            self.position = self.position + length
        return count

    cdef inline int packet(
        self, const uint8_t *at, uint32_t kind, uint32_t length, Frame *row, int64_t *table
    ) noexcept nogil:
        """Fill one row from a packet block; give FULL if that went well."""
        cdef bint is_swapped = self.is_swapped
        cdef int64_t interface = 0, head = 28
        cdef int64_t *known
        if length < (16 if kind == BLOCK_SIMPLE_PACKET else 32):
            return _BAD_LENGTH
        if kind == BLOCK_ENHANCED_PACKET:
            interface = load32(at + 8, is_swapped)
        elif kind == BLOCK_OBSOLETE_PACKET:
            interface = load16(at + 8, is_swapped)
        if interface >= self.interfaces:
            return _BAD_INTERFACE
        interface += self.first_interface
        known = table + interface * _INTERFACE_COLUMNS
        if kind == BLOCK_SIMPLE_PACKET:
            head = 12
            self.simple(at, length, row, known)
        elif load32(at + 20, is_swapped) > length - 32:
            return _BAD_CAPTURED
        else:
            self.timed(at, kind, length, row, known)
        self.frames = self.frames + 1
        row.frame_number = self.frames
        row.time_ns = self.last_ns
        row.position = self.position + head
        row.frame_in_file = self.frames
        row.interface_id = <uint32_t>interface
        row.link_type = <uint16_t>known[_LINK_TYPE]
        row.file = self.file
        return _FULL

    cdef inline void simple(self, const uint8_t *at, uint32_t length, Frame *row, const int64_t *known) noexcept nogil:
        """Take a packet without time and captured length: the time of the frame before, the shortest of the limits."""
        row.wire_bytes = load32(at + 8, self.is_swapped)
        row.captured_bytes = min(row.wire_bytes, length - 16)
        if known[_SNAPLEN] and row.captured_bytes > known[_SNAPLEN]:
            row.captured_bytes = <uint32_t>known[_SNAPLEN]
        self.untimed = self.untimed + 1
        if self.first_untimed == 0:
            self.first_untimed = self.frames + 1

    cdef inline void timed(
        self, const uint8_t *at, uint32_t kind, uint32_t length, Frame *row, int64_t *known
    ) noexcept nogil:
        """Take lengths, time and drops of any other packet."""
        cdef bint is_swapped = self.is_swapped
        cdef uint32_t captured = load32(at + 20, is_swapped)
        row.captured_bytes = captured
        row.wire_bytes = load32(at + 24, is_swapped)
        self.last_ns = time_of((<uint64_t>load32(at + 12, is_swapped) << 32) | load32(at + 16, is_swapped), known)
        if self.last_ns >= TIME_LIMIT or self.last_ns <= -TIME_LIMIT:
            self.clamped = self.clamped + 1
            if self.first_clamped == 0:
                self.first_clamped = self.frames + 1
        if kind == BLOCK_OBSOLETE_PACKET:
            if load16(at + 10, is_swapped) != 0xFFFF:
                known[_DROPS] = known[_DROPS] + load16(at + 10, is_swapped)
        elif length - 32 > captured + 3:
            known[_DROPS] = known[_DROPS] + dropped_before(
                at + 28 + ((captured + 3) & ~3), <int64_t>length - 32 - ((captured + 3) & ~3), is_swapped
            )
