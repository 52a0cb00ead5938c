"""The network layer: from the IP header to the first byte of TCP, and where the packet ends.

How long a packet is, its own length field says: frames are padded (Ethernet), cut (snaplen) and rewritten (by tools
that strip payload and put the rest as the length on the wire), so where they contradict, the IP header is right. The
one exception is a length of zero, which no real packet has: the sender's kernel leaves it to the card to fill in
(segmentation offload), or the packet is longer than the field can tell (RFC 2675, BIG TCP). Then the frame's length
on the wire is all there is.

A fragment gives no segment, not even the first one, which may hold a whole TCP header: its payload goes on in
packets that are not read, so any payload length told here would be false. All are counted as fragments.
"""

from libc.stdint cimport int64_t, uint8_t

from tcpsight.decode._wire cimport HOLDS_TCP, Cursor, Packet, load16
from tcpsight.tables cimport (
    REASON_FRAGMENT,
    REASON_MALFORMED_IP,
    REASON_NOT_TCP,
    REASON_TRUNCATED_FRAME,
)

cdef enum:
    # Protocol numbers (IANA), for IPv4's protocol and IPv6's next header alike.
    NEXT_HOP_BY_HOP = 0
    NEXT_TCP = 6
    NEXT_ROUTING = 43
    NEXT_FRAGMENT = 44
    NEXT_AUTHENTICATION = 51
    NEXT_DESTINATION = 60
    NEXT_MOBILITY = 135
    NEXT_HIP = 139
    NEXT_SHIM6 = 140

cdef enum:
    # RFC 8200 §4.1 wants each extension header once, destination options twice: eight is every one there is.
    MAX_EXTENSION_HEADERS = 8
    # A row's payload length is a signed 32-bit number.
    LONGEST_PACKET = 0x7FFFFFFF


cdef inline int read_ipv4(Cursor *cursor, Packet *packet) noexcept nogil:
    """Read an IPv4 header (RFC 791 §3.1)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t header_bytes, length
    if cursor.captured - cursor.at < 20:
        return REASON_TRUNCATED_FRAME
    header_bytes = <int64_t>(p[0] & 0x0F) << 2
    length = load16(p + 2)
    if length == 0:
        length = cursor.wire - cursor.at
    if p[0] >> 4 != 4 or header_bytes < 20 or length < header_bytes or length > LONGEST_PACKET:
        return REASON_MALFORMED_IP
    if load16(p + 6) & 0x3FFF:
        return REASON_FRAGMENT
    packet.header_at = cursor.at
    packet.end = cursor.at + length
    packet.ip_version = 4
    packet.ip_id = load16(p + 4)
    packet.ttl = p[8]
    cursor.at += header_bytes
    if p[9] == NEXT_TCP:
        return HOLDS_TCP
    if p[9] == NEXT_AUTHENTICATION:
        return read_extension_headers(cursor, packet, NEXT_AUTHENTICATION)
    return REASON_NOT_TCP


cdef inline int read_ipv6(Cursor *cursor, Packet *packet) noexcept nogil:
    """Read an IPv6 header (RFC 8200 §3)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t length
    if cursor.captured - cursor.at < 40:
        return REASON_TRUNCATED_FRAME
    length = load16(p + 4) + 40
    if length == 40:
        length = cursor.wire - cursor.at
    if p[0] >> 4 != 6 or length < 40 or length > LONGEST_PACKET:
        return REASON_MALFORMED_IP
    packet.header_at = cursor.at
    packet.end = cursor.at + length
    packet.ip_version = 6
    packet.ip_id = 0
    packet.ttl = p[7]
    cursor.at += 40
    if p[6] == NEXT_TCP:
        return HOLDS_TCP
    return read_extension_headers(cursor, packet, p[6])


cdef inline int read_extension_headers(Cursor *cursor, const Packet *packet, uint8_t next_header) noexcept nogil:
    """Step over what stands between IP and TCP (RFC 8200 §4, RFC 4302 §2.2)."""
    cdef const uint8_t *p
    cdef int64_t length
    cdef int headers
    for headers in range(MAX_EXTENSION_HEADERS + 1):
        if next_header == NEXT_TCP:
            return HOLDS_TCP
        if not is_extension_header(next_header):
            return REASON_NOT_TCP
        if headers == MAX_EXTENSION_HEADERS:
            return REASON_MALFORMED_IP
        if packet.end - cursor.at < 8:
            return REASON_MALFORMED_IP
        if cursor.captured - cursor.at < 8:
            return REASON_TRUNCATED_FRAME
        p = cursor.bytes + cursor.at
        if next_header == NEXT_FRAGMENT:
            length = 8
            # Offset 0 and no more to come is a whole packet (an atomic fragment, RFC 6946).
            if load16(p + 2) & 0xFFF9:
                return REASON_FRAGMENT
        elif next_header == NEXT_AUTHENTICATION:
            length = (<int64_t>p[1] + 2) << 2
        else:
            length = (<int64_t>p[1] + 1) << 3
        if length > packet.end - cursor.at:
            return REASON_MALFORMED_IP
        cursor.at += length
        next_header = p[0]
    return REASON_MALFORMED_IP


cdef inline bint is_extension_header(uint8_t next_header) noexcept nogil:
    """Tell whether it is a header with a next header and a length that TCP can follow."""
    return (
        next_header == NEXT_HOP_BY_HOP
        or next_header == NEXT_ROUTING
        or next_header == NEXT_FRAGMENT
        or next_header == NEXT_AUTHENTICATION
        or next_header == NEXT_DESTINATION
        or next_header == NEXT_MOBILITY
        or next_header == NEXT_HIP
        or next_header == NEXT_SHIM6
    )
