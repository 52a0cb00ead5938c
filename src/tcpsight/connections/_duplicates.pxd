# Frames captured twice: on another interface (``-i any``, a bond), or from a mirror port that shows both ways.
#
# Copies may come one by one, or a whole burst of them after a burst of originals. Each direction remembers its last
# segments: four at first, and four times as many (up to a limit) whenever it would have to forget one that a copy may
# still follow. So memory goes where the traffic is, and as long as a share's is not used up, what is recognised
# depends on nothing but the direction itself.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from tcpsight.connections._context cimport is_later_by
from tcpsight.connections._sequence cimport SLACK, to_offset
from tcpsight.connections._slots cimport Share, more_seen_bytes
from tcpsight.connections._state cimport (
    BEYOND_HANDSHAKE, FIRST_SEEN, FIRST_SEEN_BITS, GROWN_UP, HAS_BASE, HAS_COPIES, HAS_ID, HAS_NEWEST, IDS_VARY,
    JUMP_PENDING, MOST_SEEN_BITS, MOST_SEEN_BYTES, ON_SEVERAL_INTERFACES, PROBE_PENDING, Seen, State, Stream,
)
from tcpsight.tables cimport FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, OPTION_TIMESTAMPS, OPTION_UNSEQUENCED, Header

cdef enum:
    FOUND_NOTHING = 0
    FOUND_DUPLICATE = 1
    FOUND_AMBIGUOUS = 2

cdef enum:
    # Bits of Seen.mark.
    NO_COPY = 1             # none was seen of it on the same interface
    NOT_EMPTY = 2

cdef enum:
    # Where nothing else tells, a copy on the same interface arrives within this time.
    SOON_NS = 1000000
    # Copies may wait in the queue of a mirror port; on another interface the clock may run apart. But files that follow
    # each other have interfaces of their own, and in the next one the same header is a segment that was sent again.
    # Linux waits for at least 200 ms before it sends anything again by timer, and 1 s for a SYN.
    DUPLICATE_NS = 100000000
    # So long a young connection forgets nothing before the limits of memory are reached. Where there are copies at all,
    # its first segments have them; if these have none, it remembers for no more than SOON_NS from then on.
    REMEMBERED_NS = 25000000
    # So many segments before one tell whether segments have copies.
    WITNESSES = 8


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint32_t fingerprint(const Header *h) noexcept nogil:
    """A hash of everything in the header that a capture duplicate repeats, but for the checksum. Its last bits are set.

    Cheap on purpose: only segments that bring nothing new are ever compared, each with the last ones of its stream.
    """
    cdef uint64_t a, b, c
    cdef uint32_t window_and_flags
    # Columns that lie together, as one number each: see Headers.
    memcpy(&a, <const char *>&h.acknowledgment_number, 8)   # and sequence_number
    memcpy(&window_and_flags, <const char *>&h.window, 4)
    b = (<uint64_t>h.ip_id << 32) | window_and_flags
    memcpy(&c, <const char *>&h.payload_bytes, 8)           # and options_hash
    a = a * 0x9E3779B97F4A7C15ull + b * 0xD6E8FEB86659FD93ull + c * 0x94D049BB133111EBull
    return <uint32_t>(a >> 32) | NOT_EMPTY | NO_COPY


cdef inline uint16_t interface_of(const Header *h) noexcept nogil:
    """The interface in 16 bits: two that share them are taken for one, whose copies come sooner."""
    return <uint16_t>((h.interface_id ^ (h.interface_id >> 16)) & 0xFFFF)


# --- memory -----------------------------------------------------------------------------------------------------


cdef inline Seen *seen_ring(Stream *s) noexcept nogil:
    return s.seen_more if s.seen_more != NULL else s.seen


cdef inline uint32_t seen_size(const Stream *s) noexcept nogil:
    return <uint32_t>1 << (s.seen_bits if s.seen_more != NULL else FIRST_SEEN_BITS)


cdef inline bint is_close(const Seen *old, int64_t time_ns, uint64_t within_ns) noexcept nogil:
    """Whether the remembered segment was captured within so long of this time."""
    return not is_later_by(time_ns, old.time_ns, within_ns) and not is_later_by(old.time_ns, time_ns, within_ns)


cdef inline void remember_more(Stream *s, Share *share) noexcept nogil:
    """Make the full memory four times as large; without memory for that it stays as it is."""
    cdef Seen *old = seen_ring(s)
    cdef Seen *fresh
    cdef uint32_t size = seen_size(s), i
    cdef int64_t more = 4 * size * <int64_t>sizeof(Seen) - more_seen_bytes(s)
    if share.seen_bytes + more > MOST_SEEN_BYTES:
        return
    fresh = <Seen *>calloc(4 * size, sizeof(Seen))
    if fresh == NULL:
        return
    for i in range(size):
        fresh[i] = old[(s.seen_at + i) & (size - 1)]
    free(s.seen_more)
    s.seen_more = fresh
    s.seen_at = <uint16_t>size
    s.seen_bits = <uint8_t>((s.seen_bits if s.seen_bits else FIRST_SEEN_BITS) + 2)
    share.seen_bytes += more


cdef inline void remember_few(Stream *s, Share *share) noexcept nogil:
    """Give the memory back that was made, but for the last segments."""
    cdef uint32_t size = seen_size(s), i
    for i in range(FIRST_SEEN):
        s.seen[i] = s.seen_more[(s.seen_at + size - FIRST_SEEN + i) & (size - 1)]
    share.seen_bytes -= more_seen_bytes(s)
    free(s.seen_more)
    s.seen_more = NULL
    s.seen_bits = 0
    s.seen_at = 0


cdef inline bint has_copies(const State *c) noexcept nogil:
    return ((c.streams[0].flags | c.streams[1].flags) & HAS_COPIES) != 0


cdef inline uint64_t remembered_ns(const State *c, const Stream *s) noexcept nogil:
    """How long a segment is not forgotten."""
    if s.flags & ON_SEVERAL_INTERFACES or has_copies(c):
        return DUPLICATE_NS
    return SOON_NS if s.marks & GROWN_UP else REMEMBERED_NS


cdef inline void grow_up(const State *c, Stream *s, Share *shares, int64_t time_ns) noexcept nogil:
    """Once copies would have been seen if there were any, let the memory go that was kept for them."""
    if not is_later_by(time_ns, c.start_ns, REMEMBERED_NS):
        return
    s.marks |= GROWN_UP
    if s.seen_more != NULL and not s.flags & ON_SEVERAL_INTERFACES and not has_copies(c):
        remember_few(s, &shares[c.share])


cdef inline void notice_interface(Stream *s, const Header *h) noexcept nogil:
    if s.last_interface != interface_of(h):
        # The memory is empty before the first segment only.
        if seen_ring(s)[0].mark:
            s.flags |= ON_SEVERAL_INTERFACES
        s.last_interface = interface_of(h)


@cython.overflowcheck(False)  # modular on purpose (RFC 7323 §2.2)
cdef inline bint is_newer(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) > 0


cdef inline void notice_marks(Stream *s, const Header *h) noexcept nogil:
    """Note what tells segments of this direction apart."""
    if not s.marks & IDS_VARY and h.ip_id:
        if s.marks & HAS_ID and h.ip_id != s.last_id:
            s.marks |= IDS_VARY
        s.marks |= HAS_ID
        s.last_id = h.ip_id
    if h.options & OPTION_TIMESTAMPS and (is_newer(h.timestamp_value, s.newest_value) or not s.marks & HAS_NEWEST):
        s.marks |= HAS_NEWEST
        s.newest_value = h.timestamp_value


cdef inline void remember(State *c, int d, Share *shares, const Header *h, uint32_t mark) noexcept nogil:
    """Keep what a later copy of this segment would be recognised by, instead of the oldest unless that is young.

    Its interface was noticed before.
    Which of the shares this connection has is not looked up before it matters: it lies in a line of its own.
    """
    cdef Stream *s = &c.streams[d]
    cdef Seen *place
    notice_marks(s, h)
    if not s.marks & GROWN_UP:
        grow_up(c, s, shares, h.time_ns)
    place = seen_ring(s) + s.seen_at
    if place.mark and is_close(place, h.time_ns, remembered_ns(c, s)) and s.seen_bits < MOST_SEEN_BITS:
        remember_more(s, &shares[c.share])
        place = seen_ring(s) + s.seen_at
    place.mark = mark
    place.interface = interface_of(h)
    place.checksum = h.checksum
    place.time_ns = h.time_ns
    s.seen_at = <uint16_t>((s.seen_at + 1) & (seen_size(s) - 1))


# --- recognition ------------------------------------------------------------------------------------------------


cdef inline bint may_repeat(const Stream *s, const Header *h) noexcept nogil:
    """Whether this could be a copy of a segment seen before: false for the next bytes of the stream, the usual case."""
    cdef int64_t ahead
    if h.payload_bytes == 0 or h.flags & (FLAG_RST | FLAG_SYN) or not s.flags & HAS_BASE:
        return True
    if s.flags & (PROBE_PENDING | JUMP_PENDING):
        return True
    ahead = to_offset(s, h.sequence_number) - s.next_offset
    return ahead < 0 or ahead > SLACK


cdef inline bint is_sooner_than_an_answer(const State *c, const Seen *old, int64_t time_ns) noexcept nogil:
    """Whether less than half of the handshake's round trip lies between: no acknowledgment, and no timer, was as fast."""
    cdef uint64_t half
    if c.rtt_ns[0] < 0 or c.rtt_ns[1] < 0:
        return False
    half = (<uint64_t>c.rtt_ns[0] + <uint64_t>c.rtt_ns[1]) >> 1
    return half > 0 and is_close(old, time_ns, half - 1)


cdef inline bint is_of_handshake(const State *c, const Header *h) noexcept nogil:
    """Whether this is a SYN, or the RST that refuses one."""
    return (h.flags & FLAG_SYN) != 0 or ((h.flags & FLAG_RST) != 0 and not c.flags & BEYOND_HANDSHAKE and c.connect_attempts > 0)


cdef inline bint is_certain_syn(const State *c, int d, const Header *h, const Seen *old) noexcept nogil:
    """Whether a SYN, or a RST that answers one, can only be a copy of another like it: nobody sends one again so soon.

    But a server whose answer was lost sends it again by its timer, and as an answer to the SYN that comes again, perhaps
    at the same time. Linux gives both the identification 0.
    """
    if not h.flags & FLAG_ACK or h.ip_id or (c.connect_attempts <= 1 and c.streams[1 - d].control_retransmissions == 0):
        return True
    return has_copies(c) and (is_close(old, h.time_ns, SOON_NS) or old.mark & NO_COPY)


@cython.overflowcheck(False)  # modular on purpose: places in a ring
cdef inline bint are_copied(Stream *s, const Seen *old) noexcept nogil:
    """Whether segments have copies: this one has none yet, but most of those remembered right before it."""
    cdef const Seen *ring = seen_ring(s)
    cdef const Seen *before
    cdef uint32_t size = seen_size(s), at = <uint32_t>(old - ring), i
    cdef int copied = 0
    cdef bint known = False
    if not old.mark & NO_COPY:
        return False
    for i in range(WITNESSES):
        # The oldest lies where the next segment is to be.
        if at == s.seen_at:
            break
        at = (at + size - 1) & (size - 1)
        before = ring + at
        if before.mark == 0:
            break
        if before.mark & NO_COPY:
            copied -= 1
        else:
            copied += 1
        known = True
    return copied > 0 or not known


cdef inline int weigh_repetition(State *c, int d, const Header *h, const Seen *old) noexcept nogil:
    """What a segment is that repeats another one of the same interface to the bit.

    Who sends a segment again makes a new packet: it has another identification, and not an older timestamp than
    what was sent meanwhile. Without either, acknowledgments of segments that came out of order are all alike.
    """
    cdef Stream *s = &c.streams[d]
    cdef bint is_soon = is_close(old, h.time_ns, SOON_NS)
    cdef bint has_bytes = h.payload_bytes > 0 or (h.flags & FLAG_FIN) != 0
    cdef bint is_too_soon = is_soon or is_sooner_than_an_answer(c, old, h.time_ns)
    if is_of_handshake(c, h):
        return FOUND_DUPLICATE if is_certain_syn(c, d, h, old) else FOUND_AMBIGUOUS
    if h.ip_id and (is_soon or s.marks & IDS_VARY or s.segments == 1):
        return FOUND_DUPLICATE
    if has_copies(c) and (h.ip_id or are_copied(s, old)):
        # Where each segment has its copy, a third one was sent again, and has its own.
        return FOUND_DUPLICATE
    if h.options & OPTION_TIMESTAMPS and (
        (s.marks & HAS_NEWEST and is_newer(s.newest_value, h.timestamp_value)) or (has_bytes and is_too_soon)
    ):
        return FOUND_DUPLICATE
    return FOUND_AMBIGUOUS if is_soon or (has_bytes and is_too_soon) else FOUND_NOTHING


cdef inline int find_repeated(State *c, int d, const Header *h, uint32_t mark) noexcept nogil:
    """Look from the last segment back: a copy comes soon after it."""
    cdef Stream *s = &c.streams[d]
    cdef Seen *ring = seen_ring(s)
    cdef Seen *old
    cdef uint32_t size = seen_size(s), i
    cdef int found = FOUND_NOTHING, weighed
    for i in range(size):
        old = ring + ((s.seen_at + size - 1 - i) & (size - 1))
        if old.mark == 0 or is_later_by(h.time_ns, old.time_ns, DUPLICATE_NS):
            break
        if old.mark | NO_COPY != mark or not is_close(old, h.time_ns, DUPLICATE_NS):
            continue
        if old.interface != interface_of(h):
            # The card fills a checksum in after the copy on its way there was captured.
            if old.checksum == h.checksum or h.ip_id != 0:
                return FOUND_DUPLICATE
        if old.checksum != h.checksum or h.options & OPTION_UNSEQUENCED:
            # Text that tells lengths only: on one interface, two of one length are two segments.
            continue
        weighed = weigh_repetition(c, d, h, old)
        if weighed == FOUND_DUPLICATE:
            s.flags |= HAS_COPIES
            old.mark &= ~<uint32_t>NO_COPY
            return FOUND_DUPLICATE
        if weighed == FOUND_AMBIGUOUS:
            found = FOUND_AMBIGUOUS
    return found


cdef inline int look_for_duplicate(State *c, int d, Share *shares, const Header *h) noexcept nogil:
    """Tell whether this segment was captured already; remember it if not."""
    cdef Stream *s = &c.streams[d]
    cdef uint32_t mark = fingerprint(h)
    cdef int found = FOUND_NOTHING
    notice_interface(s, h)
    if may_repeat(s, h):
        found = find_repeated(c, d, h, mark)
        if found == FOUND_DUPLICATE:
            return found
    remember(c, d, shares, h, mark)
    return found
