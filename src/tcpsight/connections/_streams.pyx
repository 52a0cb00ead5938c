# cython: language_level=3
"""The index of streams: a row for each captured run of payload, chained to the one before it in its stream.

`streams.py` has the theory. State is one chain end per slot and direction; what can fail fails before the loop.
"""
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from tcpsight.tables cimport (
    BOUNDARY_ENDED, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_DUPLICATE, KIND_KEEP_ALIVE, OPTION_FRAGMENTED, Boundary, Header,
    Piece, Segment, Stream,
)

cdef struct End:
    int64_t last_piece
    int64_t pieces
    int64_t fin_offset
    int64_t fragment_bytes

cdef struct Made:
    Piece *pieces
    Stream *streams
    int64_t piece_count
    int64_t stream_count


cdef inline bint holds_stream(const Segment *g, const Header *h, int64_t position) noexcept nogil:
    """Whether a segment's payload is part of its stream.

    Not a copy of a frame, not the garbage octet of a keep-alive, not what a RST says (RFC 9293 §3.5.3), and nothing
    that could not be placed.
    """
    return (
        h.captured_payload_bytes > 0
        and position >= 0
        and g.offset != INT64_MIN
        and g.kind != KIND_DUPLICATE
        and g.kind != KIND_KEEP_ALIVE
        and not g.flags & FLAG_RST
    )


cdef inline void take_segment(
    End *end, const Segment *g, const Header *h, int64_t position, int64_t first_number, Made *made
) noexcept nogil:
    cdef Piece *piece
    cdef int64_t offset = g.offset
    if g.flags & FLAG_SYN and offset != INT64_MIN:
        offset += 1
    if g.flags & FLAG_FIN and g.kind != KIND_DUPLICATE and offset != INT64_MIN:
        end.fin_offset = max(end.fin_offset, offset + g.payload_bytes)
    if h.options & OPTION_FRAGMENTED:
        end.fragment_bytes += g.new_bytes
    if not holds_stream(g, h, position):
        return
    piece = made.pieces + made.piece_count
    piece.connection_id = g.connection_id
    piece.offset = offset
    piece.position = position
    piece.previous = end.last_piece
    piece.frame_number = g.frame_number
    piece.time_ns = g.time_ns
    piece.payload_bytes = g.payload_bytes
    piece.captured_bytes = h.captured_payload_bytes
    piece.file = h.file
    piece.flags = g.flags
    piece.direction = g.direction
    piece.kind = g.kind
    end.last_piece = first_number + made.piece_count
    end.pieces += 1
    made.piece_count += 1


cdef inline void take_boundary(End *ends, const Boundary *boundary, Made *made) noexcept nogil:
    cdef End *both = ends + 2 * <int64_t>boundary.slot
    cdef Stream *row
    cdef int d
    for d in range(2):
        if boundary.boundary == BOUNDARY_ENDED:
            row = made.streams + made.stream_count
            row.connection_id = boundary.connection_id
            row.last_piece = both[d].last_piece
            row.pieces = both[d].pieces
            row.fin_offset = both[d].fin_offset
            row.fragment_bytes = both[d].fragment_bytes
            row.direction = <uint8_t>d
            made.stream_count += 1
        both[d].last_piece = -1
        both[d].pieces = 0
        both[d].fin_offset = INT64_MIN
        both[d].fragment_bytes = 0


cdef class StreamEnds:
    """Where the chain of each open stream ends."""

    cdef End *ends
    cdef int64_t slots
    cdef int64_t numbered

    def __dealloc__(self):
        free(self.ends)

    def feed(
        self,
        const unsigned char[::1] headers,  # IN: Headers rows
        const unsigned char[::1] segments,  # IN: Segments rows, row for row
        const unsigned char[::1] boundaries,  # IN: Boundaries rows
        const int64_t[::1] positions,  # IN: where the payload of each row is kept, −1 for none
        unsigned char[::1] pieces,  # OUT: Pieces rows, room for as many as there are segments
        unsigned char[::1] streams,  # OUT: Streams rows, room for two per boundary
    ):
        """Index a batch; give how many pieces and streams were written."""
        cdef int64_t n = segments.shape[0] // <int64_t>sizeof(Segment)
        cdef int64_t b = boundaries.shape[0] // <int64_t>sizeof(Boundary)
        cdef const Segment *g = <const Segment *>&segments[0] if n else NULL
        cdef const Boundary *edges = <const Boundary *>&boundaries[0] if b else NULL
        cdef Made made
        if segments.shape[0] != n * <int64_t>sizeof(Segment) or boundaries.shape[0] != b * <int64_t>sizeof(Boundary):
            raise ValueError("segments or boundaries are not whole rows")
        if headers.shape[0] != n * <int64_t>sizeof(Header) or positions.shape[0] != n:
            raise ValueError("headers or positions are not those of the segments")
        if pieces.shape[0] < n * <int64_t>sizeof(Piece) or streams.shape[0] < 2 * b * <int64_t>sizeof(Stream):
            raise ValueError("too few rows for the pieces or streams")
        self._reserve(edges, b)
        self._check(g, n)
        made.piece_count = made.stream_count = 0
        made.pieces = <Piece *>&pieces[0] if n else NULL
        made.streams = <Stream *>&streams[0] if b else NULL
        with nogil:
            self._loop(g, <const Header *>&headers[0] if n else NULL, &positions[0] if n else NULL, n, edges, b, &made)
        self.numbered += made.piece_count
        return made.piece_count, made.stream_count

    cdef _reserve(self, const Boundary *edges, int64_t b):
        """Make room for every slot that opens."""
        cdef int64_t i, need = self.slots
        cdef End *grown
        for i in range(b):
            need = max(need, <int64_t>edges[i].slot + 1)
        if need == self.slots:
            return
        need = max(need, 2 * self.slots)
        grown = <End *>realloc(self.ends, 2 * need * sizeof(End))
        if grown == NULL:
            raise MemoryError("no memory for the index of more open connections")
        self.ends = grown
        for i in range(2 * self.slots, 2 * need):
            grown[i].last_piece = -1
            grown[i].pieces = 0
            grown[i].fin_offset = INT64_MIN
            grown[i].fragment_bytes = 0
        self.slots = need

    cdef _check(self, const Segment *g, int64_t n):
        cdef uint32_t highest = 0
        cdef int64_t i
        for i in range(n):
            highest = max(highest, g[i].slot)
        if n and highest >= self.slots:
            raise ValueError("a segment is of a connection that was never opened")

    cdef void _loop(
        self, const Segment *g, const Header *h, const int64_t *positions, int64_t n, const Boundary *edges, int64_t b,
        Made *made,
    ) noexcept nogil:
        cdef int64_t i, edge = 0
        for i in range(n):
            while edge < b and edges[edge].position <= i:
                take_boundary(self.ends, edges + edge, made)
                edge += 1
            take_segment(
                self.ends + 2 * <int64_t>g[i].slot + (g[i].direction & 1), g + i, h + i, positions[i], self.numbered, made
            )
        while edge < b:
            take_boundary(self.ends, edges + edge, made)
            edge += 1


def follow(
    const unsigned char[::1] pieces,  # IN: Pieces rows
    int64_t last,  # IN: number of the last piece of a stream
    int64_t[::1] numbers,  # OUT: the numbers of its pieces, first to last
):
    """Walk a chain of pieces back to its beginning."""
    cdef int64_t n = pieces.shape[0] // <int64_t>sizeof(Piece)
    cdef int64_t i = numbers.shape[0]
    cdef const Piece *rows = <const Piece *>&pieces[0] if n else NULL
    while i > 0:
        if last < 0 or last >= n:
            raise ValueError("the chain of pieces is broken")
        i -= 1
        numbers[i] = last
        last = rows[last].previous
    if last != -1:
        raise ValueError("the chain of pieces is longer than it should be")


def follow_all(
    const unsigned char[::1] pieces,  # IN: Pieces rows
    const int64_t[::1] lasts,  # IN: number of the last piece of each stream
    const int64_t[::1] counts,  # IN: how many pieces it has
    int64_t[::1] numbers,  # OUT: the numbers of their pieces, stream by stream, first to last
):
    """Walk the chains of several streams."""
    cdef int64_t i, at = 0
    if lasts.shape[0] != counts.shape[0]:
        raise ValueError("streams and their lengths differ in number")
    for i in range(lasts.shape[0]):
        if counts[i] < 0 or counts[i] > numbers.shape[0] - at:
            raise ValueError("too little room for the numbers of pieces")
        follow(pieces, lasts[i], numbers[at : at + counts[i]])
        at += counts[i]


def gather(
    const unsigned char[::1] data,  # IN: where bytes lie
    const int64_t[::1] positions,  # IN: where each run begins
    const int64_t[::1] lengths,  # IN: how long it is
    unsigned char[::1] out,  # OUT: the runs behind each other
):
    """Put runs of bytes behind each other; give how many bytes there are."""
    cdef int64_t i, at = 0
    cdef int64_t n = positions.shape[0]
    if lengths.shape[0] != n:
        raise ValueError("positions and lengths differ in number")
    for i in range(n):
        if lengths[i] < 0 or positions[i] < 0 or lengths[i] > data.shape[0] - positions[i]:
            raise ValueError(f"run {i} lies outside the data")
        if lengths[i] > out.shape[0] - at:
            raise ValueError("too little room for the runs")
        out[at : at + lengths[i]] = data[positions[i] : positions[i] + lengths[i]]
        at += lengths[i]
    return at
