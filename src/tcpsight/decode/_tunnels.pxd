"""Tunnels: what IP carries that is another network's packet.

A tunnel over UDP is recognised by its port and by a header that fits it, so that other traffic on that port stays
what it is. No number that a header gives to its network or its ends (VNI, key, endpoint, session) is kept: where
traffic is routed as it enters the tunnel, the two directions of one connection have different ones.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from tcpsight.decode._tags cimport (
    fits_ip,
    looks_like_ethernet,
    protocol_of_service,
    read_labels,
    read_session,
)
from tcpsight.decode._wire cimport (
    GOES_ON,
    LAYER_IP,
    PROTOCOL_ETHERNET,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_MPLS,
    PROTOCOL_NOT_IP,
    PROTOCOL_PPP,
    Cursor,
    Packet,
    cut_short,
    enter,
    holds,
    load16,
    load24,
    load32,
    skip,
)
from tcpsight.tables cimport (
    ENCAPSULATION_ERSPAN,
    ENCAPSULATION_ETHERNET_IN_IP,
    ENCAPSULATION_GENEVE,
    ENCAPSULATION_GRE,
    ENCAPSULATION_GTP,
    ENCAPSULATION_L2TP,
    ENCAPSULATION_MPLS_IN_IP,
    ENCAPSULATION_NVGRE,
    ENCAPSULATION_TEREDO,
    ENCAPSULATION_TZSP,
    ENCAPSULATION_VXLAN,
    REASON_ENCRYPTED_PACKET,
    REASON_MALFORMED_LINK,
    REASON_NOT_IP,
    REASON_NOT_TCP,
    REASON_TOO_DEEP,
)

cdef enum:
    # UDP ports (IANA, but for 8472, which Linux took for VXLAN before there was one).
    PORT_L2TP = 1701
    PORT_GTP = 2152
    PORT_TEREDO = 3544
    PORT_ESP = 4500
    PORT_VXLAN = 4789
    PORT_VXLAN_GPE = 4790
    PORT_GENEVE = 6081
    PORT_MPLS = 6635
    PORT_VXLAN_LINUX = 8472
    PORT_TZSP = 37008
    PORT_WIREGUARD = 51820

cdef enum:
    # Bits of the first two bytes of GRE (RFC 2784, RFC 2890, RFC 2637).
    GRE_CHECKSUM = 0x8000
    GRE_ROUTING = 0x4000
    GRE_KEY = 0x2000
    GRE_SEQUENCE = 0x1000
    GRE_ACKNOWLEDGMENT = 0x0080
    GRE_VERSION = 0x0007
    GRE_PPTP = 1
    # Protocols that only GRE carries.
    GRE_ERSPAN3 = 0x22EB
    GRE_WCCP = 0x883E
    GRE_ERSPAN = 0x88BE

cdef enum:
    MAX_GTP_EXTENSIONS = 16
    GTP_PDU = 255


# --- GRE --------------------------------------------------------------------------------------------------------


cdef inline int read_gre(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read a GRE header: plain, with key (NVGRE), PPTP's, or around a mirrored frame (ERSPAN, WCCP)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint32_t bits, protocol
    cdef int64_t size = 4
    cdef uint8_t encapsulation = ENCAPSULATION_GRE
    if not holds(cursor, 4):
        return cut_short(cursor)
    bits = load16(p)
    protocol = load16(p + 2)
    if bits & GRE_ROUTING or bits & GRE_VERSION > GRE_PPTP:
        return REASON_MALFORMED_LINK
    if bits & GRE_CHECKSUM:
        size += 4
    if bits & GRE_KEY:
        if protocol == PROTOCOL_ETHERNET and bits & GRE_VERSION == 0:
            # RFC 7637 §3.2.
            encapsulation = ENCAPSULATION_NVGRE
        size += 4
    if bits & GRE_SEQUENCE:
        size += 4
    if bits & GRE_VERSION == GRE_PPTP:
        if bits & GRE_ACKNOWLEDGMENT:
            size += 4
        if not bits & GRE_SEQUENCE:
            # Without a number there is no payload (RFC 2637 §4.1).
            return REASON_NOT_IP
    if not holds(cursor, size):
        return cut_short(cursor)
    cursor.at += size
    if protocol == GRE_ERSPAN or protocol == GRE_ERSPAN3:
        enter(cursor, packet, ENCAPSULATION_ERSPAN, PROTOCOL_ETHERNET)
        return read_erspan(cursor, protocol, bits)
    enter(cursor, packet, encapsulation, protocol if protocol > 0x05FF else PROTOCOL_NOT_IP)
    if protocol == GRE_WCCP:
        # Version 2 puts four bytes before the packet, version 1 none.
        return skip(cursor, 0 if fits_ip(cursor) else 4, PROTOCOL_IPV4)
    return GOES_ON


cdef inline int read_erspan(Cursor *cursor, uint32_t protocol, uint32_t bits) noexcept nogil:
    """Step over the header of a mirrored frame (draft-foschiano-erspan-03): type I has none, II and III have one."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if protocol == GRE_ERSPAN:
        return skip(cursor, 8 if bits & GRE_SEQUENCE else 0, PROTOCOL_ETHERNET)
    if not holds(cursor, 12):
        return cut_short(cursor)
    if p[0] >> 4 != 2:
        return REASON_MALFORMED_LINK
    # Frame type 2 is IP; the last bit announces eight more bytes.
    return skip(cursor, 20 if p[11] & 1 else 12, LAYER_IP if (p[10] >> 2) & 0x1F == 2 else PROTOCOL_ETHERNET)


# --- UDP --------------------------------------------------------------------------------------------------------


cdef inline int read_udp(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read a UDP header (RFC 768); a tunnel is known by either port, the destination first."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int outcome
    if packet.end - cursor.at < 8 or not holds(cursor, 8):
        return REASON_NOT_TCP
    cursor.at += 8
    outcome = read_port(cursor, packet, load16(p + 2))
    if outcome == REASON_NOT_TCP:
        outcome = read_port(cursor, packet, load16(p))
    return outcome


cdef inline int read_port(Cursor *cursor, const Packet *packet, uint32_t port) noexcept nogil:
    """Try the tunnel of this port; a header that does not fit it gives REASON_NOT_TCP and changes nothing."""
    if port == PORT_VXLAN or port == PORT_VXLAN_LINUX:
        return read_vxlan(cursor, packet)
    elif port == PORT_VXLAN_GPE:
        return read_vxlan_gpe(cursor, packet)
    elif port == PORT_GENEVE:
        return read_geneve(cursor, packet)
    elif port == PORT_GTP:
        return read_gtp(cursor, packet)
    elif port == PORT_TEREDO:
        return read_teredo(cursor, packet)
    elif port == PORT_L2TP:
        return read_l2tp(cursor, packet)
    elif port == PORT_MPLS:
        return read_mpls_in_udp(cursor, packet)
    elif port == PORT_TZSP:
        return read_tzsp(cursor, packet)
    elif port == PORT_ESP:
        return read_esp_in_udp(cursor, packet)
    elif port == PORT_WIREGUARD:
        return read_wireguard(cursor, packet)
    return REASON_NOT_TCP


cdef inline bint has_room(const Cursor *cursor, const Packet *packet, int64_t size) noexcept nogil:
    """Tell whether the packet, captured or not, has so many bytes more."""
    return packet.end - cursor.at >= size


cdef inline int read_vxlan(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read a VXLAN header (RFC 7348 §5), or one with a group (draft-smith-vxlan-group-policy)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not has_room(cursor, packet, 8):
        return REASON_NOT_TCP
    if not holds(cursor, 8):
        return cut_short(cursor)
    if p[0] & 0x7F != 0x08 or p[7] != 0 or (p[0] == 0x08 and load24(p + 1) != 0):
        return REASON_NOT_TCP
    cursor.at += 8
    return enter(cursor, packet, ENCAPSULATION_VXLAN, PROTOCOL_ETHERNET)


cdef inline int read_vxlan_gpe(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read a VXLAN-GPE header (draft-ietf-nvo3-vxlan-gpe), which tells what follows."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint32_t protocol = PROTOCOL_ETHERNET
    if not has_room(cursor, packet, 8):
        return REASON_NOT_TCP
    if not holds(cursor, 8):
        return cut_short(cursor)
    # Version 0, a network, no reserved bits.
    if p[0] & 0xF8 != 0x08 or p[1] or p[2] or p[7]:
        return REASON_NOT_TCP
    if p[0] & 4:
        protocol = protocol_of_service(p[3])
    cursor.at += 8
    return enter(cursor, packet, ENCAPSULATION_VXLAN, protocol)


cdef inline int read_geneve(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read a Geneve header and its options (RFC 8926 §3.4)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size
    if not has_room(cursor, packet, 8):
        return REASON_NOT_TCP
    if not holds(cursor, 8):
        return cut_short(cursor)
    size = 8 + 4 * <int64_t>(p[0] & 0x3F)
    if p[0] >> 6 or p[1] & 0x3F or p[7] or load16(p + 2) <= 0x05FF or not has_room(cursor, packet, size):
        return REASON_NOT_TCP
    enter(cursor, packet, ENCAPSULATION_GENEVE, PROTOCOL_NOT_IP)
    return skip(cursor, size, load16(p + 2))


cdef inline int read_gtp(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read a GTP-U header and its extensions (3GPP TS 29.281 §5)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 8
    cdef int extensions
    cdef uint8_t following
    if not has_room(cursor, packet, 8):
        return REASON_NOT_TCP
    if not holds(cursor, 8):
        return cut_short(cursor)
    # Version 1, not GTP′, spare bit zero; user data, no longer than the packet.
    if p[0] & 0xF8 != 0x30 or p[1] != GTP_PDU or not has_room(cursor, packet, 8 + <int64_t>load16(p + 2)):
        return REASON_NOT_TCP
    if p[0] & 7:
        size = 12
        if not holds(cursor, 12):
            return cut_short(cursor)
        following = p[11] if p[0] & 4 else 0
        for extensions in range(MAX_GTP_EXTENSIONS + 1):
            if following == 0:
                break
            if extensions == MAX_GTP_EXTENSIONS:
                return REASON_TOO_DEEP
            if not holds(cursor, size + 1) or not holds(cursor, size + 4 * <int64_t>p[size]):
                return cut_short(cursor)
            if p[size] == 0:
                return REASON_MALFORMED_LINK
            size += 4 * <int64_t>p[size]
            following = p[size - 1]
    cursor.at += size
    return enter(cursor, packet, ENCAPSULATION_GTP, LAYER_IP)


cdef inline int read_teredo(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read what Teredo (RFC 4380 §5.1.1) puts before an IPv6 packet: authentication, origin, or nothing."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 0
    if holds(cursor, 4) and p[0] == 0 and p[1] == 1:
        size = 13 + <int64_t>p[2] + p[3]
    if holds(cursor, size + 8) and p[size] == 0 and p[size + 1] == 0:
        size += 8
    if not has_room(cursor, packet, size + 40):
        return REASON_NOT_TCP
    if not holds(cursor, size + 6):
        return cut_short(cursor)
    if p[size] >> 4 != 6 or not has_room(cursor, packet, size + 40 + load16(p + size + 4)):
        return REASON_NOT_TCP
    cursor.at += size
    return enter(cursor, packet, ENCAPSULATION_TEREDO, PROTOCOL_IPV6)


cdef inline int read_mpls_in_udp(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Enter labels (RFC 7510). They have no mark of their own, so what they lead to must be IP or Ethernet."""
    cdef Cursor ahead = cursor[0]
    if not has_room(cursor, packet, 8):
        return REASON_NOT_TCP
    if read_labels(&ahead) != GOES_ON:
        return REASON_NOT_TCP
    if not (fits_ip(&ahead) or looks_like_ethernet(&ahead, 4) or looks_like_ethernet(&ahead, 0)):
        return REASON_NOT_TCP
    return enter(cursor, packet, ENCAPSULATION_MPLS_IN_IP, PROTOCOL_MPLS)


cdef inline int read_tzsp(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read TaZmen Sniffer Protocol around a mirrored Ethernet frame: version 1, type, protocol, tagged fields."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 4
    cdef int tags
    if not has_room(cursor, packet, 5):
        return REASON_NOT_TCP
    if not holds(cursor, 4):
        return cut_short(cursor)
    if p[0] != 1 or p[1] > 1 or load16(p + 2) != 1:
        return REASON_NOT_TCP
    for tags in range(32):
        if not holds(cursor, size + 2):
            return cut_short(cursor)
        size += 1
        if p[size - 1] == 1:
            cursor.at += size
            return enter(cursor, packet, ENCAPSULATION_TZSP, PROTOCOL_ETHERNET)
        if p[size - 1] != 0:
            size += 1 + <int64_t>p[size]
    return REASON_TOO_DEEP


cdef inline int read_esp_in_udp(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Tell ESP (RFC 3948 §2.1) from key exchange, whose first four bytes are zero, and from keep-alives of one byte.

    And from others that happen to use the port: indices below 256 are reserved, and ESP ends at a multiple of four
    bytes (RFC 4303 §2.1, §2.4).
    """
    if not has_room(cursor, packet, 12) or not holds(cursor, 4) or load32(cursor.bytes + cursor.at) < 256:
        return REASON_NOT_TCP
    if (packet.end - cursor.at) & 3:
        return REASON_NOT_TCP
    return REASON_ENCRYPTED_PACKET


cdef inline int read_wireguard(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Know WireGuard's transport data: type 4 and three zeros."""
    if not has_room(cursor, packet, 32) or not holds(cursor, 4) or load32(cursor.bytes + cursor.at) != 0x04000000:
        return REASON_NOT_TCP
    return REASON_ENCRYPTED_PACKET


# --- layer 2 over IP --------------------------------------------------------------------------------------------


cdef inline int read_ether_ip(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read EtherIP's two bytes (RFC 3378 §3)."""
    if not holds(cursor, 2):
        return cut_short(cursor)
    if cursor.bytes[cursor.at] >> 4 != 3:
        return REASON_MALFORMED_LINK
    cursor.at += 2
    return enter(cursor, packet, ENCAPSULATION_ETHERNET_IN_IP, PROTOCOL_ETHERNET)


cdef inline int read_l2tp(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read L2TP over UDP, version 2 (RFC 2661 §3.1) or 3 (RFC 3931 §4.1.2); control messages are no tunnel."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint32_t bits
    cdef int64_t size = 6
    if not has_room(cursor, packet, 8):
        return REASON_NOT_TCP
    if not holds(cursor, 8):
        return cut_short(cursor)
    bits = load16(p)
    if load32(p) == 0x00030000:
        cursor.at += 8
        enter(cursor, packet, ENCAPSULATION_L2TP, PROTOCOL_NOT_IP)
        return read_session(cursor)
    if bits & 0xB4FF != 2:
        return REASON_NOT_TCP
    if bits & 0x4000:
        if not has_room(cursor, packet, load16(p + 2)):
            return REASON_NOT_TCP
        size += 2
    if bits & 0x0800:
        size += 4
    if bits & 0x0200:
        if not holds(cursor, size + 2):
            return cut_short(cursor)
        size += 2 + <int64_t>load16(p + size)
    if not has_room(cursor, packet, size):
        return REASON_NOT_TCP
    enter(cursor, packet, ENCAPSULATION_L2TP, PROTOCOL_NOT_IP)
    return skip(cursor, size, PROTOCOL_PPP)


cdef inline int read_l2tp_in_ip(Cursor *cursor, const Packet *packet) noexcept nogil:
    """Read L2TPv3 over IP (RFC 3931 §4.1.1): session 0 is control."""
    if not holds(cursor, 4):
        return cut_short(cursor)
    if load32(cursor.bytes + cursor.at) == 0:
        return REASON_NOT_TCP
    cursor.at += 4
    enter(cursor, packet, ENCAPSULATION_L2TP, PROTOCOL_NOT_IP)
    return read_session(cursor)
