"""What the stages of decoding hand on: a place in one frame's bytes, and the IP packet found there.

A stage reads one header at `Cursor.at`, moves `at` behind it and sets `Cursor.protocol` to what follows. It answers
`GOES_ON` (another header follows), `HOLDS_TCP` (a TCP header follows), or the REASON why there is no segment here.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    # Reasons are zero and up.
    GOES_ON = -1
    HOLDS_TCP = -2

cdef enum:
    # EtherTypes (IEEE 802 registry). Every stage speaks them, also where the wire has another numbering.
    PROTOCOL_IPV4 = 0x0800
    PROTOCOL_IPV6 = 0x86DD
    PROTOCOL_VLAN = 0x8100  # IEEE 802.1Q, customer tag
    PROTOCOL_VLAN_SERVICE = 0x88A8  # IEEE 802.1ad, service tag
    PROTOCOL_VLAN_OLD = 0x9100  # stacked tags before 802.1ad
    PROTOCOL_VLAN_OLDER = 0x9200
    # Not an EtherType: these values are lengths of IEEE 802.3 frames, so no protocol is called zero.
    PROTOCOL_NOT_IP = 0

cdef struct Cursor:
    const uint8_t *bytes  # the frame's first byte
    int64_t at  # where the next header begins, counted from `bytes`
    int64_t captured  # how many bytes the capture holds: none beyond may be read
    int64_t wire  # how many bytes were on the wire, as the capture states it
    uint32_t protocol  # what the next header is

cdef struct Packet:
    int64_t header_at  # where the IP header begins
    int64_t end  # where the IP packet ends by its own length; beyond lies padding
    uint16_t ip_id
    uint8_t ip_version
    uint8_t ttl


cdef inline uint32_t load16(const uint8_t *p) noexcept nogil:
    """Read two bytes in network order, at any alignment."""
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t load32(const uint8_t *p) noexcept nogil:
    """Read four bytes in network order, at any alignment."""
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]
