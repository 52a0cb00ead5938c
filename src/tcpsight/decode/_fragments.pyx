"""Packets that come in fragments: put together as far as a segment's header and length need it.

Theory of operation
-------------------
A TCP segment in fragments becomes one row, at the frame that completed its packet. A fragment that may be part of one
is held: where it lies in its packet, and the first 60 bytes of the packet, where the TCP header is. No payload is
kept, so the row tells how long the payload is, and that none of it is there. The frames that went before it belong to
the row and are counted nowhere else; if the packet never comes together, all are counted as `fragment`.

Fragments belong together by addresses, identification, IP version, innermost tunnels and interface (RFC 791 §3.2, RFC
8200 §4.5), within 30 s of the first to come. The table has room for the 256 packets begun last; the oldest makes room
for a new one, and a packet that is whole keeps its place, so that late copies of its fragments do not begin another.
Identifications are used again (RFC 4963): a first fragment with other bytes than the one held begins a new packet.

Order does not matter, nor that the TCP header is spread over several fragments (RFC 1858). Exact copies are part of
their packet. Where fragments overlap otherwise, IPv6 forbids it and the packet never becomes whole (RFC 5722); in IPv4
the bytes that came first stand. A packet with two ends, or with data behind its end, never becomes whole either.

What it cannot see: fragments of tunnels' outer packets and of anything but TCP, IPv4 packets with an authentication
header, IPv6 packets with an extension header behind the fragment header, fragments that come through different
interfaces or lie in different files, those behind another packet in one frame, and those of which a capture filter
took the rest away. All of them are counted.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from tcpsight.decode._network cimport NEXT_TCP
from tcpsight.decode._transport cimport read_tcp
from tcpsight.decode._wire cimport HELD, HOLDS_TCP, Cursor, Packet, load16, load32
from tcpsight.tables cimport OPTION_FRAGMENTED, REASON_FRAGMENT, REASONS, TLS_NONE, Frame, Header

cdef enum:
    LARGEST_PACKET = 65_535
    KEY_WORDS = 11
    LONGEST_HEADER = 60  # of TCP
    IP_HEADER = 40  # the longest without options; IPv4's stands at its beginning
    LIFETIME_NS = 30_000_000_000  # RFC 791 proposes 15 s and allows more; Linux takes 30 s, RFC 8200 60 s

cdef struct Fragment:
    const uint8_t *bytes  # what it carries
    int64_t held  # how many of these bytes were captured; may be negative
    int64_t begin  # where they lie in the packet
    int64_t end
    bint is_last


# --- one fragment -----------------------------------------------------------------------------------------------


cdef inline bint read_fragment(const Cursor *cursor, const Packet *packet, Fragment *fragment) noexcept nogil:
    """Tell where a fragment lies; False if it can be no part of a segment."""
    cdef const uint8_t *p
    cdef int64_t at, size
    cdef uint8_t protocol
    if packet.ip_version == 4:
        p = cursor.bytes + packet.header_at
        at = packet.header_at + (<int64_t>(p[0] & 0x0F) << 2)
        fragment.begin = <int64_t>(load16(p + 6) & 0x1FFF) << 3
        fragment.is_last = not p[6] & 0x20
        protocol = p[9]
    else:
        p = cursor.bytes + cursor.at
        at = cursor.at + 8
        fragment.begin = load16(p + 2) & 0xFFF8
        fragment.is_last = not p[3] & 1
        protocol = p[0]
    size = packet.end - at
    fragment.bytes = cursor.bytes + at
    fragment.held = cursor.captured - at
    fragment.end = fragment.begin + size
    if protocol != NEXT_TCP or cursor.has_more or size <= 0 or fragment.end > LARGEST_PACKET:
        return False
    return fragment.is_last or not size & 7


cdef inline void read_key(
    const Cursor *cursor, const Packet *packet, uint32_t interface_id, Key *key
) noexcept nogil:
    """Tell which packet a fragment belongs to."""
    cdef const uint8_t *p = cursor.bytes + packet.header_at
    memset(key, 0, sizeof(Key))
    key.interface_id = interface_id
    key.tunnel = cursor.tunnel
    key.encapsulation = cursor.encapsulation
    key.ip_version = packet.ip_version
    if packet.ip_version == 4:
        memcpy(key.addresses, p + 12, 8)
        key.identification = packet.ip_id
    else:
        memcpy(key.addresses, p + 8, 32)
        key.identification = load32(cursor.bytes + cursor.at + 4)


@cython.overflowcheck(False)
cdef inline uint32_t tag_of(const Key *key) noexcept nogil:
    """Give 32 bits that equal keys share, never 0. Forged collisions cost a look at each of the packets, no more."""
    cdef uint32_t words[KEY_WORDS]
    cdef uint64_t state = 0
    cdef int i
    memcpy(words, key, sizeof(words))
    for i in range(KEY_WORDS):
        state = (state ^ words[i]) * <uint64_t>0x9E3779B97F4A7C15
        state ^= state >> 32
    return <uint32_t>state | 1


@cython.overflowcheck(False)
cdef inline bint is_over(const Assembly *packet, int64_t time_ns) noexcept nogil:
    """Tell whether so much time lies between, forwards or backwards, that it is another packet."""
    cdef uint64_t later = <uint64_t>time_ns - <uint64_t>packet.begun_ns
    return later > LIFETIME_NS and 0 - later > LIFETIME_NS


# --- the packet it belongs to -----------------------------------------------------------------------------------


cdef inline int64_t find_packet(const Assemblies *all_, const Key *key, uint32_t tag) noexcept nogil:
    """Find the place of the packet with this key; −1 if there is none."""
    cdef int64_t i
    for i in range(MOST_PACKETS):
        if all_.tags[i] == tag and memcmp(&all_.packets[i].key, key, sizeof(Key)) == 0:
            return i
    return -1


cdef inline void count_packet(const Assembly *packet, int64_t *count) noexcept nogil:
    """Count the frames of a packet."""
    count[0] += packet.frames
    count[1] += packet.wire_bytes
    if count[2] == 0 or packet.first_frame < count[2]:
        count[2] = packet.first_frame


cdef inline void forget(Assemblies *all_, int64_t place) noexcept nogil:
    """Make room; fragments that never became a segment are counted."""
    if all_.tags[place] and all_.packets[place].frames:
        count_packet(all_.packets + place, all_.counts + 3 * REASON_FRAGMENT)
    all_.tags[place] = 0


cdef inline Assembly *begin_packet(Assemblies *all_, const Key *key, uint32_t tag, int64_t time_ns) noexcept nogil:
    """Begin a packet in the place of the oldest."""
    cdef int64_t place = all_.next
    cdef Assembly *packet = all_.packets + place
    forget(all_, place)
    all_.next = (place + 1) % MOST_PACKETS
    all_.tags[place] = tag
    memset(packet, 0, sizeof(Assembly))
    packet.key = key[0]
    packet.begun_ns = time_ns
    packet.end = -1
    packet.number = all_.begun
    all_.begun += 1
    return packet


cdef inline bint is_another(const Assembly *packet, const Fragment *fragment) noexcept nogil:
    """Tell whether a first fragment begins another packet with the same identification."""
    cdef int64_t i
    if fragment.begin:
        return False
    if packet.is_whole:
        return True
    if not packet.begins[0] & 1:
        return False
    for i in range(min(min(fragment.end, fragment.held), LONGEST_HEADER)):
        if packet.known >> i & 1 and packet.head[IP_HEADER + i] != fragment.bytes[i]:
            return True
    return False


# --- its place in the packet ------------------------------------------------------------------------------------


@cython.overflowcheck(False)
cdef inline uint64_t bits_of(int64_t word, int64_t first, int64_t last) noexcept nogil:
    """Give the bits of this word that stand for the units from `first` to `last`."""
    cdef uint64_t bits = 0xFFFFFFFFFFFFFFFF
    if word == first >> 6:
        bits &= <uint64_t>0xFFFFFFFFFFFFFFFF << (first & 63)
    if word == last >> 6:
        bits &= <uint64_t>0xFFFFFFFFFFFFFFFF >> (63 - (last & 63))
    return bits


cdef inline bint has(const uint64_t *bits, int64_t unit) noexcept nogil:
    return bits[unit >> 6] >> (unit & 63) & 1


cdef inline int64_t count_bits(uint64_t bits) noexcept nogil:
    cdef int64_t n = 0
    while bits:
        bits &= bits - 1
        n += 1
    return n


cdef inline bint is_copy(const Assembly *packet, int64_t first, int64_t last) noexcept nogil:
    """Tell whether units that are all there are those of one fragment."""
    cdef int64_t word
    cdef uint64_t inside
    if not has(packet.begins, first):
        return False
    for word in range(first >> 6, (last >> 6) + 1):
        inside = packet.begins[word] & bits_of(word, first, last)
        if word == first >> 6:
            inside &= ~(<uint64_t>1 << (first & 63))
        if inside:
            return False
    # It ends where the fragment does: behind it nothing is there, or another begins.
    return last + 1 >= 64 * WORDS or not has(packet.covered, last + 1) or has(packet.begins, last + 1)


cdef inline void place_fragment(Assembly *packet, const Fragment *fragment) noexcept nogil:
    """Note what a fragment brings, or that the packet contradicts itself."""
    cdef int64_t first = fragment.begin >> 3
    cdef int64_t last = (fragment.end - 1) >> 3
    cdef int64_t word, there = 0
    packet.highest = max(packet.highest, fragment.end)
    if fragment.is_last:
        packet.is_spoilt |= packet.end >= 0 and packet.end != fragment.end
        packet.end = fragment.end
    packet.is_spoilt |= packet.end >= 0 and packet.highest > packet.end
    for word in range(first >> 6, (last >> 6) + 1):
        there += count_bits(packet.covered[word] & bits_of(word, first, last))
    if there and packet.key.ip_version == 6:
        packet.is_spoilt |= there <= last - first or not is_copy(packet, first, last)
    for word in range(first >> 6, (last >> 6) + 1):
        packet.covered[word] |= bits_of(word, first, last)
    packet.begins[first >> 6] |= <uint64_t>1 << (first & 63)
    packet.units += last - first + 1 - there


cdef inline void keep_head(
    Assembly *packet, const Fragment *fragment, const Cursor *cursor, const Packet *around
) noexcept nogil:
    """Keep what it has of the TCP header; and the IP header of the first fragment, which is the packet's."""
    cdef int64_t i
    if fragment.begin == 0 and not packet.begins[0] & 1:
        memcpy(packet.head, cursor.bytes + around.header_at, 20 if around.ip_version == 4 else IP_HEADER)
    for i in range(fragment.begin, min(min(fragment.end, fragment.begin + fragment.held), LONGEST_HEADER)):
        if not packet.known >> i & 1:
            packet.head[IP_HEADER + i] = fragment.bytes[i - fragment.begin]
            packet.known |= <uint64_t>1 << i


cdef void note(Assemblies *all_, const Assembly *packet, const Frame *frame, bint is_whole) noexcept nogil:
    """Note which packet a frame has a fragment of, where that is wanted."""
    cdef Notes *notes = &all_.notes
    cdef int64_t room
    cdef int64_t *grown
    if not all_.has_notes or all_.is_forgetful:
        return
    if notes.count == notes.room:
        room = max(2 * notes.room, 1024)
        grown = <int64_t *>realloc(notes.pairs, 2 * room * sizeof(int64_t))
        if grown == NULL:
            all_.is_forgetful = True
            return
        notes.pairs = grown
        notes.room = room
    notes.pairs[2 * notes.count] = frame.frame_number
    notes.pairs[2 * notes.count + 1] = packet.number << 1 | is_whole
    notes.count += 1


# --- the room's way in ------------------------------------------------------------------------------------------


cdef int take_fragment(
    Assemblies *all_, const Frame *frame, uint32_t interface_id, const Cursor *cursor, const Packet *around, Header *header
) noexcept nogil:
    """Take a fragment: HOLDS_TCP and a row if it completes its packet, HELD if not yet, or the reason why it is void."""
    cdef Fragment fragment
    cdef Key key
    cdef Assembly *packet
    cdef int64_t place
    cdef uint32_t tag
    if not read_fragment(cursor, around, &fragment):
        return REASON_FRAGMENT
    read_key(cursor, around, interface_id, &key)
    tag = tag_of(&key)
    place = find_packet(all_, &key, tag)
    packet = all_.packets + place if place >= 0 else NULL
    if packet != NULL and (is_over(packet, frame.time_ns) or is_another(packet, &fragment)):
        forget(all_, place)
        packet = NULL
    if packet == NULL:
        packet = begin_packet(all_, &key, tag, frame.time_ns)
    elif packet.is_whole:
        note(all_, packet, frame, False)
        return REASON_FRAGMENT
    keep_head(packet, &fragment, cursor, around)
    place_fragment(packet, &fragment)
    if not packet.is_spoilt and packet.end >= 0 and packet.units == (packet.end + 7) >> 3:
        note(all_, packet, frame, True)
        return finish_packet(all_, packet, header)
    note(all_, packet, frame, False)
    packet.frames += 1
    packet.wire_bytes += frame.wire_bytes
    if packet.first_frame == 0 or frame.frame_number < packet.first_frame:
        packet.first_frame = frame.frame_number
    return HELD


cdef inline int finish_packet(Assemblies *all_, Assembly *packet, Header *header) noexcept nogil:
    """Read the TCP header of a whole packet; the frames before the last one share what becomes of it."""
    cdef Cursor cursor
    cdef Packet around
    cdef int outcome
    cdef int64_t held = 0
    while held < LONGEST_HEADER and packet.known >> held & 1:
        held += 1
    memset(&cursor, 0, sizeof(Cursor))
    cursor.bytes = packet.head
    cursor.at = IP_HEADER
    cursor.captured = IP_HEADER + held
    cursor.encapsulation = packet.key.encapsulation
    cursor.tunnel = packet.key.tunnel
    around.header_at = 0
    around.end = IP_HEADER + packet.end
    around.ip_version = packet.key.ip_version
    around.ip_id = <uint16_t>packet.key.identification if packet.key.ip_version == 4 else 0
    around.ttl = packet.head[8] if packet.key.ip_version == 4 else packet.head[7]
    outcome = read_tcp(&cursor, &around, header)
    if outcome == HOLDS_TCP:
        header.captured_payload_bytes = 0
        header.options |= OPTION_FRAGMENTED
        header.tls = TLS_NONE
        header.tls_bytes = 0
        header.tls_records = 0
        all_.joined += packet.frames
    else:
        count_packet(packet, all_.counts + 3 * outcome)
    packet.is_whole = True
    packet.frames = 0
    return outcome


cdef class Fragments:
    """The packets of which some fragments have come."""

    def __cinit__(self):
        self.all.packets = <Assembly *>calloc(MOST_PACKETS, sizeof(Assembly))
        if self.all.packets == NULL:
            raise MemoryError("no memory for fragments")

    def __dealloc__(self):
        free(self.all.packets)
        free(self.all.notes.pairs)

    @property
    def joined(self):
        """How many frames became part of a segment in another frame."""
        return self.all.joined

    def take_notes(self):
        """From now on, note which frames segments came in."""
        self.all.has_notes = True

    def noted(
        self,
        int64_t[:, ::1] pairs,  # OUT: what `Notes` says, as many as there are room for
    ):
        """Give what was noted; tell how many pairs there are."""
        cdef int64_t i
        if self.all.is_forgetful:
            raise MemoryError("no memory for what frames segments came in")
        if pairs.shape[1] != 2:
            raise ValueError("pairs have the wrong shape")
        for i in range(min(pairs.shape[0], self.all.notes.count)):
            pairs[i, 0] = self.all.notes.pairs[2 * i]
            pairs[i, 1] = self.all.notes.pairs[2 * i + 1]
        return self.all.notes.count

    def give_up(
        self,
        int64_t[:, ::1] counts,  # IN, OUT: count, bytes, first frame of each reason
    ):
        """Forget all packets; count the fragments of those that are not whole."""
        cdef int64_t place
        if counts.shape[0] != REASONS or counts.shape[1] != 3:
            raise ValueError("counts have the wrong shape")
        self.all.counts = &counts[0, 0]
        for place in range(MOST_PACKETS):
            forget(&self.all, place)
