"""Loops over packed rows: columns out of rows, addresses as text, rows as CSV and JSON lines.

Theory of operation
-------------------
Rows are packed structs, outputs want columns or lines. `gather` transposes in tiles that stay in the L1 and L2
caches, so that each row is fetched from memory once and not once per column. `AddressTexts` numbers the distinct
addresses of a block in order of their first row (open addressing, at most half full) and formats each once; the order
of first rows, not of hashes, makes the output the same on every machine. The hash is keyed with a random seed, because
whoever sends the packets chooses the addresses. `RecordWriter` walks rows and appends each cell to a buffer.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from tcpsight.output._address cimport ADDRESS_TEXT_BYTES, Address, is_zero, put_address, take
from tcpsight.output._cells cimport CELL_CODE, CELL_INDEX, CELL_TEXT, Cell, put_cell, text_bytes
from tcpsight.output._digits cimport INTEGER_TEXT_BYTES, mix

cdef enum:
    TILE = 256

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


cdef class AddressTexts:
    """Number the distinct addresses of a block of rows, and write each as text once.

    Parameters
    ----------
    seed : tuple of two int
        Key of the hash, 64 bits each, unknown to whoever sends the packets.

    Attributes
    ----------
    indices : int32_t[::1], shape (n,)
        For each row, which distinct address it has; −1 where there is none.
    texts : unsigned char[::1]
        The texts of the distinct addresses, one after the other.
    ends : int32_t[::1], shape (distinct + 1,)
        0, then where each text ends in `texts`.
    """

    cdef uint64_t seed_high, seed_low
    cdef object _indices, _texts, _ends, _slots, _known
    cdef Py_ssize_t rows, count, used
    cdef bint is_nullable

    def __init__(self, seed):
        self.seed_high, self.seed_low = seed
        self.rows = self.count = self.used = 0
        self.is_nullable = False
        self._indices = self._texts = self._ends = self._slots = self._known = bytearray()

    def find(
        self,
        const unsigned char[::1] addresses,  # IN, n times 16 bytes
        const unsigned char[::1] versions,  # IN, n times 4 or 6; None if the addresses tell (::ffff: means IPv4)
        *,
        bint is_nullable = False,  # IN, whether 16 zero bytes mean that there is no address
    ):
        """Take a block of addresses; give the number of distinct ones."""
        cdef Py_ssize_t n = count_rows(addresses, 16), capacity = 16
        if versions is not None and versions.shape[0] != n:
            raise ValueError("one version per address")
        while capacity < 2 * n:
            capacity *= 2
        if len(self._indices) < 4 * n:
            self._indices, self._slots = bytearray(4 * n), bytearray(4 * capacity)
            self._known, self._texts = bytearray(sizeof(Address) * n), bytearray(ADDRESS_TEXT_BYTES * n)
        if len(self._ends) < 4 * (n + 1):
            self._ends = bytearray(4 * (n + 1))
        self.rows, self.count, self.used = n, 0, 0
        self.is_nullable = is_nullable
        if n:
            self._number(addresses, versions, capacity)
        return self.count

    cdef int _number(
        self, const unsigned char[::1] addresses, const unsigned char[::1] versions, Py_ssize_t capacity
    ) except -1:
        cdef unsigned char[::1] indices_view = self._indices, slots_view = self._slots, known_view = self._known
        cdef unsigned char[::1] texts_view = self._texts, ends_view = self._ends
        cdef int32_t *indices = <int32_t *> &indices_view[0]
        cdef int32_t *slots = <int32_t *> &slots_view[0]
        cdef int32_t *ends = <int32_t *> &ends_view[0]
        cdef Address *known = <Address *> &known_view[0]
        cdef unsigned char *texts = &texts_view[0]
        cdef const unsigned char *bytes = &addresses[0]
        cdef const unsigned char *version = &versions[0] if versions is not None else NULL
        cdef Address address
        cdef uint64_t mask = capacity - 1, slot
        cdef Py_ssize_t i, n = self.rows
        cdef int32_t count = 0, found, last = -1
        cdef int64_t used = 0
        cdef bint is_nullable = self.is_nullable
        with nogil:
            memset(slots, 0, 4 * capacity)
            ends[0] = 0
            for i in range(n):
                if is_nullable and is_zero(bytes + 16 * i):
                    indices[i] = -1
                    continue
                take(bytes + 16 * i, version[i] if version != NULL else 0, &address)
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
                        used += put_address(bytes + 16 * i, address.is_six, texts + used)
                        ends[count] = <int32_t> used
                        break
                    if memcmp(&known[found], &address, sizeof(Address)) == 0:
                        break
                    slot = (slot + 1) & mask
                last = found
                indices[i] = found
        self.count, self.used = count, used
        return 0

    @property
    def indices(self):
        return memoryview(self._indices)[: 4 * self.rows].cast("i")

    @property
    def texts(self):
        return memoryview(self._texts)[: self.used]

    @property
    def ends(self):
        return memoryview(self._ends)[: 4 * (self.count + 1)].cast("i")


def is_plain(
    const unsigned char[::1] texts,  # IN, n times `width` bytes, padded with NULs
    Py_ssize_t width,
    const unsigned char[::1] special,  # IN, 256 flags: which bytes are not plain
):
    """Tell whether no text holds a special byte."""
    cdef Py_ssize_t n = count_rows(texts, width), i, j, length
    cdef const unsigned char *text
    cdef unsigned char found = 0
    if special.shape[0] != 256:
        raise ValueError("256 flags")
    if n == 0:
        return True
    with nogil:
        for i in range(n):
            text = &texts[0] + i * width
            length = text_bytes(text, width)
            for j in range(length):
                found |= special[text[j]]
    return found == 0


cdef class RecordWriter:
    """Write rows as lines: every cell is preceded by its own text (separator or key).

    Parameters
    ----------
    cells : list of (kind, at, width, null, before, is_quoted)
        Per column: a CELL_ number; where in the row it lies and how many bytes it has (all but index); the number that
        stands for unknown, or None; the bytes before it; and whether its text (code, index, text) stands in quotes.
    null : bytes
        What is written for unknown.
    end : bytes
        What ends a row.
    """

    cdef Cell *cells
    cdef Py_ssize_t cell_count
    cdef bytes null, end
    cdef list _befores
    cdef object _out

    def __cinit__(self, list cells, bytes null, bytes end):
        cdef Py_ssize_t c
        cdef const unsigned char *bytes_before
        self.cell_count = len(cells)
        self.cells = <Cell *> calloc(len(cells) or 1, sizeof(Cell))
        if self.cells == NULL:
            raise MemoryError()
        self.null, self.end = null, end
        self._befores = [before for _, _, _, _, before, _ in cells]
        self._out = bytearray()
        for c, (kind, at, width, unknown, before, is_quoted) in enumerate(cells):
            is_number = kind in range(CELL_INDEX)
            if kind not in range(CELL_TEXT + 1) or (is_number and width not in (1, 2, 4, 8)) or at < 0 or width < 1:
                raise ValueError("no such cell")
            bytes_before = before
            self.cells[c].kind, self.cells[c].at, self.cells[c].width = kind, at, width
            self.cells[c].is_nullable = unknown is not None
            self.cells[c].null = unknown or 0
            self.cells[c].is_quoted = is_quoted
            self.cells[c].before_bytes = len(before)
            self.cells[c].before = bytes_before

    def __dealloc__(self):
        free(self.cells)

    def write(
        self,
        const unsigned char[::1] rows,  # IN, n packed rows
        Py_ssize_t row_bytes,
        list sources,  # IN, per cell: (texts, ends, indices), of codes (texts, ends, None), of others None
    ):
        """Take rows; give their lines as a memoryview that is valid until the next call."""
        cdef Py_ssize_t n = count_rows(rows, row_bytes), bound = n * len(self.end), c
        if len(sources) != self.cell_count:
            raise ValueError("one source per cell")
        for c in range(self.cell_count):
            bound += n * self.cells[c].before_bytes + self._attach(&self.cells[c], n, row_bytes, sources[c])
        if n == 0:
            return memoryview(b"")
        if len(self._out) < bound:
            self._out = bytearray(bound)
        return memoryview(self._out)[: self._write(rows, row_bytes, n)]

    cdef Py_ssize_t _attach(self, Cell *cell, Py_ssize_t n, Py_ssize_t row_bytes, object source) except -1:
        """Point the cell at its texts; give how many bytes its column can take at most."""
        cdef const unsigned char[::1] texts
        cdef const int32_t[::1] ends
        cdef const int32_t[::1] indices
        cdef Py_ssize_t i, length, longest = 0, total = 0
        cdef Py_ssize_t fixed = len(self.null) + 2
        if cell.kind != CELL_INDEX and cell.at + cell.width > row_bytes:
            raise ValueError("a cell lies outside the row")
        if cell.kind < CELL_CODE:
            return n * max(<Py_ssize_t> INTEGER_TEXT_BYTES, fixed)
        cell.indices = NULL
        if cell.kind == CELL_TEXT and source is None:
            return n * (cell.width + 2)
        texts, ends, indices = source
        cell.count = ends.shape[0] - 1
        if cell.count < 0 or (cell.kind == CELL_CODE and cell.count == 0):
            raise ValueError("no texts")
        for i in range(cell.count):
            length = ends[i + 1] - ends[i]
            if length < 0 or ends[i] < 0 or ends[i + 1] > texts.shape[0]:
                raise ValueError("a text lies outside the texts")
            longest = max(longest, length)
        # A pointer even where there is nothing: copying nothing from nowhere is undefined.
        cell.texts = &texts[0] if texts.shape[0] else <const unsigned char *> cell
        cell.ends = &ends[0]
        if cell.kind == CELL_CODE:
            return n * (longest + fixed)
        if indices is None or indices.shape[0] != n:
            raise ValueError("one index per row")
        for i in range(n):
            if indices[i] >= cell.count:
                raise ValueError("an index has no text")
            if indices[i] >= 0:
                total += ends[indices[i] + 1] - ends[indices[i]]
        cell.indices = &indices[0] if n else NULL
        return total + n * fixed

    cdef Py_ssize_t _write(self, const unsigned char[::1] rows, Py_ssize_t row_bytes, Py_ssize_t n) except -1:
        cdef unsigned char[::1] out_view = self._out
        cdef unsigned char *begin = &out_view[0]
        cdef unsigned char *out = begin
        cdef const unsigned char *row = &rows[0]
        cdef const unsigned char *null = self.null
        cdef const unsigned char *end = self.end
        cdef Py_ssize_t null_bytes = len(self.null), end_bytes = len(self.end), i, c
        cdef const Cell *cell
        with nogil:
            for i in range(n):
                for c in range(self.cell_count):
                    cell = &self.cells[c]
                    memcpy(out, cell.before, cell.before_bytes)
                    out += cell.before_bytes
                    out = put_cell(cell, row, i, out, null, null_bytes)
                memcpy(out, end, end_bytes)
                out += end_bytes
                row += row_bytes
        return <Py_ssize_t> out - <Py_ssize_t> begin
