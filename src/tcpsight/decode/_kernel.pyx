"""The loop over frames; each stage is in the file of its layer."""

from libc.stdint cimport int64_t, uint8_t

from tcpsight.decode._link cimport LINK_LINUX_SLL2, is_tag, read_link, read_tag
from tcpsight.decode._network cimport read_ipv4, read_ipv6
from tcpsight.decode._transport cimport read_tcp
from tcpsight.decode._wire cimport (
    GOES_ON,
    HOLDS_TCP,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    Cursor,
    Packet,
    load32,
)
from tcpsight.tables cimport (
    LINK_TYPE_TEXT_LENGTHS,
    OPTION_UNSEQUENCED,
    REASON_NOT_IP,
    REASONS,
    Frame,
    Header,
)

cdef enum:
    # Nothing real nests deeper; the bounds are what a hostile frame may cost.
    MAX_TAGS = 8
    MAX_LAYERS = 9  # as many tags, and IP


cdef inline int find_tcp(Cursor *cursor, Packet *packet) noexcept nogil:
    """Read header after header behind the link layer, until TCP comes or cannot come any more.

    A tunnel, too, would be a step that answers GOES_ON and leaves in `cursor.protocol` what it carries.
    """
    cdef int layer, outcome
    for layer in range(MAX_LAYERS):
        if cursor.protocol == PROTOCOL_IPV4:
            outcome = read_ipv4(cursor, packet)
        elif cursor.protocol == PROTOCOL_IPV6:
            outcome = read_ipv6(cursor, packet)
        elif layer < MAX_TAGS and is_tag(cursor.protocol):
            outcome = read_tag(cursor)
        else:
            return REASON_NOT_IP
        if outcome != GOES_ON:
            return outcome
    return REASON_NOT_IP


cdef inline int decode_frame(const Frame *frame, const uint8_t *data, Header *header) noexcept nogil:
    """Decode one frame into a row; give HOLDS_TCP, or the reason why the row is void."""
    cdef Cursor cursor
    cdef Packet packet
    cdef int outcome
    cursor.bytes = data + frame.position
    cursor.at = 0
    cursor.captured = frame.captured_bytes
    cursor.wire = frame.wire_bytes
    outcome = read_link(&cursor, frame.link_type)
    if outcome == GOES_ON:
        outcome = find_tcp(&cursor, &packet)
    if outcome == HOLDS_TCP:
        outcome = read_tcp(&cursor, &packet, header)
    if outcome != HOLDS_TCP:
        return outcome
    header.frame_number = frame.frame_number
    header.time_ns = frame.time_ns
    header.frame_in_file = frame.frame_in_file
    header.interface_id = frame.interface_id
    if frame.link_type == LINK_LINUX_SLL2:
        # Captured on `any`: the header tells the device.
        header.interface_id = (frame.interface_id + (load32(cursor.bytes + 4) << 8)) & 0xFFFFFFFFu
    header.file = frame.file
    if frame.link_type == LINK_TYPE_TEXT_LENGTHS:
        header.options |= OPTION_UNSEQUENCED
    return HOLDS_TCP


cdef inline void count_unseen(int64_t *count, const Frame *frame) noexcept nogil:
    """Count a frame that gave no row."""
    count[0] += 1
    count[1] += frame.wire_bytes
    if count[2] == 0 or frame.frame_number < count[2]:
        count[2] = frame.frame_number


cdef int64_t decode_frames(
    const Frame *frames, int64_t n, const unsigned char[::1] data, Header *headers, int64_t *counts
) noexcept nogil:
    """Decode `n` frames; give the number of rows, or −1 − i where frame i lies outside `data`."""
    cdef int64_t size = data.shape[0]
    cdef const uint8_t *first = &data[0] if size else NULL
    cdef int64_t rows = 0
    cdef int64_t i
    cdef int outcome
    for i in range(n):
        if frames[i].position < 0 or frames[i].position > size - <int64_t>frames[i].captured_bytes:
            return -1 - i
        # Rows never outnumber frames, so row `rows` is always there to be written.
        outcome = decode_frame(frames + i, first, headers + rows)
        if outcome == HOLDS_TCP:
            rows += 1
        else:
            count_unseen(counts + 3 * outcome, frames + i)
    return rows


def decode(
    const unsigned char[::1] frames,  # IN: Frames rows
    const unsigned char[::1] data,  # IN: what their positions count in
    unsigned char[::1] headers,  # OUT: Headers rows, room for as many as there are frames
    int64_t[:, ::1] counts,  # IN, OUT: count, bytes, first frame of each reason
):
    """Decode frames into rows of Headers; give how many rows were written."""
    cdef int64_t n = frames.shape[0] // <int64_t>sizeof(Frame)
    cdef int64_t rows
    if frames.shape[0] != n * <int64_t>sizeof(Frame):
        raise ValueError("frames are not whole rows")
    if headers.shape[0] < n * <int64_t>sizeof(Header):
        raise ValueError("too few rows for the headers")
    if counts.shape[0] != REASONS or counts.shape[1] != 3:
        raise ValueError("counts have the wrong shape")
    if n == 0:
        return 0
    with nogil:
        rows = decode_frames(<const Frame *>&frames[0], n, data, <Header *>&headers[0], &counts[0, 0])
    if rows < 0:
        raise ValueError(f"row {-1 - rows} of the frames lies outside their data")
    return rows
