"""What stands between the link layer and IP and has an EtherType: tags, labels, sessions, frames within frames."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from tcpsight.decode._wire cimport (
    GOES_ON,
    LAYER_PSEUDOWIRE,
    LONGEST_802_3,
    PROTOCOL_ETHERNET,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_MPLS,
    PROTOCOL_NOT_IP,
    PROTOCOL_NSH,
    PROTOCOL_PPP,
    PROTOCOL_VLAN,
    PROTOCOL_VLAN_SERVICE,
    Cursor,
    cut_short,
    holds,
    load16,
    skip,
    step,
)
from tcpsight.tables cimport (
    REASON_ENCRYPTED_LINK,
    REASON_MALFORMED_LINK,
    REASON_NOT_IP,
    REASON_TOO_DEEP,
)

cdef enum:
    # Networks stack a handful of labels; the bound is what a hostile frame may cost.
    MAX_LABELS = 16


cdef inline int read_ethernet(Cursor *cursor) noexcept nogil:
    """Read an Ethernet header; the protocol may be the length of an 802.3 frame."""
    if not holds(cursor, 14):
        return cut_short(cursor)
    return step(cursor, 14, load16(cursor.bytes + cursor.at + 12))


cdef inline int read_tag(Cursor *cursor, int64_t size) noexcept nogil:
    """Step over a tag whose last two bytes are the EtherType of what follows."""
    if not holds(cursor, size):
        return cut_short(cursor)
    return step(cursor, size, load16(cursor.bytes + cursor.at + size - 2))


cdef inline int read_macsec(Cursor *cursor) noexcept nogil:
    """Read a security tag (IEEE 802.1AE §9): where only integrity is protected, the data stand there in clear."""
    cdef uint8_t control
    if not holds(cursor, 6):
        return cut_short(cursor)
    control = cursor.bytes[cursor.at]
    if control & 0x0C:
        return REASON_ENCRYPTED_LINK
    # With or without an explicit channel identifier.
    return read_tag(cursor, 16 if control & 0x20 else 8)


cdef inline int read_pppoe(Cursor *cursor) noexcept nogil:
    """Read a PPPoE session header (RFC 2516 §4)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 6):
        return cut_short(cursor)
    if p[0] != 0x11:
        return REASON_MALFORMED_LINK
    if p[1] != 0:
        return REASON_NOT_IP
    return step(cursor, 6, PROTOCOL_PPP)


cdef inline int read_trill(Cursor *cursor) noexcept nogil:
    """Read a TRILL header and its options (RFC 6325 §3); a frame with its own Ethernet header follows."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 6):
        return cut_short(cursor)
    return skip(cursor, 6 + 4 * <int64_t>(((p[0] & 7) << 2) | (p[1] >> 6)), PROTOCOL_ETHERNET)


cdef inline uint32_t protocol_of_service(uint8_t number) noexcept nogil:
    """Translate the numbering that NSH (RFC 8300 §2.2) and VXLAN-GPE share."""
    if number == 1:
        return PROTOCOL_IPV4
    if number == 2:
        return PROTOCOL_IPV6
    if number == 3:
        return PROTOCOL_ETHERNET
    if number == 4:
        return PROTOCOL_NSH
    if number == 5:
        return PROTOCOL_MPLS
    return PROTOCOL_NOT_IP


cdef inline int read_nsh(Cursor *cursor) noexcept nogil:
    """Read a network service header (RFC 8300 §2)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 4):
        return cut_short(cursor)
    if p[0] >> 6 or (p[1] & 0x3F) < 2:
        return REASON_MALFORMED_LINK
    return skip(cursor, 4 * <int64_t>(p[1] & 0x3F), protocol_of_service(p[3]))


# --- labels -----------------------------------------------------------------------------------------------------


cdef inline int read_labels(Cursor *cursor) noexcept nogil:
    """Step over a stack of labels (RFC 3032 §2.1). What follows, only its first bytes tell."""
    cdef int labels
    cdef uint8_t version
    for labels in range(MAX_LABELS):
        if not holds(cursor, 4):
            return cut_short(cursor)
        cursor.at += 4
        if cursor.bytes[cursor.at - 2] & 1:
            break
    else:
        return REASON_TOO_DEEP
    if not holds(cursor, 1):
        return cut_short(cursor)
    version = cursor.bytes[cursor.at] >> 4
    cursor.protocol = LAYER_PSEUDOWIRE
    if (version == 4 or version == 6) and (fits_ip(cursor) or not looks_like_ethernet(cursor, 0)):
        cursor.protocol = PROTOCOL_IPV4 if version == 4 else PROTOCOL_IPV6
    return GOES_ON


cdef inline bint fits_ip(const Cursor *cursor) noexcept nogil:
    """Tell whether an IP header would be possible here; for where nothing says what it is."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 6):
        return False
    if p[0] >> 4 == 6:
        return cursor.at + 40 + load16(p + 4) <= cursor.wire
    return p[0] >> 4 == 4 and p[0] & 15 >= 5 and cursor.at + load16(p + 2) <= cursor.wire


cdef inline bint looks_like_ethernet(const Cursor *cursor, int64_t behind) noexcept nogil:
    """Tell whether an Ethernet header that leads to IP, or a tag, stands so many bytes ahead."""
    cdef const uint8_t *p = cursor.bytes + cursor.at + behind
    cdef uint32_t protocol
    if not holds(cursor, behind + 15):
        return False
    protocol = load16(p + 12)
    if protocol == PROTOCOL_IPV4:
        return p[14] >> 4 == 4
    if protocol == PROTOCOL_IPV6:
        return p[14] >> 4 == 6
    return protocol == PROTOCOL_VLAN or protocol == PROTOCOL_VLAN_SERVICE


cdef inline int read_pseudowire(Cursor *cursor) noexcept nogil:
    """Find the Ethernet header behind labels (RFC 4448): whether a control word stands before it, nothing tells."""
    if looks_like_ethernet(cursor, 4):
        return step(cursor, 4, PROTOCOL_ETHERNET)
    if looks_like_ethernet(cursor, 0):
        return step(cursor, 0, PROTOCOL_ETHERNET)
    return REASON_NOT_IP


cdef inline int read_session(Cursor *cursor) noexcept nogil:
    """Find the Ethernet header in a session of L2TPv3 (RFC 3931 §4.1).

    Cookie (0, 4 or 8 bytes) and sublayer (0 or 4) were agreed upon before, so their lengths are tried.
    """
    cdef int64_t ahead
    for ahead in range(0, 13, 4):
        if looks_like_ethernet(cursor, ahead):
            return step(cursor, ahead, PROTOCOL_ETHERNET)
    return REASON_NOT_IP


cdef inline bint is_length(uint32_t protocol) noexcept nogil:
    """Tell whether it is the length of an IEEE 802.3 frame and no EtherType."""
    return 0 < protocol <= LONGEST_802_3
