"""Addresses: what makes two of them equal, and how they are written."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from tcpsight.output._digits cimport put_hex, put_unsigned

cdef enum:
    # "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    ADDRESS_TEXT_BYTES = 39


cdef struct Address:
    uint64_t high
    uint64_t low
    uint64_t is_six


cdef inline bint is_mapped(const unsigned char *bytes) noexcept nogil:
    """Whether the 16 bytes are ::ffff:a.b.c.d (RFC 4291 §2.5.5.2)."""
    cdef int i
    for i in range(10):
        if bytes[i] != 0:
            return False
    return bytes[10] == 0xFF and bytes[11] == 0xFF


cdef inline bint is_zero(const unsigned char *bytes) noexcept nogil:
    cdef uint64_t halves[2]
    memcpy(halves, bytes, 16)
    return (halves[0] | halves[1]) == 0


cdef inline int64_t put_four(const unsigned char *bytes, unsigned char *out) noexcept nogil:
    cdef int64_t n = 0
    cdef int i
    for i in range(4):
        if i:
            out[n] = c'.'
            n += 1
        n += put_unsigned(out + n, bytes[i])
    return n


cdef inline int64_t put_six(const unsigned char *bytes, unsigned char *out) noexcept nogil:
    """Write an IPv6 address: lower case, no leading zeros, the first longest run of zero groups cut (RFC 5952 §4)."""
    cdef unsigned int groups[8]
    cdef int i, run = 0, run_at = -1, length = 0
    cdef int64_t n = 0
    if is_mapped(bytes):
        memcpy(out, b"::ffff:", 7)
        return 7 + put_four(bytes + 12, out + 7)
    for i in range(8):
        groups[i] = (<unsigned int> bytes[2 * i] << 8) | bytes[2 * i + 1]
        run = run + 1 if groups[i] == 0 else 0
        if run > length:
            length, run_at = run, i - run + 1
    if length < 2:
        # A single zero group is not cut (RFC 5952 §4.2.2).
        run_at = -1
        length = 0
    i = 0
    while i < 8:
        if i == run_at:
            memcpy(out + n, b"::", 2)
            n += 2
            i += length
            continue
        if i and i != run_at + length:
            out[n] = c':'
            n += 1
        n += put_hex(out + n, groups[i])
        i += 1
    return n


cdef inline void take(const unsigned char *bytes, unsigned char version, Address *address) noexcept nogil:
    """Read an address; of IPv4 only the last four bytes count, whatever is before them."""
    address.is_six = version == 6 if version != 0 else not is_mapped(bytes)
    address.high = 0
    address.low = 0
    if address.is_six:
        memcpy(&address.high, bytes, 8)
        memcpy(&address.low, bytes + 8, 8)
    else:
        memcpy(&address.low, bytes + 12, 4)


cdef inline int64_t put_address(const unsigned char *bytes, bint is_six, unsigned char *out) noexcept nogil:
    return put_six(bytes, out) if is_six else put_four(bytes + 12, out)
