"""What the kernel needs of `_fragments.pyx`, which has the theory."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tcpsight.decode._wire cimport Cursor, Packet
from tcpsight.tables cimport Frame, Header

cdef enum:
    MOST_PACKETS = 256
    # Offsets count eight bytes (RFC 791 §3.1), one bit for each.
    WORDS = 128

cdef struct Key:
    uint8_t addresses[32]  # IPv4's are the first eight bytes
    uint32_t identification
    uint32_t interface_id
    uint16_t tunnel
    uint8_t encapsulation
    uint8_t ip_version

cdef struct Assembly:
    Key key
    int64_t begun_ns
    int64_t frames  # how many are held
    int64_t number  # of the packet, for those who want to know which frames it came in
    int64_t wire_bytes
    int64_t first_frame
    int64_t end  # −1 while the last fragment is missing
    int64_t highest  # how far any fragment reaches
    int64_t units  # bits set in `covered`
    bint is_whole
    bint is_spoilt
    uint64_t known  # a bit for each byte of the TCP header that is there
    uint8_t head[100]  # IP header, then TCP header
    uint64_t covered[WORDS]
    uint64_t begins[WORDS]  # where a fragment begins

cdef struct Notes:
    # Pairs: a frame, and twice the number of the packet of which it has a fragment, plus 1 if it made that whole.
    int64_t *pairs
    int64_t count
    int64_t room

cdef struct Assemblies:
    Assembly *packets
    uint32_t tags[MOST_PACKETS]  # hash of each packet's key; 0: none here
    int64_t next  # the place of the next packet, which is that of the oldest
    int64_t joined  # frames that became part of a segment in another frame
    int64_t *counts
    bint has_notes
    bint is_forgetful  # there was no memory for a note
    int64_t begun  # packets so far
    Notes notes

cdef class Fragments:
    cdef Assemblies all

cdef int take_fragment(
    Assemblies *all_, const Frame *frame, uint32_t interface_id, const Cursor *cursor, const Packet *around, Header *header
) noexcept nogil
