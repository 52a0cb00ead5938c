"""Where the headers of frames end, and which connection each belongs to: for whoever records headers only."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from tcpsight.decode._kernel cimport find_any
from tcpsight.decode._wire cimport HOLDS_FRAGMENT, HOLDS_TCP, Cursor, Packet, load16, load32
from tcpsight.tables cimport REASON_NOT_TCP, Frame

cdef enum:
    NEXT_UDP = 17
    SHORT_HEADER_BYTES = 8  # of ICMP, and of most that is neither TCP nor UDP
    TCP_BYTES = 20  # of a TCP header without options
    FRAGMENT_BYTES = 120  # the longest IP header and the longest TCP header
    UNKNOWN_BYTES = 128  # of frames that hold no packet, or one that could not be read


cdef inline int64_t extent(
    const Frame *frame, const uint8_t *data, int32_t *flags, uint64_t *connection
) noexcept nogil:
    """Give how many bytes of a frame are headers, and fill what is known of its segment."""
    cdef Cursor cursor
    cdef Packet packet
    cdef const uint8_t *p
    cdef int64_t end
    cdef int outcome = find_any(frame, data, &cursor, &packet)
    flags[0], connection[0] = -1, 0
    if outcome == HOLDS_TCP:
        p = cursor.bytes + cursor.at
        end = cursor.at + TCP_BYTES
        if cursor.captured >= end and packet.end >= end:
            flags[0] = load16(p + 12) & 0x1FF
            connection[0] = connection_of(cursor.bytes + packet.header_at, packet.ip_version, p)
            end = max(end, cursor.at + (<int64_t>(p[12] >> 4) << 2))
        return end
    if outcome == HOLDS_FRAGMENT:
        return packet.header_at + FRAGMENT_BYTES
    if outcome == REASON_NOT_TCP:
        return cursor.at if cursor.next_header == NEXT_UDP else cursor.at + SHORT_HEADER_BYTES
    return UNKNOWN_BYTES


@cython.overflowcheck(False)
cdef inline uint64_t mixed(uint64_t number) noexcept nogil:
    """Let every bit of a number depend on every other (the finalizer of SplitMix64)."""
    number = (number ^ (number >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    number = (number ^ (number >> 27)) * <uint64_t>0x94D049BB133111EB
    return number ^ (number >> 31)


@cython.overflowcheck(False)
cdef inline uint64_t endpoint_of(const uint8_t *address, int size, uint64_t port) noexcept nogil:
    """Make a number of an address and a port; the same on every machine."""
    cdef uint64_t state = mixed(port + <uint64_t>0x9E3779B97F4A7C15)
    cdef int at
    for at in range(0, size, 4):
        state = mixed(state ^ load32(address + at)) + <uint64_t>0x9E3779B97F4A7C15
    return state


@cython.overflowcheck(False)
cdef inline uint64_t connection_of(const uint8_t *ip, int version, const uint8_t *tcp) noexcept nogil:
    """Make a number of two endpoints; the same in both directions."""
    cdef int size = 4 if version == 4 else 16
    cdef const uint8_t *source = ip + (12 if version == 4 else 8)
    return mixed(endpoint_of(source, size, load16(tcp)) + endpoint_of(source + size, size, load16(tcp + 2)))


def extents(
    const unsigned char[::1] frames,  # IN: Frames rows
    const unsigned char[::1] data,  # IN: what their positions count in
    int32_t[::1] header_bytes,  # OUT: how many bytes of each are headers
    int32_t[::1] flags,  # OUT: flags of its TCP header; −1 where there is none
    uint64_t[::1] connections,  # OUT: a number for its connection; 0 where there is none
):
    """Find where headers end; give nothing."""
    cdef int64_t n = frames.shape[0] // <int64_t>sizeof(Frame)
    cdef int64_t size = data.shape[0], i, wrong = -1
    cdef const uint8_t *first = &data[0] if size else NULL
    cdef const Frame *rows
    if frames.shape[0] != n * <int64_t>sizeof(Frame):
        raise ValueError("frames are not whole rows")
    if header_bytes.shape[0] < n or flags.shape[0] < n or connections.shape[0] < n:
        raise ValueError("too few rows for what is told")
    if n == 0:
        return
    rows = <const Frame *>&frames[0]
    with nogil:
        for i in range(n):
            if rows[i].position < 0 or rows[i].position > size - <int64_t>rows[i].captured_bytes:
                wrong = i
                break
            header_bytes[i] = <int32_t>min(
                extent(rows + i, first, &flags[i], &connections[i]), <int64_t>rows[i].captured_bytes
            )
    if wrong >= 0:
        raise ValueError(f"row {wrong} of the frames lies outside their data")
