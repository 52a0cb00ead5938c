# Community ID v1: a name for a connection that Zeek, Suricata, Wireshark and others compute alike. It is "1:" and the
# Base64 of the SHA-1 (RFC 3174) of seed, smaller endpoint's address, larger one's, protocol, a zero byte, smaller
# endpoint's port, larger one's. That is 16 or 40 bytes: always one block of SHA-1.
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset
from tcpsight.tables cimport Connection

cdef enum:
    PROTOCOL_TCP = 6
    # Keeps the names of separate networks apart; zero is everybody's default.
    SEED = 0
    BLOCK_BYTES = 64
    DIGEST_BYTES = 20


cdef inline void store32(uint8_t *p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>((value >> 16) & 0xFF)
    p[2] = <uint8_t>((value >> 8) & 0xFF)
    p[3] = <uint8_t>(value & 0xFF)


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint32_t rotated(uint32_t value, int bits) noexcept nogil:
    return ((value << bits) & 0xFFFFFFFFu) | (value >> (32 - bits))


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint32_t mixed(int t, uint32_t b, uint32_t c, uint32_t d) noexcept nogil:
    """The function and constant of step t (RFC 3174 §5)."""
    if t < 20:
        return ((b & c) | (~b & d)) + 0x5A827999u
    if t < 40:
        return (b ^ c ^ d) + 0x6ED9EBA1u
    if t < 60:
        return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu
    return (b ^ c ^ d) + 0xCA62C1D6u


@cython.overflowcheck(False)  # modular on purpose
cdef inline void hash_block(const uint8_t *block, uint8_t *digest) noexcept nogil:
    """SHA-1 of a message that fits, padded, into one block."""
    cdef uint32_t w[80]
    cdef uint32_t a = 0x67452301u, b = 0xEFCDAB89u, c = 0x98BADCFEu, d = 0x10325476u, e = 0xC3D2E1F0u, next_a
    cdef int t
    for t in range(16):
        w[t] = (
            <uint32_t>block[4 * t] << 24 | <uint32_t>block[4 * t + 1] << 16
            | <uint32_t>block[4 * t + 2] << 8 | block[4 * t + 3]
        )
    for t in range(16, 80):
        w[t] = rotated(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1)
    for t in range(80):
        next_a = rotated(a, 5) + mixed(t, b, c, d) + e + w[t]
        e, d, c, b, a = d, c, rotated(b, 30), a, next_a
    store32(digest, a + 0x67452301u)
    store32(digest + 4, b + 0xEFCDAB89u)
    store32(digest + 8, c + 0x98BADCFEu)
    store32(digest + 12, d + 0x10325476u)
    store32(digest + 16, e + 0xC3D2E1F0u)


cdef inline uint8_t base64_digit(uint32_t six_bits) noexcept nogil:
    if six_bits < 26:
        return <uint8_t>(65 + six_bits)
    if six_bits < 52:
        return <uint8_t>(71 + six_bits)
    if six_bits < 62:
        return <uint8_t>(six_bits - 4)
    return 43 if six_bits == 62 else 47


cdef inline void write_base64(const uint8_t *digest, uint8_t *text) noexcept nogil:
    """Write twenty bytes as 28 characters (RFC 4648 §4)."""
    cdef uint32_t three
    cdef int i
    for i in range(7):
        # Twenty bytes are six times three and two, filled up with a zero.
        three = <uint32_t>digest[3 * i] << 16 | <uint32_t>digest[3 * i + 1] << 8
        if i < 6:
            three |= digest[3 * i + 2]
        text[4 * i] = base64_digit(three >> 18)
        text[4 * i + 1] = base64_digit((three >> 12) & 63)
        text[4 * i + 2] = base64_digit((three >> 6) & 63)
        text[4 * i + 3] = base64_digit(three & 63)
    text[27] = 61  # "=": the last is a filler


cdef inline void store_port(uint8_t *p, uint16_t port) noexcept nogil:
    p[0] = <uint8_t>(port >> 8)
    p[1] = <uint8_t>(port & 0xFF)


cdef inline void name_connection(Connection *row) noexcept nogil:
    """Fill the row's `community_id` from its endpoints."""
    cdef uint8_t block[BLOCK_BYTES]
    cdef uint8_t digest[DIGEST_BYTES]
    cdef int skipped = 12 if row.ip_version == 4 else 0     # IPv4 in its IPv6 form ends with the four bytes
    cdef int width = 16 - skipped
    cdef int size = 2 * width + 8
    cdef const uint8_t *small = row.client_address
    cdef const uint8_t *large = row.server_address
    cdef uint16_t small_port = row.client_port, large_port = row.server_port
    cdef int order = memcmp(small, large, 16)
    if order > 0 or (order == 0 and small_port > large_port):
        small, large = large, small
        small_port, large_port = large_port, small_port
    memset(block, 0, BLOCK_BYTES)
    store_port(block, SEED)
    memcpy(block + 2, small + skipped, width)
    memcpy(block + 2 + width, large + skipped, width)
    block[2 + 2 * width] = PROTOCOL_TCP
    store_port(block + size - 4, small_port)
    store_port(block + size - 2, large_port)
    block[size] = 0x80
    block[BLOCK_BYTES - 2] = <uint8_t>(8 * size >> 8)
    block[BLOCK_BYTES - 1] = <uint8_t>(8 * size & 0xFF)
    hash_block(block, digest)
    row.community_id[0] = 49  # "1"
    row.community_id[1] = 58  # ":"
    write_base64(digest, <uint8_t *>&row.community_id[2])
