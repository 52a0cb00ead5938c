"""The link layer: which header a frame of each link type begins with.

Link types are the LINKTYPE_ numbers of the pcap registry. A new one is a branch in `read_link`, and a function in the
file of its family if none there fits it.
"""

from libc.stdint cimport uint8_t, uint32_t

from tcpsight.decode._records cimport (
    is_pktap,
    read_cooked,
    read_docsis,
    read_erf,
    read_exported,
    read_family,
    read_juniper,
    read_nflog,
    read_pflog,
    read_pktap,
    read_ppi,
)
from tcpsight.decode._serial cimport (
    read_fddi,
    read_frame_relay,
    read_line,
    read_llc_or_ip,
    read_token_ring,
)
from tcpsight.decode._tags cimport read_ethernet, read_pppoe, read_tag
from tcpsight.decode._wire cimport (
    LAYER_HDLC,
    LAYER_IP,
    LAYER_RADIOTAP,
    LAYER_TAGGED,
    LAYER_WIFI,
    PROTOCOL_ETHERNET,
    PROTOCOL_FRAME_RELAY,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_LLC,
    PROTOCOL_PPP,
    Cursor,
    cut_short,
    holds,
    skip,
    step,
)
from tcpsight.decode._wireless cimport read_avs, read_prism
from tcpsight.tables cimport (
    LINK_TYPE_TEXT_LENGTHS,
    REASON_MALFORMED_IP,
    REASON_NETLINK,
    REASON_NO_NETWORK,
    REASON_UNKNOWN_LINK_TYPE,
)

cdef enum:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    LINK_TOKEN_RING = 6
    LINK_SLIP = 8
    LINK_PPP = 9
    LINK_FDDI = 10
    # DLT_RAW of OpenBSD and of the others: some writers put the DLT into the file instead of 101.
    LINK_RAW_DLT = 12
    LINK_RAW_DLT_OPENBSD = 14
    LINK_PPP_HDLC = 50
    LINK_PPP_ETHER = 51
    LINK_ATM_RFC1483 = 100
    LINK_RAW = 101
    LINK_C_HDLC = 104
    LINK_IEEE802_11 = 105
    LINK_ATM_CLIP = 106
    LINK_FRELAY = 107
    LINK_LOOP = 108
    LINK_ENC = 109
    LINK_LINUX_SLL = 113
    LINK_PFLOG = 117
    LINK_PRISM = 119
    LINK_IP_OVER_FC = 122
    LINK_SUNATM = 123
    LINK_RADIOTAP = 127
    LINK_JUNIPER_GGSN = 133
    LINK_JUNIPER_SERVICES = 136
    LINK_JUNIPER_ATM1 = 137
    LINK_APPLE_IP_OVER_IEEE1394 = 138
    LINK_DOCSIS = 143
    LINK_USER2 = 149
    LINK_AVS = 163
    LINK_JUNIPER_MONITOR = 164
    LINK_PPP_PPPD = 166
    LINK_JUNIPER_PPPOE = 167
    LINK_JUNIPER_PPPOE_ATM = 168
    LINK_JUNIPER_ETHER = 178
    LINK_JUNIPER_PPP = 179
    LINK_JUNIPER_FRELAY = 180
    LINK_JUNIPER_CHDLC = 181
    LINK_PPI = 192
    LINK_ERF = 197
    LINK_PPP_WITH_DIR = 204
    LINK_C_HDLC_WITH_DIR = 205
    LINK_FRELAY_WITH_DIR = 206
    LINK_IPNET = 226
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_NFLOG = 239
    LINK_NETANALYZER = 240
    LINK_NETANALYZER_TRANSPARENT = 241
    LINK_WIRESHARK_UPPER_PDU = 252
    LINK_NETLINK = 253
    LINK_PKTAP = 258
    LINK_ETHERNET_MPACKET = 274
    LINK_LINUX_SLL2 = 276
    LINK_DSA_TAG_BRCM = 281
    LINK_DSA_TAG_BRCM_PREPEND = 282
    LINK_DSA_TAG_DSA = 284
    LINK_DSA_TAG_EDSA = 285


cdef inline int read_link(Cursor *cursor, uint32_t link_type) noexcept nogil:
    """Read the first header of a frame."""
    cdef int outcome
    if link_type == LINK_ETHERNET:
        return read_ethernet(cursor)
    elif link_type == LINK_LINUX_SLL:
        return read_cooked(cursor, 16, 14, 2)
    elif link_type == LINK_LINUX_SLL2:
        return read_cooked(cursor, 20, 0, 8)
    elif link_type == LINK_NULL or link_type == LINK_LOOP:
        return read_family(cursor, 4)
    elif link_type == LINK_IPV4:
        return step(cursor, 0, PROTOCOL_IPV4)
    elif link_type == LINK_IPV6:
        return step(cursor, 0, PROTOCOL_IPV6)
    elif (
        link_type == LINK_RAW
        or link_type == LINK_RAW_DLT
        or link_type == LINK_RAW_DLT_OPENBSD
        or link_type == LINK_TYPE_TEXT_LENGTHS
    ):
        return step(cursor, 0, LAYER_IP)
    outcome = read_line_link(cursor, link_type)
    if outcome == REASON_UNKNOWN_LINK_TYPE:
        outcome = read_radio_link(cursor, link_type)
    if outcome == REASON_UNKNOWN_LINK_TYPE:
        outcome = read_recorded_link(cursor, link_type)
    if outcome == REASON_UNKNOWN_LINK_TYPE:
        outcome = read_switch_link(cursor, link_type)
    if outcome == REASON_UNKNOWN_LINK_TYPE and has_no_network(link_type):
        return REASON_NO_NETWORK
    return outcome


cdef inline int read_line_link(Cursor *cursor, uint32_t link_type) noexcept nogil:
    """Read the first header of a frame from a serial line, or a LAN other than Ethernet."""
    if link_type == LINK_PPP or link_type == LINK_PPP_HDLC:
        return read_line(cursor)
    elif link_type == LINK_PPP_WITH_DIR:
        return skip(cursor, 1, PROTOCOL_PPP)
    elif link_type == LINK_PPP_PPPD:
        # A direction in the place of the address.
        return skip(cursor, 2, PROTOCOL_PPP)
    elif link_type == LINK_PPP_ETHER:
        return read_pppoe(cursor)
    elif link_type == LINK_C_HDLC:
        return step(cursor, 0, LAYER_HDLC)
    elif link_type == LINK_C_HDLC_WITH_DIR:
        return skip(cursor, 1, LAYER_HDLC)
    elif link_type == LINK_FRELAY:
        return read_frame_relay(cursor)
    elif link_type == LINK_FRELAY_WITH_DIR:
        return skip(cursor, 1, PROTOCOL_FRAME_RELAY)
    elif link_type == LINK_SLIP:
        return skip(cursor, 16, LAYER_IP)
    elif link_type == LINK_ATM_RFC1483 or link_type == LINK_ATM_CLIP:
        return read_llc_or_ip(cursor)
    elif link_type == LINK_SUNATM:
        return skip(cursor, 4, PROTOCOL_LLC)
    elif link_type == LINK_FDDI:
        return read_fddi(cursor)
    elif link_type == LINK_TOKEN_RING:
        return read_token_ring(cursor)
    elif link_type == LINK_IP_OVER_FC:
        return skip(cursor, 16, PROTOCOL_LLC)
    elif link_type == LINK_APPLE_IP_OVER_IEEE1394:
        return read_tag(cursor, 18)
    return REASON_UNKNOWN_LINK_TYPE


cdef inline int read_radio_link(Cursor *cursor, uint32_t link_type) noexcept nogil:
    """Read the first header of a frame from Wi-Fi."""
    if link_type == LINK_IEEE802_11:
        return step(cursor, 0, LAYER_WIFI)
    elif link_type == LINK_RADIOTAP:
        return step(cursor, 0, LAYER_RADIOTAP)
    elif link_type == LINK_PRISM:
        return read_prism(cursor)
    elif link_type == LINK_AVS:
        return read_avs(cursor)
    return REASON_UNKNOWN_LINK_TYPE


cdef inline int read_recorded_link(Cursor *cursor, uint32_t link_type) noexcept nogil:
    """Read the first header of a frame that a program or a router wrote a record around."""
    if link_type == LINK_PPI:
        return read_ppi(cursor)
    elif link_type == LINK_PKTAP or (link_type == LINK_USER2 and is_pktap(cursor)):
        return read_pktap(cursor)
    elif link_type == LINK_NFLOG:
        return read_nflog(cursor)
    elif link_type == LINK_PFLOG:
        return read_pflog(cursor)
    elif link_type == LINK_ENC:
        return read_family(cursor, 12)
    elif link_type == LINK_IPNET:
        return skip(cursor, 24, LAYER_IP)
    elif link_type == LINK_WIRESHARK_UPPER_PDU:
        return read_exported(cursor)
    elif link_type == LINK_ERF:
        return read_erf(cursor)
    elif link_type == LINK_NETLINK:
        return REASON_NETLINK
    elif link_type == LINK_JUNIPER_ETHER or link_type == LINK_JUNIPER_PPPOE:
        return read_juniper(cursor, 0, PROTOCOL_ETHERNET)
    elif link_type == LINK_JUNIPER_PPP:
        return read_juniper(cursor, 0, PROTOCOL_PPP)
    elif link_type == LINK_JUNIPER_FRELAY:
        return read_juniper(cursor, 0, PROTOCOL_FRAME_RELAY)
    elif link_type == LINK_JUNIPER_CHDLC:
        return read_juniper(cursor, 0, LAYER_HDLC)
    elif link_type == LINK_JUNIPER_GGSN or link_type == LINK_JUNIPER_SERVICES or link_type == LINK_JUNIPER_MONITOR:
        return read_juniper(cursor, 8, LAYER_IP)
    elif link_type == LINK_JUNIPER_ATM1:
        return read_juniper(cursor, 4, PROTOCOL_LLC)
    elif link_type == LINK_JUNIPER_PPPOE_ATM:
        return read_juniper(cursor, 0, LAYER_TAGGED)
    return REASON_UNKNOWN_LINK_TYPE


cdef inline int read_switch_link(Cursor *cursor, uint32_t link_type) noexcept nogil:
    """Read the first header of an Ethernet frame into which hardware wrote more."""
    if link_type == LINK_NETANALYZER or link_type == LINK_DSA_TAG_BRCM_PREPEND:
        return skip(cursor, 4, PROTOCOL_ETHERNET)
    elif link_type == LINK_NETANALYZER_TRANSPARENT:
        return skip(cursor, 12, PROTOCOL_ETHERNET)
    elif link_type == LINK_ETHERNET_MPACKET:
        # Preamble and delimiter.
        return skip(cursor, 8, PROTOCOL_ETHERNET)
    elif link_type == LINK_DSA_TAG_BRCM or link_type == LINK_DSA_TAG_DSA:
        return read_tag(cursor, 18)
    elif link_type == LINK_DSA_TAG_EDSA:
        return read_tag(cursor, 22)
    elif link_type == LINK_DOCSIS:
        return read_docsis(cursor)
    return REASON_UNKNOWN_LINK_TYPE


cdef inline bint has_no_network(uint32_t link_type) noexcept nogil:
    """Tell whether it is a bus, a radio or a signalling link that carries no TCP."""
    # Signalling system 7, LAPD, BACnet; Bluetooth; USB; CAN, IPMB, FlexRay, MOST, LIN; broadcasting; NFC; vsock.
    return link_type in (
        139, 140, 141, 142, 165, 177, 203, 187, 201, 251, 254, 255, 256, 272, 186, 189, 220, 249, 266, 288, 190, 227,
        199, 209, 210, 211, 212, 235, 243, 245, 271,
    )  # fmt: skip


cdef inline int read_ip_version(Cursor *cursor) noexcept nogil:
    """Tell IPv4 from IPv6 where nothing but the version field does."""
    cdef uint8_t version
    if not holds(cursor, 1):
        return cut_short(cursor)
    version = cursor.bytes[cursor.at] >> 4
    if version == 4:
        return step(cursor, 0, PROTOCOL_IPV4)
    if version == 6:
        return step(cursor, 0, PROTOCOL_IPV6)
    return REASON_MALFORMED_IP
