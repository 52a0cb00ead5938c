"""Loops over packed rows: columns out of rows, addresses as text, rows as CSV and JSON lines.

Theory of operation
-------------------
Rows are packed structs, outputs want columns or lines. `gather` transposes in tiles that stay in the L1 and L2
caches, so that each row is fetched from memory once and not once per column. `AddressTexts` numbers the distinct
addresses of a block in order of their first row (open addressing, at most half full) and formats each once; the order of first
rows, not of hashes, makes the output the same on every machine. The hash is keyed with a random seed, because whoever
sends the packets chooses the addresses. `RecordWriter` walks rows and appends each cell to a buffer.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* Both halves of a 64 by 64 bit product, folded. In C, because a checked build forbids wrapping in Cython. */
    static inline uint64_t tcpsight_mix(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }

    static const char tcpsight_pairs[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
        "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

    static inline int64_t tcpsight_put_unsigned(unsigned char *out, uint64_t value) {
        unsigned char digits[20];
        int at = 20;
        while (value >= 100) {
            uint64_t rest = value / 100;
            at -= 2;
            memcpy(digits + at, tcpsight_pairs + 2 * (value - rest * 100), 2);
            value = rest;
        }
        if (value >= 10) {
            at -= 2;
            memcpy(digits + at, tcpsight_pairs + 2 * value, 2);
        } else {
            digits[--at] = (unsigned char)('0' + value);
        }
        memcpy(out, digits + at, 20 - at);
        return 20 - at;
    }

    static inline int64_t tcpsight_put_signed(unsigned char *out, int64_t value) {
        if (value >= 0) return tcpsight_put_unsigned(out, (uint64_t)value);
        out[0] = '-';
        return 1 + tcpsight_put_unsigned(out + 1, ~(uint64_t)value + 1);
    }

    static inline int64_t tcpsight_put_hex(unsigned char *out, unsigned int value) {
        int shift = value >= 0x1000 ? 12 : value >= 0x100 ? 8 : value >= 0x10 ? 4 : 0;
        int64_t n = 0;
        for (; shift >= 0; shift -= 4) out[n++] = "0123456789abcdef"[(value >> shift) & 15];
        return n;
    }
    """
    uint64_t mix "tcpsight_mix"(uint64_t a, uint64_t b) noexcept nogil
    int64_t put_unsigned "tcpsight_put_unsigned"(unsigned char *out, uint64_t value) noexcept nogil
    int64_t put_signed "tcpsight_put_signed"(unsigned char *out, int64_t value) noexcept nogil
    int64_t put_hex "tcpsight_put_hex"(unsigned char *out, unsigned int value) noexcept nogil

cdef enum:
    TILE = 256
    # "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    ADDRESS_TEXT_BYTES = 39
    # "-9223372036854775808"
    INTEGER_TEXT_BYTES = 20

# Kinds of cells; records.py has the same numbers.
cdef enum:
    CELL_SIGNED = 0
    CELL_UNSIGNED = 1
    CELL_BOOLEAN = 2
    CELL_CODE = 3
    CELL_INDEX = 4


cdef inline void copy8(const unsigned char *source, Py_ssize_t stride, unsigned char *out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(out + 8 * i, source + stride * i, 8)


cdef inline void copy4(const unsigned char *source, Py_ssize_t stride, unsigned char *out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(out + 4 * i, source + stride * i, 4)


cdef inline void copy2(const unsigned char *source, Py_ssize_t stride, unsigned char *out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(out + 2 * i, source + stride * i, 2)


cdef inline void copy1(const unsigned char *source, Py_ssize_t stride, unsigned char *out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = source[stride * i]


cdef inline void copy_any(
    const unsigned char *source, Py_ssize_t stride, unsigned char *out, Py_ssize_t n, Py_ssize_t width
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(out + width * i, source + stride * i, width)


cdef Py_ssize_t count_rows(const unsigned char[::1] rows, Py_ssize_t row_bytes) except -1:
    if row_bytes <= 0 or rows.shape[0] % row_bytes != 0:
        raise ValueError("rows are not whole rows")
    return rows.shape[0] // row_bytes


def gather(
    const unsigned char[::1] rows,  # IN, n packed rows
    Py_ssize_t row_bytes,
    const int64_t[:, ::1] fields,  # IN, per column: offset in the row, bytes of an element, where it begins in `out`
    unsigned char[::1] out,  # OUT
):
    """Copy columns out of packed rows."""
    cdef Py_ssize_t n = count_rows(rows, row_bytes), tile, length, f, width, begin
    cdef const unsigned char *source
    cdef unsigned char *target
    if fields.shape[1] != 3:
        raise ValueError("fields are three numbers each")
    for f in range(fields.shape[0]):
        width, begin = fields[f, 1], fields[f, 2]
        if fields[f, 0] < 0 or width <= 0 or fields[f, 0] + width > row_bytes:
            raise ValueError("a field lies outside the row")
        if begin < 0 or begin + n * width > out.shape[0]:
            raise ValueError("a column lies outside the output")
    if n == 0:
        return
    with nogil:
        tile = 0
        while tile < n:
            length = min(<Py_ssize_t> TILE, n - tile)
            for f in range(fields.shape[0]):
                width = fields[f, 1]
                source = &rows[0] + tile * row_bytes + fields[f, 0]
                target = &out[0] + fields[f, 2] + tile * width
                if width == 8:
                    copy8(source, row_bytes, target, length)
                elif width == 4:
                    copy4(source, row_bytes, target, length)
                elif width == 2:
                    copy2(source, row_bytes, target, length)
                elif width == 1:
                    copy1(source, row_bytes, target, length)
                else:
                    copy_any(source, row_bytes, target, length, width)
            tile += TILE


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


cdef inline int64_t put_four(const unsigned char *bytes, unsigned char *out) noexcept nogil:
    cdef int64_t n = 0
    cdef int i
    for i in range(4):
        if i:
            out[n] = c'.'
            n += 1
        n += put_unsigned(out + n, bytes[i])
    return n


cdef int64_t put_six(const unsigned char *bytes, unsigned char *out) noexcept nogil:
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


cdef class AddressTexts:
    """Number the distinct addresses of a block of rows, and write each as text once.

    Parameters
    ----------
    seed : tuple of two int
        Key of the hash, 64 bits each, unknown to whoever sends the packets.

    Attributes
    ----------
    indices : int32_t[::1], shape (n,)
        For each row, which distinct address it has.
    texts : unsigned char[::1]
        The texts of the distinct addresses, one after the other.
    ends : int32_t[::1], shape (distinct + 1,)
        0, then where each text ends in `texts`.
    """

    cdef uint64_t seed_high, seed_low
    cdef object _indices, _texts, _ends, _slots, _known
    cdef Py_ssize_t rows, count, used

    def __init__(self, seed):
        self.seed_high, self.seed_low = seed
        self.rows = self.count = self.used = 0
        self._indices = self._texts = self._ends = self._slots = self._known = bytearray()

    def find(self, const unsigned char[::1] rows, Py_ssize_t row_bytes, Py_ssize_t address_at, Py_ssize_t version_at):
        """Take a block of rows; give the number of distinct addresses.

        Parameters
        ----------
        rows : unsigned char[::1]
            Packed rows.
        row_bytes : int
            Size of a row.
        address_at : int
            Where in the row the 16 bytes of the address are.
        version_at : int
            Where the byte is that says 4 or 6; −1 if the address itself tells (``::ffff:`` means IPv4).
        """
        cdef Py_ssize_t n = count_rows(rows, row_bytes), capacity = 16
        if address_at < 0 or address_at + 16 > row_bytes or version_at < -1 or version_at >= row_bytes:
            raise ValueError("the address lies outside the row")
        while capacity < 2 * n:
            capacity *= 2
        if len(self._indices) < 4 * n:
            self._indices, self._ends = bytearray(4 * n), bytearray(4 * (n + 1))
            self._slots, self._known = bytearray(4 * capacity), bytearray(sizeof(Address) * n)
            self._texts = bytearray(ADDRESS_TEXT_BYTES * n)
        self.rows = n
        if n == 0:
            self._ends = self._ends or bytearray(4)
            self.count = self.used = 0
            return 0
        self._find(rows, row_bytes, address_at, version_at, capacity)
        return self.count

    cdef void _find(
        self, const unsigned char[::1] rows, Py_ssize_t row_bytes, Py_ssize_t address_at, Py_ssize_t version_at, Py_ssize_t capacity
    ):
        cdef unsigned char[::1] indices_view = self._indices, slots_view = self._slots, known_view = self._known
        cdef unsigned char[::1] texts_view = self._texts, ends_view = self._ends
        cdef int32_t *indices = <int32_t *> &indices_view[0]
        cdef int32_t *slots = <int32_t *> &slots_view[0]
        cdef int32_t *ends = <int32_t *> &ends_view[0]
        cdef Address *known = <Address *> &known_view[0]
        cdef unsigned char *texts = &texts_view[0]
        cdef const unsigned char *row = &rows[0]
        cdef const unsigned char *bytes
        cdef Address address
        cdef uint64_t mask = capacity - 1, slot
        cdef Py_ssize_t i, n = self.rows
        cdef int32_t count = 0, found, last = -1
        cdef int64_t used = 0
        with nogil:
            memset(slots, 0, 4 * capacity)
            ends[0] = 0
            for i in range(n):
                bytes = row + address_at
                address.is_six = row[version_at] == 6 if version_at >= 0 else not is_mapped(bytes)
                row += row_bytes
                address.high = 0
                address.low = 0
                if address.is_six:
                    memcpy(&address.high, bytes, 8)
                    memcpy(&address.low, bytes + 8, 8)
                else:
                    memcpy(&address.low, bytes + 12, 4)
                # Neighbouring rows often share an address: the server's nearly always.
                if last >= 0 and memcmp(&known[last], &address, sizeof(Address)) == 0:
                    indices[i] = last
                    continue
                slot = mix(mix(address.high ^ self.seed_high, address.low ^ self.seed_low), self.seed_high | 1) & mask
                while True:
                    found = slots[slot] - 1
                    if found < 0:
                        found = count
                        count += 1
                        slots[slot] = count
                        known[found] = address
                        used += put_six(bytes, texts + used) if address.is_six else put_four(bytes + 12, texts + used)
                        ends[count] = <int32_t> used
                        break
                    if memcmp(&known[found], &address, sizeof(Address)) == 0:
                        break
                    slot = (slot + 1) & mask
                last = found
                indices[i] = found
        self.count, self.used = count, used

    @property
    def indices(self):
        return memoryview(self._indices)[: 4 * self.rows].cast("i")

    @property
    def texts(self):
        return memoryview(self._texts)[: self.used]

    @property
    def ends(self):
        return memoryview(self._ends)[: 4 * (self.count + 1)].cast("i")
