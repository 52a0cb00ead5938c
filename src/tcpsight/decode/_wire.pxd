"""What the stages of decoding hand on: a place in one frame's bytes, and the IP packet found there.

A stage reads one header at `Cursor.at`, moves `at` behind it and sets `Cursor.protocol` to what follows. It answers
`GOES_ON` (another header follows), `HOLDS_TCP` (a TCP header follows), `HOLDS_FRAGMENT`, or the REASON why there is no
segment here.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from tcpsight._door cimport prefetch_both
from tcpsight.tables cimport REASON_MALFORMED_LINK, REASON_TRUNCATED_FRAME, Frame

cdef enum:
    # So many frames ahead headers are fetched: a mapped file was looked at by nobody else before, and so was little of
    # long frames.
    FETCH_FRAMES = 12

cdef enum:
    # Reasons are zero and up.
    GOES_ON = -1
    HOLDS_TCP = -2
    HOLDS_TCP_AND_MORE = -3  # and further packets, which are not read
    HOLDS_FRAGMENT = -4  # part of an IP packet
    HELD = -5  # part of an IP packet that is not whole yet

cdef enum:
    # EtherTypes (IEEE 802 registry). Every stage speaks them, also where the wire has another numbering.
    PROTOCOL_IPV4 = 0x0800
    PROTOCOL_TRILL = 0x22F3  # RFC 6325
    PROTOCOL_ETHERNET = 0x6558  # transparent Ethernet bridging
    PROTOCOL_FRAME_RELAY = 0x6559
    PROTOCOL_VLAN = 0x8100  # IEEE 802.1Q, customer tag
    PROTOCOL_IPV6 = 0x86DD
    PROTOCOL_PPP = 0x880B
    PROTOCOL_MPLS = 0x8847
    PROTOCOL_MPLS_UPSTREAM = 0x8848  # once: multicast
    PROTOCOL_PPPOE_SESSION = 0x8864  # RFC 2516
    PROTOCOL_LLC = 0x8870  # 802.3 frames that are longer than their length field could tell
    PROTOCOL_VLAN_SERVICE = 0x88A8  # IEEE 802.1ad, service tag
    PROTOCOL_FABRICPATH = 0x8903  # Cisco
    PROTOCOL_METADATA = 0x8909  # Cisco, security group tag
    PROTOCOL_MACSEC = 0x88E5  # IEEE 802.1AE
    PROTOCOL_BACKBONE = 0x88E7  # IEEE 802.1ah
    PROTOCOL_VNTAG = 0x8926  # Cisco
    PROTOCOL_HSR = 0x892F  # IEC 62439-3
    PROTOCOL_ETAG = 0x893F  # IEEE 802.1BR
    PROTOCOL_NSH = 0x894F  # RFC 8300
    PROTOCOL_VLAN_OLD = 0x9100  # stacked tags before 802.1ad
    PROTOCOL_VLAN_OLDER = 0x9200
    PROTOCOL_RTAG = 0xF1C1  # IEEE 802.1CB
    # Not an EtherType: these values are lengths of IEEE 802.3 frames, so no protocol is called zero.
    PROTOCOL_NOT_IP = 0
    LONGEST_802_3 = 1500
    # What has no EtherType, or none that says this; EtherTypes have 16 bits.
    LAYER_LINK = 0x10000  # a frame of `Cursor.link_type`
    LAYER_IP = 0x10001  # IP whose version only the packet tells
    LAYER_BEHIND_IP = 0x10002  # what `Cursor.next_header` says
    LAYER_HDLC = 0x10003
    LAYER_WIFI = 0x10004
    LAYER_RADIOTAP = 0x10005
    LAYER_TAGGED = 0x10006  # an EtherType that stands alone
    LAYER_PSEUDOWIRE = 0x10007  # Ethernet behind labels, perhaps with a control word

cdef struct Cursor:
    const uint8_t *bytes  # the frame's first byte
    int64_t at  # where the next header begins, counted from `bytes`
    int64_t captured  # how many bytes the capture holds: none beyond may be read
    int64_t wire  # how many bytes were on the wire, as the capture states it
    uint32_t protocol  # what the next header is
    uint32_t link_type  # for LAYER_LINK
    uint16_t tunnel  # Headers.tunnel
    uint8_t encapsulation  # Headers.encapsulation
    uint8_t next_header  # for LAYER_BEHIND_IP
    bint is_clipped  # an outer packet ends before the capture does: `captured` is its end
    bint has_more  # the frame holds further packets, which are not read

cdef struct Packet:
    int64_t header_at  # where the IP header begins
    int64_t end  # where the IP packet ends by its own length; beyond lies padding
    uint16_t ip_id
    uint8_t ip_version
    uint8_t ttl


cdef inline void fetch_later(const Frame *frames, int64_t i, int64_t n, const uint8_t *data) noexcept nogil:
    """Fetch what a frame behind frame i begins with: the two cache lines that headers mostly take."""
    prefetch_both(data, frames[min(i + FETCH_FRAMES, n - 1)].position)


cdef inline uint32_t load16(const uint8_t *p) noexcept nogil:
    """Read two bytes in network order, at any alignment."""
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t load32(const uint8_t *p) noexcept nogil:
    """Read four bytes in network order, at any alignment."""
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint32_t load24(const uint8_t *p) noexcept nogil:
    """Read three bytes in network order."""
    return (<uint32_t>p[0] << 16) | (<uint32_t>p[1] << 8) | p[2]


cdef inline uint32_t load16_little(const uint8_t *p) noexcept nogil:
    """Read two bytes, the low one first, at any alignment."""
    return (<uint32_t>p[1] << 8) | p[0]


cdef inline uint32_t load32_little(const uint8_t *p) noexcept nogil:
    """Read four bytes, the lowest first, at any alignment."""
    return (<uint32_t>p[3] << 24) | (<uint32_t>p[2] << 16) | (<uint32_t>p[1] << 8) | p[0]


cdef inline bint holds(const Cursor *cursor, int64_t size) noexcept nogil:
    """Tell whether the next `size` bytes were captured, and lie in the packet that carries them."""
    return cursor.captured - cursor.at >= size


cdef inline int cut_short(const Cursor *cursor) noexcept nogil:
    """Tell why a header is not there to be read."""
    return REASON_MALFORMED_LINK if cursor.is_clipped else REASON_TRUNCATED_FRAME


cdef inline int step(Cursor *cursor, int64_t size, uint32_t protocol) noexcept nogil:
    """Go behind a header of `size` bytes that was read."""
    cursor.at += size
    cursor.protocol = protocol
    return GOES_ON


cdef inline int skip(Cursor *cursor, int64_t size, uint32_t protocol) noexcept nogil:
    """Step over `size` bytes of which nothing is needed."""
    if not holds(cursor, size):
        return cut_short(cursor)
    return step(cursor, size, protocol)


cdef inline int enter(Cursor *cursor, const Packet *packet, uint8_t encapsulation, uint32_t protocol) noexcept nogil:
    """Enter a tunnel: what it carries ends with the packet around it."""
    if packet.end < cursor.captured:
        cursor.captured = packet.end
        cursor.is_clipped = True
    cursor.wire = min(cursor.wire, packet.end)
    cursor.encapsulation = encapsulation
    cursor.tunnel = <uint16_t>(((<uint32_t>cursor.tunnel << 4) | encapsulation) & 0xFFFF)
    cursor.protocol = protocol
    return GOES_ON
