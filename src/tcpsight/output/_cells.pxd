"""One value of one row as text, straight from the packed row."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from tcpsight.output._digits cimport put_signed, put_unsigned

# Kinds of cells; records.py has the same numbers.
cdef enum:
    CELL_SIGNED = 0
    CELL_UNSIGNED = 1
    CELL_BOOLEAN = 2
    CELL_CODE = 3
    CELL_INDEX = 4
    # The row's own bytes, or like CELL_INDEX where texts are given.
    CELL_TEXT = 5


cdef struct Cell:
    int kind
    Py_ssize_t at
    Py_ssize_t width
    bint is_nullable
    int64_t null
    bint is_quoted
    const unsigned char *before
    Py_ssize_t before_bytes
    const unsigned char *texts
    const int32_t *ends
    const int32_t *indices
    Py_ssize_t count


cdef inline int64_t read_signed(const unsigned char *source, Py_ssize_t width) noexcept nogil:
    cdef int64_t eight
    cdef int32_t four
    cdef int16_t two
    if width == 8:
        memcpy(&eight, source, 8)
        return eight
    if width == 4:
        memcpy(&four, source, 4)
        return four
    if width == 2:
        memcpy(&two, source, 2)
        return two
    return <int8_t> source[0]


cdef inline uint64_t read_unsigned(const unsigned char *source, Py_ssize_t width) noexcept nogil:
    cdef uint64_t eight
    cdef uint32_t four
    cdef uint16_t two
    if width == 8:
        memcpy(&eight, source, 8)
        return eight
    if width == 4:
        memcpy(&four, source, 4)
        return four
    if width == 2:
        memcpy(&two, source, 2)
        return two
    return source[0]


cdef inline unsigned char *put_text(const Cell *cell, Py_ssize_t index, unsigned char *out) noexcept nogil:
    cdef Py_ssize_t length = cell.ends[index + 1] - cell.ends[index]
    # Texts that replace a cell's own bytes bring their quotes with them.
    cdef bint is_quoted = cell.is_quoted and cell.kind != CELL_TEXT
    if is_quoted:
        out[0] = c'"'
        out += 1
    memcpy(out, cell.texts + cell.ends[index], length)
    out += length
    if is_quoted:
        out[0] = c'"'
        out += 1
    return out


cdef inline Py_ssize_t text_bytes(const unsigned char *text, Py_ssize_t width) noexcept nogil:
    """Length of text that is padded with NULs."""
    while width > 0 and text[width - 1] == 0:
        width -= 1
    return width


cdef inline unsigned char *put_plain(const Cell *cell, const unsigned char *text, unsigned char *out) noexcept nogil:
    """Write text that needs no escapes; empty text is in quotes, because empty CSV means unknown."""
    cdef Py_ssize_t length = text_bytes(text, cell.width)
    if length == 0:
        memcpy(out, b'""', 2)
        return out + 2
    if cell.is_quoted:
        out[0] = c'"'
        out += 1
    memcpy(out, text, length)
    out += length
    if cell.is_quoted:
        out[0] = c'"'
        out += 1
    return out


cdef inline unsigned char *put_cell(
    const Cell *cell,
    const unsigned char *row,
    Py_ssize_t i,
    unsigned char *out,
    const unsigned char *null,
    Py_ssize_t null_bytes,
) noexcept nogil:
    """Write the value of one cell, or what stands for unknown."""
    cdef int64_t number = 0
    cdef uint64_t natural = 0
    cdef bint is_null
    if cell.kind == CELL_TEXT and cell.indices == NULL:
        return put_plain(cell, row + cell.at, out)
    if cell.kind == CELL_INDEX or cell.kind == CELL_TEXT:
        number = cell.indices[i]
        is_null = number < 0
    elif cell.kind == CELL_SIGNED:
        number = read_signed(row + cell.at, cell.width)
        is_null = cell.is_nullable and number == cell.null
    else:
        natural = read_unsigned(row + cell.at, cell.width)
        is_null = cell.is_nullable and natural == <uint64_t> cell.null
    if is_null:
        memcpy(out, null, null_bytes)
        return out + null_bytes
    if cell.kind == CELL_SIGNED:
        return out + put_signed(out, number)
    if cell.kind == CELL_UNSIGNED:
        return out + put_unsigned(out, natural)
    if cell.kind == CELL_INDEX or cell.kind == CELL_TEXT:
        return put_text(cell, number, out)
    if cell.kind == CELL_CODE:
        # The last text stands for codes without a name.
        return put_text(cell, cell.count - 1 if natural >= <uint64_t> cell.count else <Py_ssize_t> natural, out)
    if natural != 0:
        memcpy(out, b"true", 4)
        return out + 4
    memcpy(out, b"false", 5)
    return out + 5
