# Which segments become rows: all, or those between a few pairs of endpoints.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp

from tcpsight.tables cimport Header

cdef struct Way:
    # From one endpoint to the other, as they lie in a row.
    uint8_t source_address[16]
    uint8_t destination_address[16]
    uint16_t source_port
    uint16_t destination_port

cdef struct Choice:
    Way *ways
    int64_t count           # 0: all become rows
    uint8_t hashes[8192]    # a bit for each hash of the ports of a way


cdef class Ways:
    cdef Choice choice
    cdef void add(self, const Way *way) noexcept


cdef inline uint32_t hash_of(uint16_t source_port, uint16_t destination_port) noexcept nogil:
    """16 bits, an odd multiple of one port and the other."""
    return (<uint32_t>40503 * source_port + destination_port) & 0xFFFFu


cdef inline bint goes_a_way(const Choice *choice, const Header *header) noexcept nogil:
    cdef const Way *way
    cdef int64_t i
    for i in range(choice.count):
        way = choice.ways + i
        if (
            way.source_port == header.source_port
            and way.destination_port == header.destination_port
            and memcmp(way.source_address, header.source_address, 16) == 0
            and memcmp(way.destination_address, header.destination_address, 16) == 0
        ):
            return True
    return False


cdef inline int64_t keep_wanted(const Choice *choice, Header *headers, int64_t n) noexcept nogil:
    """Move the rows that are wanted to the front; give how many there are."""
    cdef int64_t kept = 0
    cdef int64_t i
    cdef uint32_t bit
    for i in range(n):
        bit = hash_of(headers[i].source_port, headers[i].destination_port)
        # That tells nearly all others.
        if choice.hashes[bit >> 3] >> (bit & 7) & 1 and goes_a_way(choice, headers + i):
            headers[kept] = headers[i]
            kept += 1
    return kept
