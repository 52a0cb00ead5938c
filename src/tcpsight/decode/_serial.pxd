"""Serial lines and what began on them: PPP, Cisco HDLC, frame relay, and LLC on any LAN."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from tcpsight.decode._wire cimport (
    LAYER_HDLC,
    LAYER_IP,
    PROTOCOL_ETHERNET,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_LLC,
    PROTOCOL_MPLS,
    PROTOCOL_NOT_IP,
    PROTOCOL_PPP,
    Cursor,
    cut_short,
    holds,
    load16,
    load24,
    skip,
    step,
)
from tcpsight.tables cimport (
    REASON_COMPRESSED,
    REASON_ENCRYPTED_PACKET,
    REASON_FRAGMENT,
    REASON_MALFORMED_LINK,
    REASON_NOT_IP,
)

cdef enum:
    # PPP protocol numbers (IANA).
    PPP_IPV4 = 0x0021
    PPP_COMPRESSED_TCP = 0x002D  # Van Jacobson, RFC 1144
    PPP_UNCOMPRESSED_TCP = 0x002F  # whose protocol field is no protocol
    PPP_MULTILINK = 0x003D  # RFC 1990
    PPP_ENCRYPTED = 0x0053  # RFC 1968
    PPP_IPV6 = 0x0057
    PPP_COMPRESSED_LINK = 0x00FB
    PPP_COMPRESSED = 0x00FD  # RFC 1962; Microsoft's encryption, too
    PPP_MPLS = 0x0281
    PPP_MPLS_UPSTREAM = 0x0283

cdef enum:
    # Network layer protocol identifiers (ISO/IEC TR 9577), as RFC 2427 uses them.
    NLPID_SNAP = 0x80
    NLPID_IPV6 = 0x8E
    NLPID_IPV4 = 0xCC
    NLPID_PPP = 0xCF

cdef enum:
    # Organisations in SNAP headers.
    SNAP_ETHERTYPE = 0x000000
    SNAP_TUNNEL = 0x0000F8  # IEEE 802.1H: EtherTypes, too
    SNAP_BRIDGED = 0x0080C2  # RFC 2684, RFC 2427


cdef inline int read_line(Cursor *cursor) noexcept nogil:
    """Tell Cisco's framing from PPP's where a link type may have either."""
    if not holds(cursor, 2):
        return cut_short(cursor)
    if (cursor.bytes[cursor.at] == 0x0F or cursor.bytes[cursor.at] == 0x8F) and cursor.bytes[cursor.at + 1] == 0:
        return step(cursor, 0, LAYER_HDLC)
    return step(cursor, 0, PROTOCOL_PPP)


cdef inline int read_hdlc(Cursor *cursor) noexcept nogil:
    """Read Cisco's framing (RFC 1547 §4.3.1): address, control, EtherType; or PPP, which shares the lines."""
    cdef uint32_t protocol
    if not holds(cursor, 4):
        return cut_short(cursor)
    if cursor.bytes[cursor.at] == 0xFF and cursor.bytes[cursor.at + 1] == 3:
        return step(cursor, 0, PROTOCOL_PPP)
    protocol = load16(cursor.bytes + cursor.at + 2)
    return step(cursor, 4, protocol if protocol > 0x05FF else PROTOCOL_NOT_IP)


cdef inline int read_ppp(Cursor *cursor) noexcept nogil:
    """Read a PPP header (RFC 1661 §2) with or without address and control (RFC 1662 §3.2), the protocol in one byte or
    two."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 0
    cdef uint32_t protocol
    if not holds(cursor, 1) or (p[0] == 0xFF and not holds(cursor, 2)):
        return cut_short(cursor)
    if p[0] == 0xFF and p[1] == 3:
        size = 2
    if not holds(cursor, size + 1):
        return cut_short(cursor)
    if p[size] & 1:
        protocol = p[size]
        size += 1
    else:
        if not holds(cursor, size + 2):
            return cut_short(cursor)
        protocol = load16(p + size)
        size += 2
    cursor.at += size
    return follow_ppp(cursor, protocol)


cdef inline int follow_ppp(Cursor *cursor, uint32_t protocol) noexcept nogil:
    """Translate PPP's numbering."""
    if protocol == PPP_IPV4:
        return step(cursor, 0, PROTOCOL_IPV4)
    elif protocol == PPP_IPV6:
        return step(cursor, 0, PROTOCOL_IPV6)
    elif protocol == PPP_MPLS or protocol == PPP_MPLS_UPSTREAM:
        return step(cursor, 0, PROTOCOL_MPLS)
    elif protocol == PPP_MULTILINK:
        return read_multilink(cursor)
    elif protocol == PPP_ENCRYPTED:
        return REASON_ENCRYPTED_PACKET
    elif (
        protocol == PPP_COMPRESSED_TCP
        or protocol == PPP_UNCOMPRESSED_TCP
        or protocol == PPP_COMPRESSED_LINK
        or protocol == PPP_COMPRESSED
    ):
        return REASON_COMPRESSED
    return REASON_NOT_IP


cdef inline int read_multilink(Cursor *cursor) noexcept nogil:
    """Read a multilink header with the long sequence number (RFC 1990 §3); only whole packets can be read."""
    if not holds(cursor, 4):
        return cut_short(cursor)
    if cursor.bytes[cursor.at] & 0xC0 != 0xC0:
        return REASON_FRAGMENT
    return step(cursor, 4, PROTOCOL_PPP)


# --- frame relay, LLC -------------------------------------------------------------------------------------------


cdef inline int read_frame_relay(Cursor *cursor) noexcept nogil:
    """Read an address of two to four bytes (Q.922 §3.2), then RFC 2427's header or Cisco's EtherType."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 2
    if not holds(cursor, 2):
        return cut_short(cursor)
    if p[0] & 1:
        return REASON_MALFORMED_LINK
    while not p[size - 1] & 1:
        size += 1
        if size > 4:
            return REASON_MALFORMED_LINK
        if not holds(cursor, size):
            return cut_short(cursor)
    if not holds(cursor, size + 2):
        return cut_short(cursor)
    cursor.at += size
    if p[size] != 3:
        return step(cursor, 2, load16(p + size))
    # One byte of padding, perhaps.
    return read_nlpid(cursor, 2 if p[size + 1] == 0 else 1)


cdef inline int read_nlpid(Cursor *cursor, int64_t at) noexcept nogil:
    """Read what RFC 2427 §3 has behind the control byte."""
    cdef const uint8_t *p = cursor.bytes + cursor.at + at
    if not holds(cursor, at + 1):
        return cut_short(cursor)
    if p[0] == NLPID_IPV4:
        return step(cursor, at + 1, PROTOCOL_IPV4)
    if p[0] == NLPID_IPV6:
        return step(cursor, at + 1, PROTOCOL_IPV6)
    if p[0] == NLPID_PPP:
        return step(cursor, at + 1, PROTOCOL_PPP)
    if p[0] == NLPID_SNAP:
        return read_snap(cursor, at + 1, 0)
    return REASON_NOT_IP


cdef inline int read_snap(Cursor *cursor, int64_t at, int64_t padding) noexcept nogil:
    """Read organisation and protocol (IEEE 802, RFC 1042); bridged frames may have padding before them."""
    cdef const uint8_t *p = cursor.bytes + cursor.at + at
    cdef uint32_t organisation, protocol
    if not holds(cursor, at + 5):
        return cut_short(cursor)
    organisation = load24(p)
    protocol = load16(p + 3)
    if organisation == SNAP_ETHERTYPE or organisation == SNAP_TUNNEL:
        return step(cursor, at + 5, protocol if protocol > 0x05FF else PROTOCOL_NOT_IP)
    if organisation == SNAP_BRIDGED and (protocol == 1 or protocol == 7):
        return skip(cursor, at + 5 + padding, PROTOCOL_ETHERNET)
    return REASON_NOT_IP


cdef inline int read_llc(Cursor *cursor) noexcept nogil:
    """Read an LLC header (IEEE 802.2), with SNAP or without."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 3):
        return cut_short(cursor)
    if load24(p) == 0xAAAA03:
        # RFC 2684 §5.2 pads bridged frames.
        return read_snap(cursor, 3, 2)
    if load24(p) == 0x060603:
        return step(cursor, 3, PROTOCOL_IPV4)
    if load24(p) == 0xFEFE03:
        return read_nlpid(cursor, 3)
    return REASON_NOT_IP


cdef inline int read_llc_or_ip(Cursor *cursor) noexcept nogil:
    """Read a cell's content on ATM (RFC 2684): LLC, or IP where the circuit carries nothing else."""
    if not holds(cursor, 3):
        return cut_short(cursor)
    if load24(cursor.bytes + cursor.at) == 0xAAAA03 or load24(cursor.bytes + cursor.at) == 0xFEFE03:
        return step(cursor, 0, PROTOCOL_LLC)
    return step(cursor, 0, LAYER_IP)


# --- LANs of the past -------------------------------------------------------------------------------------------


cdef inline int read_fddi(Cursor *cursor) noexcept nogil:
    """Read an FDDI header: frame control, two addresses."""
    if not holds(cursor, 13):
        return cut_short(cursor)
    if cursor.bytes[cursor.at] & 0x30 != 0x10:
        return REASON_NOT_IP
    return step(cursor, 13, PROTOCOL_LLC)


cdef inline int read_token_ring(Cursor *cursor) noexcept nogil:
    """Read a token ring header (IEEE 802.5), with the route where the source address says that there is one."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 15):
        return cut_short(cursor)
    if p[1] & 0xC0 != 0x40:
        return REASON_NOT_IP
    return skip(cursor, 14 + (p[14] & 0x1F if p[8] & 0x80 else 0), PROTOCOL_LLC)
