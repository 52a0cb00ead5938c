"""What programs and routers write before a frame to say where it came from; then the frame follows."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from tcpsight.decode._wire cimport (
    LAYER_HDLC,
    LAYER_IP,
    LAYER_LINK,
    LAYER_RADIOTAP,
    PROTOCOL_ETHERNET,
    PROTOCOL_FRAME_RELAY,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_LLC,
    PROTOCOL_NOT_IP,
    PROTOCOL_PPP,
    Cursor,
    cut_short,
    holds,
    load16,
    load16_little,
    load32,
    load32_little,
    skip,
    step,
)
from tcpsight.tables cimport (
    REASON_ENCRYPTED_LINK,
    REASON_MALFORMED_LINK,
    REASON_NETLINK,
    REASON_NOT_IP,
    REASON_TOO_DEEP,
)

cdef enum:
    # Address families as operating systems number them; the writer's system is not in the file.
    FAMILY_INET = 2
    FAMILY_INET6_LINUX = 10
    FAMILY_INET6_BSD = 24
    FAMILY_INET6_FREEBSD = 28
    FAMILY_INET6_DARWIN = 30

cdef enum:
    # Hardware types under which the protocol field of a cooked header is not an EtherType (LINKTYPE_LINUX_SLL).
    ARPHRD_FRAD = 770
    ARPHRD_IEEE80211_RADIOTAP = 803
    ARPHRD_NETLINK = 824

cdef enum:
    # NFLOG's attribute that holds the packet (Linux, nfnetlink_log.h).
    NFULA_PAYLOAD = 9
    # Tags of exported PDUs (Wireshark, exported_pdu.h).
    EXPORTED_END = 0
    EXPORTED_DISSECTOR = 12
    # As many as any writer gives, and what a hostile frame may cost.
    MAX_ATTRIBUTES = 32

cdef enum:
    # Records of Endace's extensible format.
    ERF_HDLC = 1
    ERF_ETHERNET = 2
    ERF_AAL5 = 4
    ERF_CHANNEL_HDLC = 5
    ERF_CHANNEL_AAL5 = 9
    ERF_COLOR_HDLC = 10
    ERF_COLOR_ETHERNET = 11
    ERF_STREAM_HDLC = 15
    ERF_STREAM_ETHERNET = 16
    ERF_CHANNEL_COLOR_HDLC = 17
    ERF_HASH_HDLC = 19
    ERF_HASH_ETHERNET = 20
    ERF_IPV4 = 22
    ERF_IPV6 = 23


cdef inline int read_cooked(Cursor *cursor, int64_t length, int protocol_at, int hardware_at) noexcept nogil:
    """Read a Linux cooked header; version 1 and 2 differ in where the fields stand."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint32_t hardware, protocol
    if not holds(cursor, length):
        return cut_short(cursor)
    hardware = load16(p + hardware_at)
    protocol = load16(p + protocol_at)
    if hardware == ARPHRD_NETLINK:
        return REASON_NETLINK
    if hardware == ARPHRD_IEEE80211_RADIOTAP:
        return step(cursor, length, LAYER_RADIOTAP)
    if hardware == ARPHRD_FRAD:
        return step(cursor, length, PROTOCOL_FRAME_RELAY)
    if protocol <= 0x05FF:
        # Linux's own numbers: 4 is LLC.
        protocol = PROTOCOL_LLC if protocol == 4 else PROTOCOL_NOT_IP
    return step(cursor, length, protocol)


cdef inline int read_family(Cursor *cursor, int64_t length) noexcept nogil:
    """Read a BSD loopback header: it begins with an address family in the byte order of the machine that captured."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint32_t family
    if not holds(cursor, length):
        return cut_short(cursor)
    family = load32(p)
    if family & 0xFFFF == 0:
        # Families are small, so the half that is not zero tells the byte order.
        family = load16_little(p)
    if family == FAMILY_INET:
        return step(cursor, length, PROTOCOL_IPV4)
    if (
        family == FAMILY_INET6_LINUX
        or family == FAMILY_INET6_BSD
        or family == FAMILY_INET6_FREEBSD
        or family == FAMILY_INET6_DARWIN
    ):
        return step(cursor, length, PROTOCOL_IPV6)
    return REASON_NOT_IP


cdef inline int read_pflog(Cursor *cursor) noexcept nogil:
    """Step over what OpenBSD's packet filter logs: its first byte is its length, filled up to four bytes."""
    if not holds(cursor, 4):
        return cut_short(cursor)
    if cursor.bytes[cursor.at] < 4:
        return REASON_MALFORMED_LINK
    return skip(cursor, (cursor.bytes[cursor.at] + 3) & ~3, LAYER_IP)


cdef inline int read_docsis(Cursor *cursor) noexcept nogil:
    """Read a DOCSIS MAC header (CM-SP-MULPIv3.1 §6.2): only packets hold Ethernet."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 6
    if not holds(cursor, 6):
        return cut_short(cursor)
    if p[0] & 0xC0 and p[0] & 0xC0 != 0x80:
        return REASON_NOT_IP
    if p[0] & 1:
        size += p[1]
        if not holds(cursor, size):
            return cut_short(cursor)
        # A privacy element, if any, comes first; its first bit but one says whether it is in use.
        if p[1] >= 3 and (p[4] >> 4 == 3 or p[4] >> 4 == 4) and p[6] & 0x80:
            return REASON_ENCRYPTED_LINK
    return skip(cursor, size, PROTOCOL_ETHERNET)


# --- programs ---------------------------------------------------------------------------------------------------


cdef inline int read_ppi(Cursor *cursor) noexcept nogil:
    """Step over per-packet information; it names the link type of the rest."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 8):
        return cut_short(cursor)
    if p[0] != 0 or load16_little(p + 2) < 8:
        return REASON_MALFORMED_LINK
    cursor.link_type = load32_little(p + 4)
    return skip(cursor, load16_little(p + 2), LAYER_LINK)


cdef inline int read_pktap(Cursor *cursor) noexcept nogil:
    """Step over a header of Apple's pktap; it names the link type of the rest."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 12):
        return cut_short(cursor)
    if load32_little(p) < 12:
        return REASON_MALFORMED_LINK
    if load32_little(p + 4) != 1:
        # A record without a packet.
        return REASON_NOT_IP
    cursor.link_type = load32_little(p + 8)
    return skip(cursor, load32_little(p), LAYER_LINK)


cdef inline bint is_pktap(const Cursor *cursor) noexcept nogil:
    """Tell whether it is a pktap header that an old macOS filed under a private link type."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    return holds(cursor, 12) and 48 <= load32_little(p) <= 1024 and load32_little(p + 4) <= 1 and p[9] <= 1


cdef inline int read_nflog(Cursor *cursor) noexcept nogil:
    """Find the packet among the attributes of an NFLOG message; their numbers are in the order of the machine."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef bint is_big
    cdef int attributes
    cdef int64_t at = 4, size
    if not holds(cursor, 8):
        return cut_short(cursor)
    if p[1] != 0:
        return REASON_MALFORMED_LINK
    # Attributes have few kinds, so the byte that is not zero tells the byte order.
    is_big = p[6] == 0 and p[7] != 0
    for attributes in range(MAX_ATTRIBUTES):
        if not holds(cursor, at + 4):
            return cut_short(cursor)
        size = load16(p + at) if is_big else load16_little(p + at)
        if (load16(p + at + 2) if is_big else load16_little(p + at + 2)) & 0x7FFF == NFULA_PAYLOAD:
            return step(cursor, at + 4, LAYER_IP)
        if size < 4:
            return REASON_MALFORMED_LINK
        at += (size + 3) & ~3
    return REASON_TOO_DEEP


cdef inline int read_exported(Cursor *cursor) noexcept nogil:
    """Read the tags of a PDU that Wireshark exported; a whole packet follows only if its dissector says so."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint32_t protocol = PROTOCOL_NOT_IP
    cdef int tags
    cdef int64_t at = 0, size
    for tags in range(MAX_ATTRIBUTES):
        if not holds(cursor, at + 4):
            return cut_short(cursor)
        size = load16(p + at + 2)
        if not holds(cursor, at + 4 + size):
            return cut_short(cursor)
        if load16(p + at) == EXPORTED_END:
            return step(cursor, at + 4, protocol)
        if load16(p + at) == EXPORTED_DISSECTOR:
            protocol = protocol_of_dissector(p + at + 4, size)
        at += 4 + size
    return REASON_TOO_DEEP


cdef inline bint is_name(const uint8_t *given, int64_t size, const char *name) noexcept nogil:
    """Compare a name that is filled up with zeros."""
    cdef int64_t i = 0
    while name[i] != 0:
        if i == size or given[i] != <uint8_t>name[i]:
            return False
        i += 1
    return i == size or given[i] == 0


cdef inline uint32_t protocol_of_dissector(const uint8_t *name, int64_t size) noexcept nogil:
    """Translate what Wireshark calls its dissectors."""
    if is_name(name, size, b"ip"):
        return PROTOCOL_IPV4
    if is_name(name, size, b"ipv6"):
        return PROTOCOL_IPV6
    if is_name(name, size, b"ppp"):
        return PROTOCOL_PPP
    if is_name(name, size, b"eth") or is_name(name, size, b"eth_withoutfcs") or is_name(name, size, b"eth_maybefcs"):
        return PROTOCOL_ETHERNET
    return PROTOCOL_NOT_IP


cdef inline int read_erf(Cursor *cursor) noexcept nogil:
    """Read a record of Endace's format and its extension headers."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef uint8_t kind
    cdef int64_t size = 16
    cdef int extensions = 0
    if not holds(cursor, 16):
        return cut_short(cursor)
    kind = p[8] & 0x7F
    if p[8] & 0x80:
        while True:
            if not holds(cursor, size + 8):
                return cut_short(cursor)
            size += 8
            extensions += 1
            if not p[size - 8] & 0x80:
                break
            if extensions == MAX_ATTRIBUTES:
                return REASON_TOO_DEEP
    return follow_erf(cursor, kind, size)


cdef inline int follow_erf(Cursor *cursor, uint8_t kind, int64_t size) noexcept nogil:
    """Go behind a record's headers; some kinds have more before the frame."""
    if (
        kind == ERF_ETHERNET
        or kind == ERF_COLOR_ETHERNET
        or kind == ERF_STREAM_ETHERNET
        or kind == ERF_HASH_ETHERNET
    ):
        # An offset and a byte of padding.
        return skip(cursor, size + 2, PROTOCOL_ETHERNET)
    elif kind == ERF_HDLC or kind == ERF_COLOR_HDLC or kind == ERF_STREAM_HDLC or kind == ERF_HASH_HDLC:
        return skip(cursor, size, LAYER_HDLC)
    elif kind == ERF_CHANNEL_HDLC or kind == ERF_CHANNEL_COLOR_HDLC:
        return skip(cursor, size + 4, LAYER_HDLC)
    elif kind == ERF_AAL5 or kind == ERF_CHANNEL_AAL5:
        # The cell's header, perhaps the channel's before it.
        return skip(cursor, size + (4 if kind == ERF_AAL5 else 8), PROTOCOL_LLC)
    elif kind == ERF_IPV4:
        return skip(cursor, size, PROTOCOL_IPV4)
    elif kind == ERF_IPV6:
        return skip(cursor, size, PROTOCOL_IPV6)
    return REASON_NOT_IP


# --- Juniper ----------------------------------------------------------------------------------------------------


cdef inline int read_juniper(Cursor *cursor, int64_t cookie, uint32_t protocol) noexcept nogil:
    """Read what Juniper's routers write: magic, flags, extensions; then a cookie of the interface's kind."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 4
    if not holds(cursor, 4):
        return cut_short(cursor)
    if p[0] != 0x4D or p[1] != 0x47 or p[2] != 0x43:
        return REASON_MALFORMED_LINK
    if p[3] & 0x80:
        if not holds(cursor, 6):
            return cut_short(cursor)
        size = 6 + <int64_t>load16(p + 4)
    if p[3] & 2:
        # The link header was taken away; four bytes stand for it.
        return skip(cursor, size + 4, LAYER_IP)
    if cookie and holds(cursor, size + 1) and (p[size] == 0x54 or p[size] == 0x47):
        # Two kinds of service interfaces have cookies of their own length.
        cookie = cookie + 2 if p[size] == 0x54 else 8
    return skip(cursor, size + cookie, protocol)
