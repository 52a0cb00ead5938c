"""The loop over frames; each stage is in the file of its layer."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from tcpsight.decode._choice cimport Choice, Ways, keep_wanted
from tcpsight.decode._fragments cimport Assemblies, Fragments, take_fragment
from tcpsight.decode._link cimport LINK_ETHERNET, LINK_LINUX_SLL, LINK_LINUX_SLL2, read_ip_version, read_link
from tcpsight.decode._network cimport read_behind_ip, read_ipv4, read_ipv6
from tcpsight.decode._records cimport read_cooked
from tcpsight.decode._serial cimport read_frame_relay, read_hdlc, read_llc, read_ppp
from tcpsight.decode._tags cimport (
    is_length, read_ethernet, read_labels, read_macsec, read_nsh, read_pppoe, read_pseudowire, read_tag, read_trill,
)
from tcpsight.decode._transport cimport read_tcp
from tcpsight.decode._wire cimport (
    GOES_ON,
    HELD,
    HOLDS_FRAGMENT,
    HOLDS_TCP,
    HOLDS_TCP_AND_MORE,
    LAYER_BEHIND_IP,
    LAYER_HDLC,
    LAYER_IP,
    LAYER_LINK,
    LAYER_PSEUDOWIRE,
    LAYER_RADIOTAP,
    LAYER_TAGGED,
    LAYER_WIFI,
    PROTOCOL_BACKBONE,
    PROTOCOL_ETAG,
    PROTOCOL_ETHERNET,
    PROTOCOL_FABRICPATH,
    PROTOCOL_FRAME_RELAY,
    PROTOCOL_HSR,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_LLC,
    PROTOCOL_MACSEC,
    PROTOCOL_METADATA,
    PROTOCOL_MPLS,
    PROTOCOL_MPLS_UPSTREAM,
    PROTOCOL_NSH,
    PROTOCOL_PPP,
    PROTOCOL_PPPOE_SESSION,
    PROTOCOL_RTAG,
    PROTOCOL_TRILL,
    PROTOCOL_VLAN,
    PROTOCOL_VLAN_OLD,
    PROTOCOL_VLAN_OLDER,
    PROTOCOL_VLAN_SERVICE,
    PROTOCOL_VNTAG,
    Cursor,
    Packet,
    load32,
    skip,
    fetch_later,
)
from tcpsight.decode._wireless cimport read_radiotap, read_wifi
from tcpsight.tables cimport (
    LINK_TYPE_TEXT_LENGTHS,
    OPTION_UNSEQUENCED,
    REASON_AGGREGATE,
    REASON_NOT_IP,
    REASON_TOO_DEEP,
    REASONS, Frame, Header,
)

cdef enum:
    # Nothing real nests deeper; the bound is what a hostile frame may cost.
    MAX_LAYERS = 16


cdef inline int read_layer(Cursor *cursor, Packet *packet) noexcept nogil:
    """Read the next header behind the link layer: one that belongs to IP, or one that leads there."""
    cdef uint32_t protocol = cursor.protocol
    if protocol == PROTOCOL_IPV4:
        return read_ipv4(cursor, packet)
    elif protocol == PROTOCOL_IPV6:
        return read_ipv6(cursor, packet)
    elif protocol == LAYER_BEHIND_IP:
        return read_behind_ip(cursor, packet)
    elif (
        protocol == PROTOCOL_VLAN
        or protocol == PROTOCOL_VLAN_SERVICE
        or protocol == PROTOCOL_VLAN_OLD
        or protocol == PROTOCOL_VLAN_OLDER
    ):
        return read_tag(cursor, 4)
    elif protocol == PROTOCOL_ETHERNET:
        return read_ethernet(cursor)
    elif protocol == PROTOCOL_MPLS or protocol == PROTOCOL_MPLS_UPSTREAM:
        return read_labels(cursor)
    elif protocol == LAYER_PSEUDOWIRE:
        return read_pseudowire(cursor)
    elif protocol == LAYER_IP:
        return read_ip_version(cursor)
    elif protocol == LAYER_LINK:
        return read_link(cursor, cursor.link_type)
    return read_rare_layer(cursor, protocol)


cdef inline int read_rare_layer(Cursor *cursor, uint32_t protocol) noexcept nogil:
    """Read a header that few networks have."""
    if protocol == PROTOCOL_PPPOE_SESSION:
        return read_pppoe(cursor)
    elif protocol == PROTOCOL_PPP:
        return read_ppp(cursor)
    elif protocol == PROTOCOL_LLC or is_length(protocol):
        return read_llc(cursor)
    elif protocol == LAYER_HDLC:
        return read_hdlc(cursor)
    elif protocol == PROTOCOL_FRAME_RELAY:
        return read_frame_relay(cursor)
    elif protocol == LAYER_WIFI:
        return read_wifi(cursor, False)
    elif protocol == LAYER_RADIOTAP:
        return read_radiotap(cursor)
    elif protocol == LAYER_TAGGED:
        return read_tag(cursor, 2)
    elif protocol == PROTOCOL_VNTAG or protocol == PROTOCOL_HSR or protocol == PROTOCOL_RTAG:
        return read_tag(cursor, 6)
    elif protocol == PROTOCOL_ETAG or protocol == PROTOCOL_METADATA:
        return read_tag(cursor, 8)
    elif protocol == PROTOCOL_MACSEC:
        return read_macsec(cursor)
    elif protocol == PROTOCOL_BACKBONE:
        return skip(cursor, 4, PROTOCOL_ETHERNET)
    elif protocol == PROTOCOL_FABRICPATH:
        return skip(cursor, 2, PROTOCOL_ETHERNET)
    elif protocol == PROTOCOL_TRILL:
        return read_trill(cursor)
    elif protocol == PROTOCOL_NSH:
        return read_nsh(cursor)
    return REASON_NOT_IP


cdef bint is_header(uint32_t protocol) noexcept nogil:
    """Tell whether `read_layer` knows this header, so that one too many stands there and not something else."""
    return protocol > 0xFFFF or is_length(protocol) or protocol in (
        PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_VLAN, PROTOCOL_VLAN_SERVICE, PROTOCOL_VLAN_OLD, PROTOCOL_VLAN_OLDER,
        PROTOCOL_ETHERNET, PROTOCOL_MPLS, PROTOCOL_MPLS_UPSTREAM, PROTOCOL_PPPOE_SESSION, PROTOCOL_PPP, PROTOCOL_LLC,
        PROTOCOL_FRAME_RELAY, PROTOCOL_VNTAG, PROTOCOL_HSR, PROTOCOL_RTAG, PROTOCOL_ETAG, PROTOCOL_METADATA,
        PROTOCOL_MACSEC, PROTOCOL_BACKBONE, PROTOCOL_FABRICPATH, PROTOCOL_TRILL, PROTOCOL_NSH,
    )  # fmt: skip


cdef inline void begin(Cursor *cursor, const Frame *frame, const uint8_t *data) noexcept nogil:
    """Stand at the frame's first byte."""
    cursor.bytes = data + frame.position
    cursor.at = 0
    cursor.captured = frame.captured_bytes
    cursor.wire = frame.wire_bytes
    cursor.encapsulation = 0
    cursor.tunnel = 0
    cursor.is_clipped = False
    cursor.has_more = False


cdef inline int find_usual(const Frame *frame, const uint8_t *data, Cursor *cursor, Packet *packet) noexcept nogil:
    """Find TCP right behind IP, in Ethernet with a tag or none, or captured on `any`.

    For any other frame give GOES_ON, or the reason if it is known.
    """
    cdef int outcome
    begin(cursor, frame, data)
    if frame.link_type == LINK_ETHERNET:
        outcome = read_ethernet(cursor)
        if outcome == GOES_ON and cursor.protocol == PROTOCOL_VLAN:
            return find_usual_ip(cursor, packet, read_tag(cursor, 4))
        return find_usual_ip(cursor, packet, outcome)
    if frame.link_type == LINK_LINUX_SLL:
        return find_usual_ip(cursor, packet, read_cooked(cursor, 16, 14, 2))
    if frame.link_type == LINK_LINUX_SLL2:
        return find_usual_ip(cursor, packet, read_cooked(cursor, 20, 0, 8))
    return GOES_ON


cdef inline int find_usual_ip(Cursor *cursor, Packet *packet, int outcome) noexcept nogil:
    """Read an IP header if one is next; inlined behind each link header, so that it stands at a known place."""
    if outcome == GOES_ON:
        if cursor.protocol == PROTOCOL_IPV4:
            return read_ipv4(cursor, packet)
        if cursor.protocol == PROTOCOL_IPV6:
            return read_ipv6(cursor, packet)
    return outcome


cdef int find_any(const Frame *frame, const uint8_t *data, Cursor *cursor, Packet *packet) noexcept nogil:
    """Go through a frame from its first byte, layer by layer, until TCP comes or cannot come any more."""
    cdef int layer, outcome
    begin(cursor, frame, data)
    outcome = read_link(cursor, frame.link_type)
    for layer in range(MAX_LAYERS):
        if outcome != GOES_ON:
            return outcome
        outcome = read_layer(cursor, packet)
    if outcome != GOES_ON:
        return outcome
    return REASON_TOO_DEEP if is_header(cursor.protocol) else REASON_NOT_IP


cdef inline uint32_t interface_of(const Frame *frame, const uint8_t *data) noexcept nogil:
    """Tell on which interface a frame was captured."""
    if frame.link_type == LINK_LINUX_SLL2:
        # Captured on `any`: the header tells the device.
        return (frame.interface_id + (load32(data + frame.position + 4) << 8)) & 0xFFFFFFFFu
    return frame.interface_id


cdef inline int decode_frame(const Frame *frame, const uint8_t *data, Header *header) noexcept nogil:
    """Decode one frame into a row; give HOLDS_TCP, perhaps AND_MORE, HOLDS_FRAGMENT, or the reason why it is void."""
    # Two cursors: one that only inlined steps know stays in registers.
    cdef Cursor cursor, elsewhere
    cdef Packet packet, packet_elsewhere
    cdef int outcome = find_usual(frame, data, &cursor, &packet)
    if outcome == GOES_ON:
        outcome = find_any(frame, data, &elsewhere, &packet_elsewhere)
        if outcome == HOLDS_TCP:
            cursor, packet = elsewhere, packet_elsewhere
    if outcome != HOLDS_TCP:
        return outcome
    outcome = read_tcp(&cursor, &packet, header)
    if outcome != HOLDS_TCP:
        return outcome
    write_frame(frame, data, header)
    return HOLDS_TCP_AND_MORE if cursor.has_more else HOLDS_TCP


cdef inline void write_frame(const Frame *frame, const uint8_t *data, Header *header) noexcept nogil:
    """Write what the row has from its frame."""
    header.frame_number = frame.frame_number
    header.time_ns = frame.time_ns
    header.frame_in_file = frame.frame_in_file
    header.interface_id = interface_of(frame, data)
    header.file = frame.file
    if frame.link_type == LINK_TYPE_TEXT_LENGTHS:
        header.options |= OPTION_UNSEQUENCED


cdef int decode_fragment(
    const Frame *frame, const uint8_t *data, Header *header, Assemblies *fragments
) noexcept nogil:
    """Decode a frame with a fragment, out of the way of all others; give how many rows, 0 or 1, were written."""
    cdef Cursor cursor
    cdef Packet packet
    cdef int outcome
    find_any(frame, data, &cursor, &packet)
    outcome = take_fragment(fragments, frame, interface_of(frame, data), &cursor, &packet, header)
    if outcome == HOLDS_TCP:
        write_frame(frame, data, header)
        return 1
    if outcome != HELD:
        count_unseen(fragments.counts + 3 * outcome, frame)
    return 0


cdef inline void count_unseen(int64_t *count, const Frame *frame) noexcept nogil:
    """Count a frame that gave no row."""
    count[0] += 1
    count[1] += frame.wire_bytes
    if count[2] == 0 or frame.frame_number < count[2]:
        count[2] = frame.frame_number


cdef int64_t decode_frames(
    const Frame *frames, int64_t n, const unsigned char[::1] data, Header *headers, Assemblies *fragments
) noexcept nogil:
    """Decode `n` frames; give the number of rows, or −1 − i where frame i lies outside `data`."""
    cdef int64_t size = data.shape[0]
    cdef const uint8_t *first = &data[0] if size else NULL
    cdef int64_t *counts = fragments.counts
    cdef int64_t rows = 0
    cdef int64_t i
    cdef int outcome
    for i in range(n):
        if frames[i].position < 0 or frames[i].position > size - <int64_t>frames[i].captured_bytes:
            return -1 - i
        fetch_later(frames, i, n, first)
        # Rows never outnumber frames, so row `rows` is always there to be written.
        outcome = decode_frame(frames + i, first, headers + rows)
        if outcome == HOLDS_TCP:
            rows += 1
        elif outcome == HOLDS_TCP_AND_MORE:
            rows += 1
            count_unseen(counts + 3 * REASON_AGGREGATE, frames + i)
        elif outcome == HOLDS_FRAGMENT:
            rows += decode_fragment(frames + i, first, headers + rows, fragments)
        else:
            count_unseen(counts + 3 * outcome, frames + i)
    return rows


cdef int64_t decode_wanted(
    const Frame *frames, int64_t n, const unsigned char[::1] data, Header *headers, Assemblies *fragments,
    const Choice *choice) noexcept nogil:
    """Decode as `decode_frames` does, and keep the wanted rows: a few frames at a time, while the cache has theirs."""
    cdef int64_t rows = 0
    cdef int64_t begin, fresh
    for begin in range(0, n, 64):
        fresh = decode_frames(frames + begin, min(n - begin, 64), data, headers + rows, fragments)
        if fresh < 0:
            return fresh - begin
        rows += keep_wanted(choice, headers + rows, fresh)
    return rows


def decode(
    const unsigned char[::1] frames,  # IN: Frames rows
    const unsigned char[::1] data,  # IN: what their positions count in
    unsigned char[::1] headers,  # OUT: Headers rows, room for as many as there are frames
    int64_t[:, ::1] counts,  # IN, OUT: count, bytes, first frame of each reason
    Fragments fragments not None,  # IN, OUT: what came in pieces
    Ways ways not None,  # IN: which segments become rows
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
    fragments.all.counts = &counts[0, 0]
    with nogil:
        if ways.choice.count == 0:
            rows = decode_frames(<const Frame *>&frames[0], n, data, <Header *>&headers[0], &fragments.all)
        else:
            rows = decode_wanted(<const Frame *>&frames[0], n, data, <Header *>&headers[0], &fragments.all, &ways.choice)
    if rows < 0:
        raise ValueError(f"row {-1 - rows} of the frames lies outside their data")
    return rows


cdef int64_t payload_start(const Frame *frame, const uint8_t *data) noexcept nogil:
    """Find where in the frame the payload begins; −1 where the capture does not show its TCP header."""
    cdef Cursor cursor
    cdef Packet packet
    cdef int layer, outcome
    begin(&cursor, frame, data)
    outcome = read_link(&cursor, frame.link_type)
    for layer in range(MAX_LAYERS):
        if outcome != GOES_ON:
            break
        outcome = read_layer(&cursor, &packet)
    if outcome != HOLDS_TCP or cursor.captured - cursor.at < 20:
        return -1
    return cursor.at + (<int64_t>(cursor.bytes[cursor.at + 12] >> 4) << 2)


cdef int64_t find_payloads(
    const Frame *frames, int64_t n, const unsigned char[::1] data, const Header *headers, int64_t m, int64_t *positions
) noexcept nogil:
    """Find the payload of `m` rows among their frames; give how many of the rows have one of these frames."""
    cdef int64_t size = data.shape[0]
    cdef const uint8_t *first = &data[0] if size else NULL
    cdef int64_t row = 0
    cdef int64_t i, start
    for i in range(n):
        if row == m:
            break
        if frames[i].frame_number != headers[row].frame_number:
            continue
        if frames[i].position < 0 or frames[i].position > size - <int64_t>frames[i].captured_bytes:
            break
        positions[row] = -1
        if headers[row].captured_payload_bytes > 0:
            start = payload_start(frames + i, first)
            if start < 0 or start + headers[row].captured_payload_bytes > <int64_t>frames[i].captured_bytes:
                break
            positions[row] = frames[i].position + start
        row += 1
    return row


def payload_positions(
    const unsigned char[::1] frames,  # IN: Frames rows
    const unsigned char[::1] data,  # IN: what their positions count in
    const unsigned char[::1] headers,  # IN: Headers rows made of some of these frames, in their order
    int64_t[::1] positions,  # OUT: where in `data` each payload begins; −1 where none was captured
):
    """Find where payload lies: the few who want it pay for a second look at the headers in front of it."""
    cdef int64_t n = frames.shape[0] // <int64_t>sizeof(Frame)
    cdef int64_t m = headers.shape[0] // <int64_t>sizeof(Header)
    cdef int64_t found
    if frames.shape[0] != n * <int64_t>sizeof(Frame) or headers.shape[0] != m * <int64_t>sizeof(Header):
        raise ValueError("frames or headers are not whole rows")
    if positions.shape[0] < m:
        raise ValueError("too few rows for the positions")
    if m == 0:
        return
    if n == 0:
        raise ValueError("row 0 of the headers is of none of the frames")
    with nogil:
        found = find_payloads(<const Frame *>&frames[0], n, data, <const Header *>&headers[0], m, &positions[0])
    if found < m:
        raise ValueError(f"row {found} of the headers is of none of the frames")
