"""The transport layer: from the TCP header to a row of Headers.

The payload is what the IP packet holds behind the TCP header, captured or not. Options are read as far as they were
captured; one that contradicts itself ends them quietly, because a receiver, too, keeps such a segment.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tcpsight.decode._wire cimport HOLDS_TCP, Cursor, Packet, cut_short, load16, load32
from tcpsight.tables cimport (
    OPTION_CUT,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    REASON_MALFORMED_TCP,
    TLS_ALERT,
    TLS_ALIKE,
    TLS_CHANGE,
    TLS_CLOSING,
    TLS_DATA,
    TLS_FINISHED,
    TLS_HANDSHAKE,
    TLS_HELLO,
    TLS_NONE,
    Header,
)

cdef enum:
    # Kinds of TCP options (IANA).
    KIND_END = 0
    KIND_PADDING = 1
    KIND_MSS = 2
    KIND_WINDOW_SCALE = 3
    KIND_SACK_PERMITTED = 4
    KIND_SACK = 5
    KIND_TIMESTAMPS = 8

cdef enum:
    # RFC 7323 §2.3: a greater shift count is to be taken as 14.
    MAX_WINDOW_SCALE = 14
    # Two paddings, then timestamps of length 10: how nearly every segment with timestamps begins (RFC 7323 appendix A).
    ALIGNED_TIMESTAMPS = 0x0101080A


cdef enum:
    # TLS records: types 20 to 23 (RFC 8446 §5.1, RFC 5246 §6.2.1), of which the header is 5 bytes long.
    RECORD_CHANGE = 20
    RECORD_ALERT = 21
    RECORD_HANDSHAKE = 22
    RECORD_DATA = 23
    RECORD_TYPES = 4
    RECORD_BYTES = 5
    # Encrypted, 2¹⁴ and 2,048 more (RFC 5246 §6.2.3).
    MOST_RECORD_BYTES = 18432
    CLIENT_HELLO = 1
    # In TLS 1.3 (RFC 8446 §5.2) encryption adds a type and a tag of 16 bytes: to a Finished, 4 bytes and a hash of 32 or
    # 48 (§4.4.4); to an alert, of 2 bytes (§6).
    FINISHED_OF_SHA256 = 53
    FINISHED_OF_SHA384 = 69
    CLOSING_ALERT = 19
    # An alert: 2 bytes, and at most what CBC with SHA-384 adds (RFC 5246 §6.2.3.2).
    MOST_ALERT_BYTES = 96
    # Records of one segment that are looked at.
    MOST_RECORDS = 16


cdef inline int read_tcp(const Cursor *cursor, const Packet *packet, Header *header) noexcept nogil:
    """Read a TCP header (RFC 9293 §3.1) into the row; what belongs to the frame is not touched."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t room = packet.end - cursor.at
    cdef int64_t held = cursor.captured - cursor.at
    cdef int64_t header_bytes
    cdef int captured
    if room < 20:
        return REASON_MALFORMED_TCP
    if held < 20:
        return cut_short(cursor)
    header_bytes = <int64_t>(p[12] >> 4) << 2
    if header_bytes < 20 or header_bytes > room:
        return REASON_MALFORMED_TCP
    header.source_port = load16(p)
    header.destination_port = load16(p + 2)
    header.sequence_number = load32(p + 4)
    header.acknowledgment_number = load32(p + 8)
    # The lowest reserved bit became AE (RFC 9768 §3.1).
    header.flags = load16(p + 12) & 0x1FF
    header.window = load16(p + 14)
    header.checksum = load16(p + 16)
    header.payload_bytes = <int>(room - header_bytes)
    captured = <int>(max(min(room, held) - header_bytes, 0))
    header.captured_payload_bytes = captured
    header.options = OPTION_CUT if held < header_bytes else 0
    header.tls_bytes = 0
    header.tls = TLS_NONE
    header.tls_records = 0
    # Before what follows takes the registers: this is looked at in every segment with data.
    if captured > RECORD_BYTES and <uint8_t>(p[header_bytes] - RECORD_CHANGE) < RECORD_TYPES and p[header_bytes + 1] == 3:
        read_records(p + header_bytes, captured, header)
    read_addresses(cursor, packet, header)
    header.window_scale = 0
    header.sack_count = 0
    header.mss_bytes = 0
    header.timestamp_value = 0
    header.timestamp_echo = 0
    memset(header.sack, 0, sizeof(header.sack))
    read_options(p + 20, min(header_bytes, held) - 20, header)
    return HOLDS_TCP


cdef inline int record_at(const uint8_t *p, int64_t captured) noexcept nogil:
    """Give the type of the record whose header lies here; 0 if none does, or not all of it was captured."""
    cdef int length
    if captured < RECORD_BYTES or <uint8_t>(p[0] - RECORD_CHANGE) >= RECORD_TYPES or p[1] != 3 or p[2] > 4:
        return 0
    length = load16(p + 3)
    # What is encrypted in TLS 1.3 calls itself 1.2 (RFC 8446 §5.2), and what is not has a type of its own.
    if length == 0 or length > MOST_RECORD_BYTES or (p[0] == RECORD_CHANGE and length != 1):
        return 0
    return p[0]


cdef inline void read_records(const uint8_t *p, int64_t captured, Header *header) noexcept nogil:
    """Tell what TLS records the payload begins with, by their headers, as far as they were captured.

    Changes of cipher and messages of a handshake come first, if any do; what is encrypted follows.
    """
    cdef int64_t size = header.payload_bytes
    cdef int64_t at = 0
    cdef int64_t length
    cdef int type = record_at(p, captured)
    cdef int tls = TLS_NONE
    if type == RECORD_ALERT:
        length = load16(p + 3)
        if length + RECORD_BYTES == size and 2 <= length <= MOST_ALERT_BYTES:
            header.tls = TLS_ALERT
        return
    while at < size and (type == RECORD_CHANGE or type == RECORD_HANDSHAKE):
        if type == RECORD_HANDSHAKE and (tls == TLS_NONE or tls == TLS_CHANGE):
            # Of the first message only: later ones may be encrypted.
            tls = TLS_HELLO if captured > at + RECORD_BYTES and p[at + RECORD_BYTES] == CLIENT_HELLO else TLS_HANDSHAKE
        elif tls == TLS_NONE:
            tls = TLS_CHANGE
        at += RECORD_BYTES + load16(p + at + 3)
        type = record_at(p + at, captured - at)
    header.tls = <uint8_t>tls
    header.tls_bytes = <int>min(at, size)
    if type == RECORD_DATA and at < size and (tls == TLS_NONE or tls == TLS_CHANGE):
        read_data_records(p, at, captured, header)


cdef inline void read_data_records(const uint8_t *p, int64_t at, int64_t captured, Header *header) noexcept nogil:
    """Tell what encrypted records a payload has from `at` on: behind a change of cipher, or from its beginning."""
    cdef int64_t size = header.payload_bytes
    cdef int64_t first = load16(p + at + 3)
    cdef int64_t start = at
    cdef int64_t length = first
    cdef int64_t count = 0
    cdef bint is_alike = at == 0
    while count < MOST_RECORDS and record_at(p + at, captured - at) == RECORD_DATA:
        length = load16(p + at + 3)
        at += RECORD_BYTES + length
        count += 1
        is_alike &= length == first
        if at <= size and (length == FINISHED_OF_SHA256 or length == FINISHED_OF_SHA384):
            header.tls = TLS_FINISHED
            header.tls_bytes = <int>at
            return
    if start:
        return
    header.tls = TLS_DATA
    if is_alike and at == size:
        header.tls = TLS_CLOSING if count == 1 and first == CLOSING_ALERT else TLS_ALIKE
        header.tls_bytes = <int>(RECORD_BYTES + first)
        header.tls_records = <uint8_t>count


cdef inline void read_addresses(const Cursor *cursor, const Packet *packet, Header *header) noexcept nogil:
    """Write what the IP header says; IPv4 addresses in their IPv6 form (RFC 4291 §2.5.5.2)."""
    cdef const uint8_t *p = cursor.bytes + packet.header_at
    header.ip_version = packet.ip_version
    header.encapsulation = cursor.encapsulation
    header.tunnel = cursor.tunnel
    header.ip_id = packet.ip_id
    header.ttl = packet.ttl
    if packet.ip_version == 4:
        write_mapped_address(header.source_address, p + 12)
        write_mapped_address(header.destination_address, p + 16)
    else:
        memcpy(header.source_address, p + 8, 16)
        memcpy(header.destination_address, p + 24, 16)


cdef inline void write_mapped_address(uint8_t *address, const uint8_t *p) noexcept nogil:
    """Write ::ffff:a.b.c.d."""
    memset(address, 0, 10)
    memset(address + 10, 0xFF, 2)
    memcpy(address + 12, p, 4)


cdef inline void read_options(const uint8_t *p, int64_t size, Header *header) noexcept nogil:
    """Read `size` captured bytes of TCP options."""
    header.options_hash = hash_options(p, size)
    if size == 12 and load32(p) == ALIGNED_TIMESTAMPS:
        header.options |= OPTION_TIMESTAMPS
        header.timestamp_value = load32(p + 4)
        header.timestamp_echo = load32(p + 8)
    elif size:
        walk_options(p, size, header)


cdef inline void walk_options(const uint8_t *p, int64_t size, Header *header) noexcept nogil:
    """Read the options one by one; the last of a kind counts."""
    cdef int64_t at = 0
    cdef int64_t length
    while at < size and p[at] != KIND_END:
        if p[at] == KIND_PADDING:
            at += 1
            continue
        if size - at < 2:
            return
        length = p[at + 1]
        if length < 2 or length > size - at:
            return
        read_option(p + at, length, header)
        at += length


cdef inline void read_option(const uint8_t *p, int64_t length, Header *header) noexcept nogil:
    """Read one option; a known kind of another length than its RFC's says nothing."""
    cdef int block
    if p[0] == KIND_TIMESTAMPS and length == 10:
        header.options |= OPTION_TIMESTAMPS
        header.timestamp_value = load32(p + 2)
        header.timestamp_echo = load32(p + 6)
    elif p[0] == KIND_SACK and length >= 10 and (length - 2) & 7 == 0:
        # Forty bytes of options hold four blocks at most (RFC 2018 §3), which is what the row has room for.
        header.options |= OPTION_SACK
        header.sack_count = <uint8_t>((length - 2) >> 3)
        memset(header.sack, 0, sizeof(header.sack))
        for block in range(header.sack_count):
            header.sack[2 * block] = load32(p + 2 + 8 * block)
            header.sack[2 * block + 1] = load32(p + 6 + 8 * block)
    elif p[0] == KIND_MSS and length == 4:
        header.options |= OPTION_MSS
        header.mss_bytes = load16(p + 2)
    elif p[0] == KIND_WINDOW_SCALE and length == 3:
        header.options |= OPTION_WINDOW_SCALE
        header.window_scale = min(p[2], <uint8_t>MAX_WINDOW_SCALE)
    elif p[0] == KIND_SACK_PERMITTED and length == 2:
        header.options |= OPTION_SACK_PERMITTED


@cython.overflowcheck(False)
cdef inline uint64_t fold_in(uint64_t state, uint64_t word) noexcept nogil:
    """Take one more word: exclusive or, multiply by 2⁶⁴/φ (made odd) modulo 2⁶⁴, fold the upper half into the lower."""
    state = (state ^ word) * <uint64_t>0x9E3779B97F4A7C15
    return state ^ (state >> 32)


cdef inline uint32_t hash_options(const uint8_t *p, int64_t size) noexcept nogil:
    """Fold option bytes into 32 bits: equal bytes give equal numbers, and little more is asked of it.

    Starting from their number, words of eight, then four, then the last bytes are taken as this machine reads numbers:
    the result never leaves it. No options: 0.
    """
    cdef uint64_t eight, state = <uint64_t>size
    cdef uint32_t four, rest = 0
    cdef int64_t at = 0
    while size - at >= 8:
        memcpy(&eight, p + at, 8)
        state = fold_in(state, eight)
        at += 8
    if size - at >= 4:
        memcpy(&four, p + at, 4)
        state = fold_in(state, four)
        at += 4
    if at < size:
        while at < size:
            rest = ((rest & 0xFFFFFF) << 8) | p[at]
            at += 1
        state = fold_in(state, rest)
    return <uint32_t>state
