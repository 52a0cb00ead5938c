"""The network layer: from the IP header to the first byte of TCP, and where the packet ends.

How long a packet is, its own length field says: frames are padded (Ethernet), cut (snaplen) and rewritten (by tools
that strip payload and put the rest as the length on the wire), so where they contradict, the IP header is right. The
one exception is a length of zero, which no real packet has: the sender's kernel leaves it to the card to fill in
(segmentation offload), or the packet is longer than the field can tell (RFC 2675, BIG TCP). Then the frame's length
on the wire is all there is.

A fragment gives no segment by itself, not even the first one, which may hold a whole TCP header: its payload goes on in
other packets. They are put together in `_fragments.pyx`.

`read_ipv4` and `read_ipv6` answer HOLDS_TCP where TCP is next. Everything else is left to `read_behind_ip`: extension
headers, tunnels, and what is neither.
"""

from libc.stdint cimport int64_t, uint8_t

from tcpsight.decode._tunnels cimport read_ether_ip, read_gre, read_l2tp_in_ip, read_udp
from tcpsight.decode._wire cimport (
    GOES_ON,
    HOLDS_FRAGMENT,
    HOLDS_TCP,
    LAYER_BEHIND_IP,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_MPLS,
    Cursor,
    Packet,
    cut_short,
    enter,
    holds,
    load16,
    step,
)
from tcpsight.tables cimport (
    ENCAPSULATION_IP_IN_IP,
    ENCAPSULATION_MPLS_IN_IP,
    REASON_COMPRESSED,
    REASON_ENCRYPTED_PACKET,
    REASON_FRAGMENT,
    REASON_MALFORMED_IP,
    REASON_NOT_TCP,
)

cdef enum:
    # Protocol numbers (IANA), for IPv4's protocol and IPv6's next header alike.
    NEXT_HOP_BY_HOP = 0
    NEXT_IPV4 = 4
    NEXT_TCP = 6
    NEXT_UDP = 17
    NEXT_IPV6 = 41
    NEXT_ROUTING = 43
    NEXT_FRAGMENT = 44
    NEXT_GRE = 47
    NEXT_ESP = 50
    NEXT_AUTHENTICATION = 51
    NEXT_DESTINATION = 60
    NEXT_ETHERNET = 97  # RFC 3378
    NEXT_IPCOMP = 108
    NEXT_L2TP = 115
    NEXT_MOBILITY = 135
    NEXT_MPLS = 137  # RFC 4023
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
    if not holds(cursor, 20):
        return cut_short(cursor)
    header_bytes = <int64_t>(p[0] & 0x0F) << 2
    length = load16(p + 2)
    if length == 0:
        length = cursor.wire - cursor.at
    if p[0] >> 4 != 4 or header_bytes < 20 or length < header_bytes or length > LONGEST_PACKET:
        return REASON_MALFORMED_IP
    packet.header_at = cursor.at
    packet.end = cursor.at + length
    packet.ip_version = 4
    packet.ip_id = load16(p + 4)
    packet.ttl = p[8]
    if load16(p + 6) & 0x3FFF:
        return HOLDS_FRAGMENT
    cursor.next_header = p[9]
    step(cursor, header_bytes, LAYER_BEHIND_IP)
    return HOLDS_TCP if p[9] == NEXT_TCP else GOES_ON


cdef inline int read_ipv6(Cursor *cursor, Packet *packet) noexcept nogil:
    """Read an IPv6 header (RFC 8200 §3)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t length
    if not holds(cursor, 40):
        return cut_short(cursor)
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
    cursor.next_header = p[6]
    step(cursor, 40, LAYER_BEHIND_IP)
    return HOLDS_TCP if p[6] == NEXT_TCP else GOES_ON


cdef inline int read_behind_ip(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Step over extension headers and enter the tunnel, if it is one."""
    cdef int outcome = GOES_ON
    # IPv4 has protocols, not extension headers; but the authentication header is one of them.
    if packet.ip_version == 6 or cursor.next_header == NEXT_AUTHENTICATION:
        outcome = read_extension_headers(cursor, packet)
    if outcome != GOES_ON:
        return outcome
    if cursor.next_header == NEXT_TCP:
        return HOLDS_TCP
    elif cursor.next_header == NEXT_UDP:
        return read_udp(cursor, packet)
    elif cursor.next_header == NEXT_IPV4:
        return enter(cursor, packet, ENCAPSULATION_IP_IN_IP, PROTOCOL_IPV4)
    elif cursor.next_header == NEXT_IPV6:
        return enter(cursor, packet, ENCAPSULATION_IP_IN_IP, PROTOCOL_IPV6)
    elif cursor.next_header == NEXT_GRE:
        return read_gre(cursor, packet)
    elif cursor.next_header == NEXT_ESP:
        return REASON_ENCRYPTED_PACKET
    elif cursor.next_header == NEXT_ETHERNET:
        return read_ether_ip(cursor, packet)
    elif cursor.next_header == NEXT_L2TP:
        return read_l2tp_in_ip(cursor, packet)
    elif cursor.next_header == NEXT_MPLS:
        return enter(cursor, packet, ENCAPSULATION_MPLS_IN_IP, PROTOCOL_MPLS)
    elif cursor.next_header == NEXT_IPCOMP:
        return REASON_COMPRESSED
    return REASON_NOT_TCP


cdef inline int read_extension_headers(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Step over what stands between IP and what it carries (RFC 8200 §4, RFC 4302 §2.2)."""
    cdef const uint8_t *p
    cdef int64_t length
    cdef int headers
    for headers in range(MAX_EXTENSION_HEADERS):
        if not is_extension_header(cursor.next_header):
            return GOES_ON
        if packet.end - cursor.at < 8:
            return REASON_MALFORMED_IP
        if not holds(cursor, 8):
            return cut_short(cursor)
        p = cursor.bytes + cursor.at
        if cursor.next_header == NEXT_FRAGMENT:
            length = 8
            # Offset 0 and no more to come is a whole packet (an atomic fragment, RFC 6946).
            if load16(p + 2) & 0xFFF9:
                return HOLDS_FRAGMENT if packet.ip_version == 6 else REASON_FRAGMENT
        elif cursor.next_header == NEXT_AUTHENTICATION:
            length = (<int64_t>p[1] + 2) << 2
        else:
            length = (<int64_t>p[1] + 1) << 3
        if length > packet.end - cursor.at:
            return REASON_MALFORMED_IP
        cursor.at += length
        cursor.next_header = p[0]
    return REASON_MALFORMED_IP if is_extension_header(cursor.next_header) else GOES_ON


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
