"""Lays out frames as records of capture files, one after the other in one buffer: no Python between frames."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tcpsight.tables cimport Frame

cdef extern from *:
    """
    #define SECOND ((int64_t)1000000000)
    """
    int64_t SECOND

PCAP_RECORD_BYTES = _PCAP_RECORD_BYTES
PCAPNG_RECORD_BYTES = _PCAPNG_RECORD_BYTES

cdef enum:
    _PCAP_RECORD_BYTES = 16
    _PCAPNG_RECORD_BYTES = 32  # of an enhanced packet block without options
    ENHANCED_PACKET = 6


cdef inline void put32(uint8_t *at, uint32_t value) noexcept nogil:
    """Write a number in this machine's byte order, which the file header tells."""
    memcpy(at, &value, 4)


cdef inline int64_t floor_seconds(int64_t time_ns) noexcept nogil:
    return time_ns // SECOND if time_ns >= 0 else -((-time_ns + SECOND - 1) // SECOND)


cdef inline int64_t pcap_record(uint8_t *at, const Frame *row, uint32_t kept, int64_t tick_ns) noexcept nogil:
    """Write what stands before a frame in a pcap file; give its length."""
    cdef int64_t seconds = floor_seconds(row.time_ns)
    put32(at, <uint32_t>(seconds & 0xFFFFFFFFU))
    put32(at + 4, <uint32_t>((row.time_ns - seconds * SECOND) // tick_ns))
    put32(at + 8, kept)
    put32(at + 12, row.wire_bytes)
    return _PCAP_RECORD_BYTES


def pcap_records(
    const unsigned char[::1] frames,  # IN: Frames rows
    const unsigned char[::1] data,  # IN: what their positions count in
    const uint32_t[::1] kept,  # IN: how many bytes of each are written
    unsigned char[::1] out,  # OUT: the records
    int64_t tick_ns,  # IN: 1 or 1000, as the file header says
):
    """Lay out records of a classic pcap file; give how many bytes."""
    cdef int64_t n = checked(frames, data, kept), size = 0, i
    cdef const Frame *rows
    if tick_ns < 1 or tick_ns > SECOND:
        raise ValueError("no file has such ticks")
    if n == 0:
        return 0
    rows = <const Frame *>&frames[0]
    for i in range(n):
        size += _PCAP_RECORD_BYTES + kept[i]
    if size > out.shape[0]:
        raise ValueError("too little room for the records")
    size = 0
    with nogil:
        for i in range(n):
            size += pcap_record(&out[size], rows + i, kept[i], tick_ns)
            if kept[i]:
                memcpy(&out[size], &data[rows[i].position], kept[i])
            size += kept[i]
    return size


def pcapng_records(
    const unsigned char[::1] frames,  # IN: Frames rows
    const unsigned char[::1] data,  # IN: what their positions count in
    const uint32_t[::1] kept,  # IN: how many bytes of each are written
    unsigned char[::1] out,  # OUT: the records
):
    """Lay out enhanced packet blocks of interfaces that count nanoseconds; give how many bytes."""
    cdef int64_t n = checked(frames, data, kept), size = 0, i
    cdef uint32_t padded, length
    cdef uint64_t time_ns
    cdef uint8_t *at
    cdef const Frame *rows
    if n == 0:
        return 0
    rows = <const Frame *>&frames[0]
    for i in range(n):
        size += _PCAPNG_RECORD_BYTES + ((<int64_t>kept[i] + 3) & ~<int64_t>3)
    if size > out.shape[0]:
        raise ValueError("too little room for the records")
    size = 0
    with nogil:
        for i in range(n):
            padded = (kept[i] + 3) & 0xFFFFFFFCU
            length = _PCAPNG_RECORD_BYTES + padded
            time_ns = <uint64_t>max(rows[i].time_ns, <int64_t>0)
            at = &out[size]
            put32(at, ENHANCED_PACKET)
            put32(at + 4, length)
            put32(at + 8, rows[i].interface_id)
            put32(at + 12, <uint32_t>(time_ns >> 32))
            put32(at + 16, <uint32_t>(time_ns & 0xFFFFFFFFU))
            put32(at + 20, kept[i])
            put32(at + 24, rows[i].wire_bytes)
            if kept[i]:
                memcpy(at + 28, &data[rows[i].position], kept[i])
            memset(at + 28 + kept[i], 0, padded - kept[i])
            put32(at + 28 + padded, length)
            size += length
    return size


cdef int64_t checked(
    const unsigned char[::1] frames, const unsigned char[::1] data, const uint32_t[::1] kept
) except -1:
    """Check that every frame lies in its data, and holds what is kept of it; give how many there are."""
    cdef int64_t n = frames.shape[0] // <int64_t>sizeof(Frame), size = data.shape[0], i
    cdef const Frame *rows
    if frames.shape[0] != n * <int64_t>sizeof(Frame) or kept.shape[0] < n:
        raise ValueError("frames are not whole rows, or too few lengths")
    if n == 0:
        return 0
    rows = <const Frame *>&frames[0]
    for i in range(n):
        if rows[i].position < 0 or rows[i].position > size - <int64_t>rows[i].captured_bytes:
            raise ValueError(f"row {i} of the frames lies outside their data")
        if kept[i] > rows[i].captured_bytes or kept[i] > 0x7FFFFF00:
            raise ValueError(f"more is to be kept of row {i} than was captured")
    return n
