# cython: language_level=3
"""Plain bytes looked for in runs of payload as they lie in a capture, without putting streams in order first.

`searching.py` has the theory. Each run is looked through once; what begins at the end of a run and goes on in the next
one of its stream is known by which beginnings of the pattern the run ends with, a bit for each length. Where the next one
may have come earlier, it is also known which beginnings the run would go on with.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp
from tcpsight.tables cimport KIND_ZERO_WINDOW_PROBE, Piece

cdef extern from *:
    """
    void *memmem(const void *, size_t, const void *, size_t);
    """
    const void *memmem(const void *haystack, size_t n, const void *needle, size_t m) noexcept nogil

cdef enum:
    HOLDS = 1
    DOUBTFUL = 2
    MOST_BYTES = 64


cdef inline uint64_t beginnings(const uint8_t *data, int64_t n, const uint8_t *pattern, int64_t m) noexcept nogil:
    """Give which beginnings of the pattern, all shorter than itself, the data ends with: bit k − 1 for k bytes."""
    cdef uint64_t found = 0
    cdef int64_t k
    for k in range(1, min(n, m - 1) + 1):
        if data[n - k] == pattern[0] and memcmp(data + n - k, pattern, k) == 0:
            found |= <uint64_t>1 << (k - 1)
    return found


cdef inline uint8_t look_through(
    const Piece *piece, const uint8_t *data, uint64_t before, const uint8_t *pattern, int64_t m, uint64_t *ends
) noexcept nogil:
    """Tell whether a run holds the pattern, or its end; leave in `ends` the beginnings that it ends with."""
    cdef int64_t n = piece.captured_bytes
    cdef int64_t k, rest
    cdef bint is_found = n >= m and memmem(data, n, pattern, m) != NULL
    ends[0] = beginnings(data, n, pattern, m)
    for k in range(1, m if before else 1):
        if not before >> (k - 1) & 1:
            continue
        rest = m - k
        if memcmp(data, pattern + k, min(rest, n)) != 0:
            continue
        if rest <= n:
            is_found = True
        else:
            ends[0] |= <uint64_t>1 << (k + n - 1)
    return HOLDS if is_found else 0


cdef inline uint64_t goings_on(const uint8_t *data, int64_t n, const uint8_t *pattern, int64_t m) noexcept nogil:
    """Give which beginnings of the pattern the data would go on with, to its end or to that of the pattern."""
    cdef uint64_t found = 0
    cdef int64_t k
    for k in range(1, m):
        if data[0] == pattern[k] and memcmp(data, pattern + k, min(n, m - k)) == 0:
            found |= <uint64_t>1 << (k - 1)
    return found


def doubt(
    const unsigned char[::1] pieces,  # IN: Pieces rows of the whole capture
    unsigned char[::1] found,  # OUT: of each piece, 2 if its stream must be put in order, else 0
):
    """Find what was sent again, came late, or may be no part of its stream."""
    cdef int64_t n = pieces.shape[0] // <int64_t>sizeof(Piece)
    cdef const Piece *rows = <const Piece *>&pieces[0] if n else NULL
    cdef const Piece *previous
    cdef int64_t i
    if found.shape[0] < n:
        raise ValueError("room for what is found is too little")
    for i in range(n):
        if rows[i].previous >= i or rows[i].previous < -1:
            raise ValueError(f"piece {i} follows one that comes later")
        found[i] = DOUBTFUL if rows[i].offset < 0 or rows[i].kind == KIND_ZERO_WINDOW_PROBE else 0
        if rows[i].previous >= 0:
            previous = rows + rows[i].previous
            if rows[i].offset < previous.offset + previous.captured_bytes:
                found[i] = DOUBTFUL


def search(
    const unsigned char[::1] pieces,  # IN: Pieces rows of the whole capture
    int64_t first,  # IN: the first piece whose bytes are at hand
    int64_t last,  # IN: one past the last
    const unsigned char[::1] data,  # IN: their bytes, as they lie in the capture
    int64_t origin,  # IN: where in the capture that begins
    const unsigned char[::1] pattern,  # IN: 1 to 64 bytes
    uint64_t[::1] ends,  # INOUT: of each piece, which beginnings of the pattern it ends with
    unsigned char[::1] found,  # INOUT: of each piece, 1 if a match ends in it; with 2 it is left alone
):
    """Look through pieces whose bytes are at hand; those before them have been looked through."""
    cdef int64_t n = pieces.shape[0] // <int64_t>sizeof(Piece)
    cdef const Piece *rows = <const Piece *>&pieces[0] if n else NULL
    cdef const Piece *piece
    cdef const Piece *previous
    cdef int64_t i, at, m = pattern.shape[0]
    cdef uint64_t before
    if m < 1 or m > MOST_BYTES:
        raise ValueError("a pattern has 1 to 64 bytes")
    if not 0 <= first <= last <= n or ends.shape[0] < n or found.shape[0] < n:
        raise ValueError("pieces, or room for what is found, are too few")
    for i in range(first, last):
        piece = rows + i
        at = piece.position - origin
        if at < 0 or piece.captured_bytes < 0 or piece.captured_bytes > data.shape[0] - at:
            raise ValueError(f"piece {i} lies outside the data")
        if piece.previous >= i or piece.previous < -1:
            raise ValueError(f"piece {i} follows one that comes later")
    with nogil:
        for i in range(first, last):
            piece = rows + i
            before = 0
            if found[i] & DOUBTFUL:
                continue
            if piece.previous >= 0:
                previous = rows + piece.previous
                if piece.offset == previous.offset + previous.captured_bytes:
                    before = ends[piece.previous]
            if piece.captured_bytes == 0:
                ends[i] = before
                continue
            found[i] = look_through(piece, &data[piece.position - origin], before, &pattern[0], m, &ends[i])


def search_parts(
    const int64_t[::1] positions,  # IN: where each part lies in the capture
    const int64_t[::1] lengths,  # IN: how long it is, at least 1
    const unsigned char[::1] data,  # IN: their bytes, as they lie in the capture
    int64_t origin,  # IN: where in the capture that begins
    const unsigned char[::1] pattern,  # IN: 1 to 64 bytes
    uint64_t[::1] ends,  # OUT: of each part, which beginnings of the pattern it ends with
    uint64_t[::1] starts,  # OUT: of each part, which beginnings of the pattern it would go on with
    unsigned char[::1] found,  # OUT: of each part, 1 if it holds the pattern
):
    """Look through parts of pieces, each by itself."""
    cdef int64_t i, at, n = positions.shape[0]
    cdef int64_t m = pattern.shape[0]
    if m < 1 or m > MOST_BYTES:
        raise ValueError("a pattern has 1 to 64 bytes")
    if lengths.shape[0] != n or ends.shape[0] < n or starts.shape[0] < n or found.shape[0] < n:
        raise ValueError("parts, or room for what is found, are too few")
    for i in range(n):
        at = positions[i] - origin
        if at < 0 or lengths[i] < 1 or lengths[i] > data.shape[0] - at:
            raise ValueError(f"part {i} lies outside the data")
    with nogil:
        for i in range(n):
            at = positions[i] - origin
            found[i] = lengths[i] >= m and memmem(&data[at], lengths[i], &pattern[0], m) != NULL
            ends[i] = beginnings(&data[at], lengths[i], &pattern[0], m)
            starts[i] = goings_on(&data[at], lengths[i], &pattern[0], m)


def join(
    const int64_t[::1] offsets,  # IN: of parts, in the order of their streams
    const int64_t[::1] lengths,  # IN: how long each is
    const uint64_t[::1] ends,  # IN: which beginnings of the pattern it ends with
    const uint64_t[::1] starts,  # IN: which it would go on with
    int64_t m,  # IN: how long the pattern is
    unsigned char[::1] found,  # INOUT: of each part, 1 if a match ends in it
):
    """Find what begins in one part and ends in a later one that follows without a hole."""
    cdef int64_t i, k, n = offsets.shape[0]
    cdef uint64_t before = 0
    cdef uint64_t on
    if lengths.shape[0] != n or ends.shape[0] != n or starts.shape[0] != n or found.shape[0] != n:
        raise ValueError("parts differ in number")
    if m < 1 or m > MOST_BYTES:
        raise ValueError("a pattern has 1 to 64 bytes")
    with nogil:
        for i in range(n):
            if i and offsets[i] != offsets[i - 1] + lengths[i - 1]:
                before = 0
            on = before & starts[i]
            before = ends[i]
            for k in range(1, m if on else 1):
                if not on >> (k - 1) & 1:
                    continue
                if k + lengths[i] >= m:
                    found[i] = HOLDS
                else:
                    before |= <uint64_t>1 << (k + lengths[i] - 1)
