"""The link layer: from the frame's first byte to the first EtherType.

Link types are the LINKTYPE_ numbers of the pcap registry. A new one is a branch in `read_link` and a function
here; what stands between the link layer and IP (tags today; labels and sessions are of the same kind) is a step of
the kernel's loop.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from tcpsight.decode._wire cimport (
    GOES_ON,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_NOT_IP,
    PROTOCOL_VLAN,
    PROTOCOL_VLAN_OLD,
    PROTOCOL_VLAN_OLDER,
    PROTOCOL_VLAN_SERVICE,
    Cursor,
    load16,
    load32,
)
from tcpsight.tables cimport (
    LINK_TYPE_TEXT_LENGTHS,
    REASON_MALFORMED_IP,
    REASON_NOT_IP,
    REASON_TRUNCATED_FRAME,
    REASON_UNKNOWN_LINK_TYPE,
)

cdef enum:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    # DLT_RAW of OpenBSD and of the others: some writers put the DLT into the file instead of 101.
    LINK_RAW_DLT = 12
    LINK_RAW_DLT_OPENBSD = 14
    LINK_RAW = 101
    LINK_LOOP = 108
    LINK_LINUX_SLL = 113
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_LINUX_SLL2 = 276

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


cdef inline int read_link(Cursor *cursor, uint32_t link_type) noexcept nogil:
    """Read the link layer's header."""
    if link_type == LINK_ETHERNET:
        return read_ethernet(cursor)
    elif link_type == LINK_LINUX_SLL:
        return read_cooked(cursor, 16, 14, 2)
    elif link_type == LINK_LINUX_SLL2:
        return read_cooked(cursor, 20, 0, 8)
    elif link_type == LINK_NULL or link_type == LINK_LOOP:
        return read_family(cursor)
    elif link_type == LINK_IPV4:
        cursor.protocol = PROTOCOL_IPV4
        return GOES_ON
    elif link_type == LINK_IPV6:
        cursor.protocol = PROTOCOL_IPV6
        return GOES_ON
    elif (
        link_type == LINK_RAW
        or link_type == LINK_RAW_DLT
        or link_type == LINK_RAW_DLT_OPENBSD
        or link_type == LINK_TYPE_TEXT_LENGTHS
    ):
        return read_ip_version(cursor)
    return REASON_UNKNOWN_LINK_TYPE


cdef inline int read_ethernet(Cursor *cursor) noexcept nogil:
    """Read an Ethernet II header; lengths of 802.3 frames become protocols that nobody knows."""
    if cursor.captured < 14:
        return REASON_TRUNCATED_FRAME
    cursor.protocol = load16(cursor.bytes + 12)
    cursor.at = 14
    return GOES_ON


cdef inline bint is_tag(uint32_t protocol) noexcept nogil:
    """Tell whether a VLAN tag follows."""
    return (
        protocol == PROTOCOL_VLAN
        or protocol == PROTOCOL_VLAN_SERVICE
        or protocol == PROTOCOL_VLAN_OLD
        or protocol == PROTOCOL_VLAN_OLDER
    )


cdef inline int read_tag(Cursor *cursor) noexcept nogil:
    """Step over one VLAN tag: two bytes of tag, then the EtherType of what follows."""
    if cursor.captured - cursor.at < 4:
        return REASON_TRUNCATED_FRAME
    cursor.protocol = load16(cursor.bytes + cursor.at + 2)
    cursor.at += 4
    return GOES_ON


cdef inline int read_cooked(Cursor *cursor, int64_t length, int protocol_at, int hardware_at) noexcept nogil:
    """Read a Linux cooked header; version 1 and 2 differ in where the fields stand."""
    cdef uint32_t hardware
    if cursor.captured < length:
        return REASON_TRUNCATED_FRAME
    hardware = load16(cursor.bytes + hardware_at)
    if hardware == ARPHRD_NETLINK or hardware == ARPHRD_IEEE80211_RADIOTAP or hardware == ARPHRD_FRAD:
        return REASON_NOT_IP
    cursor.protocol = load16(cursor.bytes + protocol_at)
    cursor.at = length
    return GOES_ON


cdef inline int read_family(Cursor *cursor) noexcept nogil:
    """Read a BSD loopback header: an address family in the byte order of the machine that captured."""
    cdef uint32_t family
    if cursor.captured < 4:
        return REASON_TRUNCATED_FRAME
    family = load32(cursor.bytes)
    if family & 0xFFFF == 0:
        # Families are small, so the half that is not zero tells the byte order.
        family = (cursor.bytes[1] << 8) | cursor.bytes[0]
    cursor.at = 4
    if family == FAMILY_INET:
        cursor.protocol = PROTOCOL_IPV4
    elif (
        family == FAMILY_INET6_LINUX
        or family == FAMILY_INET6_BSD
        or family == FAMILY_INET6_FREEBSD
        or family == FAMILY_INET6_DARWIN
    ):
        cursor.protocol = PROTOCOL_IPV6
    else:
        cursor.protocol = PROTOCOL_NOT_IP
    return GOES_ON


cdef inline int read_ip_version(Cursor *cursor) noexcept nogil:
    """Tell IPv4 from IPv6 where nothing but the version field does."""
    cdef uint8_t version
    if cursor.captured - cursor.at < 1:
        return REASON_TRUNCATED_FRAME
    version = cursor.bytes[cursor.at] >> 4
    if version == 4:
        cursor.protocol = PROTOCOL_IPV4
    elif version == 6:
        cursor.protocol = PROTOCOL_IPV6
    else:
        return REASON_MALFORMED_IP
    return GOES_ON
